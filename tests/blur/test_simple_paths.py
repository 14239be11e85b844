"""Strokes and pauses: valid PSFs, centred, of the size that was asked for."""

import numpy as np
import pytest

from deconvnet.blur.simple_paths import sample_pause_psfs, sample_stroke_psfs


@pytest.mark.parametrize("sample", [sample_stroke_psfs, sample_pause_psfs])
@pytest.mark.parametrize("size", [3, 17, 33])
def test_they_are_psfs_with_their_centre_in_the_middle(sample, size, rng):
    support = rng.uniform(1, size, 40)
    psfs = sample(rng, 40, support, size)
    assert psfs.shape == (40, size, size)
    assert psfs.dtype == np.float32
    assert psfs.min() >= 0
    assert np.allclose(psfs.sum(axis=(1, 2)), 1, atol=1e-5)
    place = np.arange(size) - size // 2
    for axis in (1, 2):
        assert abs(psfs.sum(axis=axis) @ place).max() < 1e-3


def test_strokes_are_long_and_pauses_are_bright(rng):
    size = 25
    strokes = sample_stroke_psfs(rng, 20, np.full(20, 25.0), size)
    assert ((strokes > 1e-4).sum(axis=(1, 2)) > 20).all()
    pauses = sample_pause_psfs(rng, 20, np.full(20, 25.0), size)
    brightest = np.sort(pauses.reshape(20, -1), axis=1)[:, -60:].sum(axis=1)
    assert (brightest > 0.7).all()
