"""The contract of every kernel: each body equals the reference, twice the same, types kept, inputs untouched.

The CUDA sources are held to it on the CPU, through their launchers (`tests.kernels.cuda_on_cpu`); with a GPU, the
production form on CuPy is held to the same reference.
"""

import numpy as np
import pytest

from deconvnet.backend import to_device, to_host
from deconvnet.kernels.photo import quotient
from deconvnet.kernels.training import im2col as unfold
from deconvnet.testing import dottest
from tests.kernels.cuda_on_cpu import compiler, executed_on_the_cpu
from tests.kernels.record import all_records, assert_close, assert_contract, complex_normal, exact_results, results
from tests.kernels.records_training import block

RECORDS = all_records()


def _cases(body):
    chosen = [(record, size) for record in RECORDS if getattr(record, body) for size in record.sizes]
    return pytest.mark.parametrize(("record", "size"), chosen, ids=lambda v: getattr(v, "name", str(v)))


@pytest.mark.parametrize("real", [np.float32, np.float64])
@_cases("numba")
def test_numba_twin_keeps_the_contract(record, real, size, rng):
    assert_contract(record, record.numba, real, size, rng)


@pytest.mark.skipif(compiler() is None, reason="executing CUDA sources on the CPU needs g++ on Linux")
@pytest.mark.parametrize("real", [np.float32, np.float64])
@_cases("cuda")
def test_cuda_source_executed_on_the_cpu_keeps_the_contract(record, real, size):
    found = []
    for falling in (False, True):
        with executed_on_the_cpu(falling=falling):
            found.append(assert_contract(record, record.cuda, real, size, np.random.default_rng(20151)))
    assert all(np.array_equal(a, b) for a, b in zip(*found)), "the order of a block's threads matters"


@pytest.mark.gpu
@pytest.mark.parametrize("real", [np.float32, np.float64])
@_cases("production")
def test_production_form_on_the_gpu_equals_the_reference(record, real, size, rng):
    arguments = record.arguments(rng, real, size)
    exact = exact_results(record, arguments)
    runs = []
    for _ in range(2):
        there = [to_device(a, "cuda") if isinstance(a, np.ndarray) else a for a in arguments]
        runs.append([to_host(f) for f in results(record.production, there, record)])
        assert all(
            np.array_equal(to_host(there[i]), a)
            for i, a in enumerate(arguments)
            if isinstance(a, np.ndarray) and i not in record.in_place
        )
    for f, again, e in zip(*runs, exact):
        assert_close(record, real, f, e)
        assert record.cuda is None or np.array_equal(f, again)


def test_production_form_takes_strided_input(rng):
    x, y = (complex_normal(rng, (2, 6, 20), np.float64) for _ in range(2))
    beta = rng.uniform(0.1, 1, (2, 20))
    z, _ = quotient.quotient_spectrum(x[:, ::2], y[:, ::2], beta)
    exact, _ = quotient.quotient_spectrum_reference(x[:, ::2], y[:, ::2], beta)
    assert np.allclose(z, exact, atol=1e-12)


def test_folding_is_the_adjoint_of_unfolding(rng):
    image, size, top, rows = block(rng, np.float64, (3, 5, 11))

    def fold(columns):
        back = np.zeros_like(image)
        unfold.fold_add(columns, size, top, back)
        return back

    columns = rng.standard_normal((3 * 5 * 3, 4 * 9))
    dottest(lambda a: unfold.unfold(a, size, top, rows), fold, image, columns)
