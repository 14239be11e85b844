"""The contract of every kernel: numba twin equals the reference, twice the same, types kept, inputs untouched.

One record per kernel. With a GPU, the production form on CuPy is held to the same reference.
"""

from typing import NamedTuple

import numpy as np
import pytest

from deconvnet.backend import to_device, to_host
from deconvnet.kernels import optimiser_steps, quotient, relative_spectra, unfold
from deconvnet.testing import TOLERANCE, dottest


class Record(NamedTuple):
    """A kernel's bodies and how to make its arguments: ``arguments(rng, real, size)`` as a list."""

    name: str
    reference: object
    numba: object
    production: object
    arguments: object
    in_place: tuple = ()  # positions of the arguments that the kernel updates


def _complex(rng, shape, real):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.result_type(real, np.complex64))


def _quotient(rng, real, size):
    batch, _, frequencies = size
    beta = rng.uniform(0.1, 1, (batch if batch > 1 else 1, frequencies)).astype(real)
    return [_complex(rng, size, real), _complex(rng, size, real), beta]


def _quotient_backward(rng, real, size):
    x, y, beta = _quotient(rng, real, size)
    z, d = quotient.quotient_spectrum_reference(x, y, beta)
    return [_complex(rng, z.shape, real), x, y, z, d, True]


def _windows(rng, real, size):
    batch, frames, frequencies = size
    return [_complex(rng, (batch, frames, 9, frequencies), real), 0.02, 1e-3, 4.0]


def _adam(rng, real, size):
    arrays = [rng.standard_normal(size).astype(real) for _ in range(3)]
    return [*arrays, rng.random(size).astype(real), 0.7, 1e-2, 0.9, 0.999, 0.1, 0.01, 1e-8]


def _momentum(rng, real, size):
    return [*(rng.standard_normal(size).astype(real) for _ in range(3)), 0.7, 1e-2, 0.9]


def _block(rng, real, size):
    """An image, the sides of a neighbourhood, and a block of rows that does not start at the top."""
    channels, kh, width = size
    kw = min(3, width)
    return [rng.standard_normal((channels, kh + 6, width)).astype(real), (kh, kw), 2, 4]


def _columns(rng, real, size):
    image, neighbourhood, top, rows = _block(rng, real, size)
    columns = unfold.unfold_reference(image, neighbourhood, top, rows)
    return [rng.standard_normal(columns.shape).astype(real), neighbourhood, top, image]


def _backward_with_keyword(*arguments):
    return quotient.quotient_spectrum_backward(*arguments[:-1], need_dy=arguments[-1])


RECORDS = [
    Record(
        "quotient_spectrum",
        quotient.quotient_spectrum_reference,
        quotient.quotient_spectrum_numba,
        quotient.quotient_spectrum,
        _quotient,
    ),
    Record(
        "quotient_spectrum_backward",
        quotient.quotient_spectrum_backward_reference,
        quotient.quotient_spectrum_backward_numba,
        _backward_with_keyword,
        _quotient_backward,
    ),
    Record(
        "relative_spectra",
        relative_spectra.relative_spectra_reference,
        relative_spectra.relative_spectra_numba,
        relative_spectra.relative_spectra,
        _windows,
    ),
    Record(
        "adam_step",
        optimiser_steps.adam_step_reference,
        optimiser_steps.adam_step_numba,
        optimiser_steps.adam_step,
        _adam,
        (0, 2, 3),
    ),
    Record(
        "momentum_step",
        optimiser_steps.momentum_step_reference,
        optimiser_steps.momentum_step_numba,
        optimiser_steps.momentum_step,
        _momentum,
        (0, 2),
    ),
    Record("unfold", unfold.unfold_reference, unfold.unfold_numba, unfold.unfold, _block),
    Record("fold_add", unfold.fold_add_reference, unfold.fold_add_numba, unfold.fold_add, _columns, (3,)),
]
SIZES = [(1, 1, 1), (1, 2, 17), (3, 14, 64), (2, 5, 2145)]


def _copies(arguments):
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


def _results(function, arguments, record):
    out = function(*arguments)
    outs = [arguments[i] for i in record.in_place] if record.in_place else out
    return [a for a in (outs if isinstance(outs, (tuple, list)) else [outs]) if a is not None]


def _close(found, exact, real):
    scale = max(float(np.abs(exact).max()), 1e-6)
    return float(np.abs(found - exact).max()) <= 4 * TOLERANCE[np.dtype(real).name] * scale


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_numba_twin_keeps_the_contract(record, real, size, rng):
    arguments = record.arguments(rng, real, size)
    double = [a.astype(np.result_type(a, np.float64)) if isinstance(a, np.ndarray) else a for a in _copies(arguments)]
    exact = _results(record.reference, double, record)
    mine, again = _copies(arguments), _copies(arguments)
    found = _results(record.numba, mine, record)
    repeated = _results(record.numba, again, record)
    for f, e, r in zip(found, exact, repeated):
        assert f.shape == e.shape
        assert f.dtype == np.result_type(real, np.complex64 if e.dtype.kind == "c" else real)
        assert _close(f, e, real)
        assert np.array_equal(f, r)
    for i, (before, after) in enumerate(zip(arguments, mine)):
        if isinstance(before, np.ndarray) and i not in record.in_place:
            assert np.array_equal(before, after)


@pytest.mark.gpu
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_production_form_on_the_gpu_equals_the_reference(record, real, size, rng):
    arguments = record.arguments(rng, real, size)
    exact = _results(record.reference, _copies(arguments), record)
    there = [to_device(a, "cuda") if isinstance(a, np.ndarray) else a for a in arguments]
    for f, e in zip(_results(record.production, there, record), exact):
        assert _close(to_host(f), e, real)


def test_production_form_takes_strided_input(rng):
    x, y, beta = _quotient(rng, np.float64, (2, 6, 20))
    z, _ = quotient.quotient_spectrum(x[:, ::2], y[:, ::2], beta)
    exact, _ = quotient.quotient_spectrum_reference(x[:, ::2], y[:, ::2], beta)
    assert np.allclose(z, exact, atol=1e-12)


def test_folding_is_the_adjoint_of_unfolding(rng):
    image, size, top, rows = _block(rng, np.float64, (3, 5, 11))

    def fold(columns):
        back = np.zeros_like(image)
        unfold.fold_add(columns, size, top, back)
        return back

    columns = rng.standard_normal((3 * 5 * 3, 4 * 9))
    dottest(lambda a: unfold.unfold(a, size, top, rows), fold, image, columns)
