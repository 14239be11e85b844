"""Whole pictures with every kernel as plain array code: the same as with compiled code."""

import numpy as np
import pytest
import skimage.data
from scipy.signal import fftconvolve

import deconvnet
from deconvnet.blur.psf import sample_gp_psfs


def _blurred(count, side, support):
    rng = np.random.default_rng(7)
    picture = skimage.data.camera()[100 : 100 + side + support - 1, 180 : 180 + side + support - 1] / np.float32(255)
    psfs = sample_gp_psfs(rng, count, support)
    frames = np.stack([fftconvolve(picture, psf, mode="valid") for psf in psfs])
    noisy = frames + 0.005 * rng.standard_normal(frames.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


CASES = {
    "photo": lambda: deconvnet.deblur(_blurred(1, 200, 7)[0], psf_size=17),
    "photo, network alone": lambda: deconvnet.deblur(_blurred(1, 200, 7)[0], psf_size=17, refine=False),
    "burst": lambda: deconvnet.deblur_burst(_blurred(3, 96, 7), register="none"),
    "burst, network alone": lambda: deconvnet.deblur_burst(_blurred(3, 96, 7), register="none", refine=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_plain_array_code_makes_the_same_picture(name):
    compiled = CASES[name]()
    with deconvnet.engine("reference"):
        plain = CASES[name]()
    assert plain.std() > 0.05
    difference = np.abs(compiled - plain)
    assert np.sqrt((difference**2).mean()) < 1e-3
    # Refining decides what is an edge: rounding may turn a decision, and that shows in a few pixels.
    assert difference.max() < (1e-3 if "alone" in name else 1e-2)
