"""Resampling between scales: what it keeps, and its exact adjoint."""

import numpy as np
import pytest

from deconvnet.ops.resample import resample, resample_backward
from deconvnet.testing import dottest

SHAPES = [(21, 30), (13, 19), (33, 47), (9, 61), (1, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_is_the_adjoint(rng, shape):
    dottest(
        lambda x: resample(x, shape),
        lambda dy: resample_backward(dy, (21, 30)),
        rng.standard_normal((2, 21, 30)),
        rng.standard_normal((2, *shape)),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_constants_are_kept_and_so_is_the_dtype(shape):
    found = resample(np.full((1, 21, 30), 0.3, np.float32), shape)
    assert found.dtype == np.float32
    assert np.allclose(found, 0.3, atol=1e-6)


def test_the_same_size_changes_nothing(rng):
    x = rng.random((2, 12, 15))
    assert np.allclose(resample(x, (12, 15)), x, atol=1e-15)


def test_a_smooth_picture_survives_down_and_up_in_place():
    def picture(height, width):
        y, x = ((np.arange(n) + 0.5) / n for n in (height, width))
        return (np.cos(np.pi * y)[:, None] * np.cos(2 * np.pi * x))[None]

    assert abs(resample(picture(100, 75), (68, 51)) - picture(68, 51)).max() < 3e-3
    assert abs(resample(picture(68, 51), (100, 75)) - picture(100, 75)).max() < 3e-3


@pytest.mark.parametrize("size", [80, 60, 43])
def test_shrinking_keeps_out_what_the_new_grid_cannot_hold(size):
    stripes = (np.arange(120) % 2)[None, None].repeat(120, axis=1).astype(float)
    assert abs(resample(stripes, (size, size))[..., 4:-4] - 0.5).max() < 0.1
