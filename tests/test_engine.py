"""Whole pictures with every kernel as plain array code: the same as with compiled code."""

import numpy as np
import pytest
import skimage.data
from scipy.signal import fftconvolve

import deconvnet
from deconvnet.blur.psf import sample_gp_psfs

SUPPORTS = (5, 7, 9, 11, 13)


def _blurred(count, side, support):
    rng = np.random.default_rng(7)
    picture = skimage.data.camera()[100 : 100 + side + support - 1, 180 : 180 + side + support - 1] / np.float32(255)
    psfs = sample_gp_psfs(rng, count, support)
    frames = np.stack([fftconvolve(picture, psf, mode="valid") for psf in psfs])
    noisy = frames + 0.005 * rng.standard_normal(frames.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


# What is restored, the number of frames and their side.
CASES = {
    "photo": (lambda frames: deconvnet.deblur(frames[0], psf_size=17), 1, 200),
    "photo, network alone": (lambda frames: deconvnet.deblur(frames[0], psf_size=17, refine=False), 1, 200),
    "burst": (lambda frames: deconvnet.deblur_burst(frames, register="none"), 3, 96),
    "burst, network alone": (
        lambda frames: deconvnet.deblur_burst(frames, register="none", refine=False),
        3,
        96,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_plain_array_code_makes_the_same_pictures(name):
    restore, count, side = CASES[name]
    differences = []
    for support in SUPPORTS:
        frames = _blurred(count, side, support)  # once: both bodies see the same bits
        compiled = restore(frames)
        with deconvnet.engine("reference"):
            plain = restore(frames)
        assert plain.std() > 0.05
        difference = np.abs(compiled - plain)
        differences.append(float(difference.max() if "burst" in name else np.sqrt((difference**2).mean())))
    # For a photo it is decided what is an edge, a speck or an explained pixel, and rounding turns such a decision in
    # some pictures, which shows in a few pixels.
    assert np.median(differences) < 1e-3, differences
    assert max(differences) < 5e-3, differences
