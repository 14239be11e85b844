"""Periodic extension of images: smooth across the seam, and an exact adjoint."""

import numpy as np
import pytest

from deconvnet.ops.border import extend_periodically, extend_periodically_backward, extended_shape
from deconvnet.testing import dottest


def test_the_image_stays_and_the_seams_are_no_rougher_than_the_image():
    y, x = np.mgrid[:40, :50]
    image = (y / 40 + x / 50)[None]  # a ramp: its own periodic repetition has steps of 1
    wide = extend_periodically(image, (60, 75))
    assert np.array_equal(wide[:, :40, :50], image)
    for axis in (1, 2):
        steps = abs(np.roll(wide, -1, axis=axis) - wide).max()
        assert steps < 0.12, steps


def test_a_mirrored_image_is_continued_as_the_mirror_of_its_continuation(rng):
    x = rng.random((7, 9))
    mirrored = extend_periodically(x[::-1, ::-1], (10, 13))
    back = np.roll(mirrored[::-1, ::-1], (7, 9), axis=(0, 1))
    assert np.allclose(back, extend_periodically(x, (10, 13)), atol=1e-12)


def test_a_constant_stays_constant_and_dtype_is_kept():
    wide = extend_periodically(np.full((2, 7, 9), 0.4, np.float32), (10, 18))
    assert wide.dtype == np.float32
    assert np.allclose(wide, 0.4)


@pytest.mark.parametrize("shape", [(21, 30), (24, 30), (21, 36), (42, 60)])
def test_backward_is_the_adjoint(rng, shape):
    dottest(
        lambda x: extend_periodically(x, shape),
        lambda dy: extend_periodically_backward(dy, (21, 30)),
        rng.standard_normal((2, 21, 30)),
        rng.standard_normal((2, *shape)),
    )


def test_the_extended_size_is_fast_and_at_most_doubles():
    assert extended_shape((255, 101), 34) == (300, 135)
    assert extended_shape((7, 11), 34) == (14, 22)


def test_more_than_double_is_refused(rng):
    with pytest.raises(ValueError, match="cannot be extended"):
        extend_periodically(rng.random((1, 8, 8)), (8, 17))
