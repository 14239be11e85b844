"""Periodic differences against NumPy's, their adjoint, and their spectrum."""

import numpy as np
import pytest

from deconvnet.backend import irfft2, rfft2
from deconvnet.ops.differences import differences, differences_adjoint, differences_power
from deconvnet.testing import dottest

SHAPES = [(7, 9), (8, 6)]


@pytest.mark.parametrize("shape", SHAPES)
def test_differences_are_those_to_the_next_pixel_and_around_the_border(rng, shape):
    x = rng.random(shape)
    down, across = differences(x)
    assert np.array_equal(down[:-1], np.diff(x, axis=0)) and np.array_equal(down[-1], x[0] - x[-1])
    assert np.array_equal(across[:, :-1], np.diff(x, axis=1)) and np.array_equal(across[:, -1], x[:, 0] - x[:, -1])


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_passes_the_dot_product_test(rng, shape):
    dottest(
        lambda x: np.stack(differences(x)),
        lambda pair: differences_adjoint(*pair),
        rng.standard_normal(shape),
        rng.standard_normal((2, *shape)),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_power_is_the_spectrum_of_the_adjoint_after_the_operator(rng, shape):
    x = rng.standard_normal(shape)
    expected = differences_adjoint(*differences(x))
    power = differences_power(np, shape, x.dtype)
    assert np.allclose(irfft2(power * rfft2(x), shape), expected, atol=1e-12)
    assert differences_power(np, shape, np.float32).dtype == np.float32
