"""Resizing and thresholding of PSFs: gradients, and what they must not change."""

import numpy as np
import pytest

from deconvnet.backend import to_device
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.psf_resize import psf_resize, psf_resize_backward
from deconvnet.layers.psf_threshold import psf_threshold, psf_threshold_backward
from deconvnet.testing import gradcheck


def _psfs(rng, count, side):
    psfs = rng.random((count, side, side))
    return psfs / psfs.sum(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize(("side", "factor"), [(9, 1.41), (13, 1.41), (5, 0.7), (5, 1.0)])
def test_the_backward_of_resizing(side, factor, rng, device):
    def forward(psf, train=False):
        return psf_resize(psf, (factor, 1.02 * factor), side)

    psfs = to_device(rng.standard_normal((2, 7, 7)) + 0.3, device)  # some of it is clipped
    gradcheck((forward, psf_resize_backward), psfs, rng=rng, step=1e-6)


class _Threshold(Layer):
    def __init__(self):
        self.share = Parameter(np.array(0.2))

    def forward(self, psf, *, train=False):
        return psf_threshold(psf, float(self.share.value))

    def backward(self, dpsf, cache):
        dpsf, dshare = psf_threshold_backward(dpsf, cache)
        self.share.grad += dshare
        return dpsf


def test_the_backward_of_the_threshold(rng, device):
    gradcheck(_Threshold().to(device), to_device(_psfs(rng, 3, 6), device), rng=rng, step=1e-6)


def test_the_same_pixels_stay_the_same_psf(rng):
    psfs = _psfs(rng, 2, 9)
    assert np.allclose(psf_resize(psfs, (1.0, 1.0), 9)[0], psfs)
    padded = psf_resize(psfs, (1.0, 1.0), 13)[0]
    assert np.allclose(padded[:, 2:-2, 2:-2], psfs)


def test_a_resized_psf_is_the_blur_of_the_resized_picture(rng):
    """A smooth path far finer than its pixels: its centre and spread grow by exactly the factor."""
    place = np.arange(41) - 20
    psf = np.exp(-((place[:, None] - 3.0) ** 2) / 50 - (place + 2.0) ** 2 / 30)[None]
    for factor in (2**-0.5, 2**0.5):
        found = psf_resize(psf / psf.sum(), (factor, factor), 61)[0][0]
        wide = np.arange(61) - 30
        assert found.sum(axis=1) @ wide == pytest.approx(3 * factor, abs=0.02)
        assert found.sum(axis=0) @ wide == pytest.approx(-2 * factor, abs=0.02)


def test_a_threshold_of_nothing_changes_nothing(rng):
    psfs = _psfs(rng, 2, 7)
    assert np.allclose(psf_threshold(psfs, 0.0)[0], psfs)
    found = psf_threshold(psfs, 0.5)[0]
    assert np.allclose(found.sum(axis=(1, 2)), 1)
    assert np.array_equal(found > 0, psfs > 0.5 * psfs.max(axis=(1, 2), keepdims=True))


def test_nothing_left_is_no_blur():
    assert psf_resize(np.zeros((1, 5, 5)), (1.4, 1.4), 7)[0][0, 3, 3] == 1
    found, cache = psf_threshold(np.zeros((1, 5, 5)), 0.1)
    assert found[0, 2, 2] == found.sum() == 1
    assert not psf_threshold_backward(np.ones((1, 5, 5)), cache)[0].any()
