"""The latent image from PSF and blurry image: gradients, and that it deblurs."""

import numpy as np
import scipy.ndimage

from deconvnet.backend import to_device
from deconvnet.blur.convolve import convolve
from deconvnet.layers.image_estimation import ImageEstimation, blurry_spectrum
from deconvnet.testing import gradcheck


def _psfs(rng, count, side):
    psfs = rng.random((count, side, side))
    return psfs / psfs.sum(axis=(1, 2), keepdims=True)


def test_gradients_for_image_psf_and_regulariser(rng, device):
    layer = ImageEstimation(6, beta=0.05, dtype=np.float64).to(device)
    y, psf = to_device(rng.random((2, 13, 12)), device), to_device(_psfs(rng, 2, 5), device)
    gradcheck(layer, y, psf, rng=rng)


def test_gradients_when_the_image_is_small_against_the_margin(rng):
    gradcheck(ImageEstimation(40, beta=0.1, dtype=np.float64), rng.random((1, 7, 9)), _psfs(rng, 1, 3), rng=rng)


def test_the_true_psf_brings_the_sharp_image_back(rng):
    sharp = scipy.ndimage.gaussian_filter(rng.random((1, 96, 90)), (0, 1.5, 1.5)) * 4
    across = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    psf = np.outer(across, across)[None] / across.sum() ** 2
    blurry = convolve(sharp, psf, "valid")
    sharp = sharp[:, 4:-4, 4:-4]
    found, _ = ImageEstimation(18, beta=1e-3, dtype=np.float64).forward(blurry, psf)
    inner = (slice(None), slice(12, -12), slice(12, -12))
    assert ((found - sharp)[inner] ** 2).mean() < 0.1 * ((blurry - sharp)[inner] ** 2).mean()


def test_a_spectrum_made_before_gives_the_same(rng):
    layer = ImageEstimation(8)
    y, psf = rng.random((1, 20, 22)).astype(np.float32), _psfs(rng, 1, 5).astype(np.float32)
    found, cache = layer.forward(y, psf)
    assert cache is None
    assert found.dtype == np.float32
    assert np.array_equal(found, layer.forward(y, psf, spectrum=layer.spectrum(y))[0])
    plain = layer.forward(y, psf, spectrum=blurry_spectrum(y, 8), train=True)[0]
    assert np.allclose(found, plain, atol=1e-5 * abs(plain).max())
