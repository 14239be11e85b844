"""Colours come from one picture, luminance from the other, and nothing else happens."""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from deconvnet.colour import luminance, transfer_colour


def test_luminance_has_the_weights_of_rec_601():
    np.testing.assert_allclose(luminance(np.eye(3)[None]), [[0.299, 0.587, 0.114]])
    grey = np.full((2, 2), 0.3, dtype=np.float32)
    assert luminance(grey) is grey


def test_a_picture_keeps_itself_under_its_own_luminance(astronaut):
    np.testing.assert_allclose(transfer_colour(luminance(astronaut), astronaut), astronaut, atol=2e-3)


def test_grey_stays_grey_and_takes_the_luminance(rng):
    grey = np.repeat(rng.random((40, 50, 1), dtype=np.float32), 3, axis=-1)
    restored = rng.random((40, 50), dtype=np.float32)
    picture = transfer_colour(restored, grey)
    assert np.ptp(picture, axis=-1).max() < 1e-3
    np.testing.assert_allclose(picture[..., 1], restored, atol=1e-3)


def test_luminance_is_the_restored_one_and_a_b_stay(astronaut):
    blurred = gaussian_filter(astronaut, (1.5, 1.5, 0))
    restored = luminance(astronaut)
    picture = transfer_colour(restored, blurred)
    assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
    error = np.abs(luminance(picture) - restored)
    assert np.median(error) < 1e-3 and np.quantile(error, 0.99) < 0.02
    inside = (picture.min(axis=-1) > 0.02) & (picture.max(axis=-1) < 0.98)
    shift = np.abs(rgb2lab(picture) - rgb2lab(blurred))[inside][:, 1:]
    assert np.quantile(shift, 0.99) < 0.5


def test_luminance_out_of_range_is_clipped(astronaut):
    picture = transfer_colour(luminance(astronaut) * 3 - 1, astronaut)
    assert np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1
