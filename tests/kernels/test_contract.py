"""The contract of every kernel: each body equals the reference, twice the same, types kept, inputs untouched.

The CUDA sources are held to it on the CPU, through their launchers (`tests.kernels.cuda_on_cpu`); with a GPU, the
dispatch on CuPy arrays is held to the same reference.
"""

import importlib
import pkgutil
import re

import numpy as np
import pytest

import deconvnet.kernels
from deconvnet import parallel
from deconvnet.backend import to_device, to_host
from deconvnet.kernels import cuda
from deconvnet.kernels.kernel import in_chunks
from deconvnet.kernels.photo.fade import fade_pad
from deconvnet.kernels.photo.quotient import quotient_spectrum
from deconvnet.kernels.training.im2col import im2col
from deconvnet.testing import dottest
from tests.kernels.case import (
    all_cases,
    all_kernels,
    arrays,
    assert_close,
    assert_contract,
    complex_normal,
    copies,
    exact_results,
    mapped,
)
from tests.kernels.cases_training import block
from tests.kernels.cuda_on_cpu import compiler, executed_on_the_cpu

CASES = all_cases()


def _sized(body):
    chosen = [(case, size) for case in CASES if getattr(case.kernel, body) for size in case.sizes]
    return pytest.mark.parametrize(("case", "size"), chosen, ids=lambda v: getattr(v, "name", str(v)))


def test_every_kernel_has_a_case():
    covered = {case.kernel.name for case in CASES} | {
        "image_spectrum",
        "feature_spectra",
    }  # they make the arguments of others
    assert covered == {kernel.name for kernel in all_kernels()}


def test_kernels_without_a_cuda_source_are_those_of_which_the_readme_says_why():
    text = (cuda.FOLDER / "README.md").read_text(encoding="utf-8")
    table = text.split("\n## Without a CUDA source\n")[1].split("\n## ")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert named == {kernel.name for kernel in all_kernels() if kernel.cpu and not kernel.cuda}


@pytest.mark.parametrize("real", [np.float32, np.float64])
@_sized("cpu")
def test_body_for_the_cpu_keeps_the_contract(case, real, size, rng):
    assert_contract(case, "cpu", real, size, rng)


@pytest.mark.parametrize("case", [case for case in CASES if case.kernel.cpu], ids=lambda case: case.name)
def test_any_number_of_threads_gives_the_same_bits(case, monkeypatch):
    """With chunks as small as can be, so that there is more than one of them."""
    for module in pkgutil.walk_packages(deconvnet.kernels.__path__, "deconvnet.kernels."):
        loaded = importlib.import_module(module.name)
        if hasattr(loaded, "in_chunks") and not module.name.endswith(".kernel"):
            monkeypatch.setattr(
                loaded, "in_chunks", lambda body, arguments, count, _: in_chunks(body, arguments, count, 1)
            )
    arguments = case.arguments(np.random.default_rng(20151), np.float32, case.sizes[-1])
    exact, found = exact_results(case, arguments), []
    for threads in (1, 2, 3):
        with parallel.threads(threads):
            found.append(case.run("cpu", copies(arguments)))
    for e, one, two, three in zip(exact, *found):
        assert_close(case, np.float32, one, e)
        assert np.array_equal(one, two) and np.array_equal(one, three)


@pytest.mark.skipif(compiler() is None, reason="executing CUDA sources on the CPU needs g++ on Linux")
@pytest.mark.parametrize("real", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@_sized("cuda")
def test_cuda_source_executed_on_the_cpu_keeps_the_contract(case, real, size):
    found = []
    for falling in (False, True):
        with executed_on_the_cpu(falling=falling):
            found.append(assert_contract(case, "cuda", real, size, np.random.default_rng(20151)))
    assert all(np.array_equal(a, b) for a, b in zip(*found)), "the order of a block's threads matters"


@pytest.mark.gpu
@pytest.mark.parametrize("real", [np.float32, np.float64])
@_sized("reference")
def test_dispatch_on_the_gpu_equals_the_reference(case, real, size, rng):
    arguments = case.arguments(rng, real, size)
    exact = exact_results(case, arguments)
    runs = []
    for _ in range(2):
        there = mapped(lambda a: to_device(a, "cuda"), arguments)
        runs.append([to_host(f) for f in case.run(None, there)])
        assert all(
            np.array_equal(to_host(t), a)
            for i, (one, other) in enumerate(zip(arguments, there))
            if i not in case.in_place
            for a, t in zip(arrays([one]), other if isinstance(other, (tuple, list)) else [other])
        )
    for f, again, e in zip(*runs, exact):
        assert_close(case, real, f, e)
        assert case.kernel.cuda is None or np.array_equal(f, again)


def test_kernels_take_strided_input(rng):
    x, y = (complex_normal(rng, (2, 6, 20), np.float64) for _ in range(2))
    beta = rng.uniform(0.1, 1, (2, 20))
    z, _ = quotient_spectrum(x[:, ::2], y[:, ::2], beta)
    exact, _ = quotient_spectrum.reference(x[:, ::2], y[:, ::2], beta)
    assert np.allclose(z, exact, atol=1e-12)


def _back_to(image, size, top):
    def fold(columns):
        back = np.zeros_like(image)
        im2col.adjoint(columns, size, top, back)
        return back

    return fold


def test_declared_adjoints_are_adjoint(rng):
    image, size, top, rows = block(rng, np.float64, (3, 5, 11))
    columns = rng.standard_normal((3 * 5 * 3, 4 * 9))
    dottest(lambda a: im2col(a, size, top, rows), _back_to(image, size, top), image, columns)
    down, across = rng.random(7), rng.random(9)
    images, grids = rng.standard_normal((2, 7, 9)), rng.standard_normal((2, 10, 12))
    dottest(lambda a: fade_pad(a, down, across, (10, 12)), lambda a: fade_pad.adjoint(a, down, across), images, grids)
    assert {kernel.name for kernel in all_kernels() if kernel.adjoint} == {"im2col", "fade_pad"}
