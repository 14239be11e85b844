"""Unrolled non-negative least squares: gradients, and that it finds the PSF."""

import numpy as np
import pytest
import scipy.ndimage

from deconvnet.backend import rfft2, rfft2_backward, to_device
from deconvnet.layers.psf_least_squares import psf_least_squares, psf_least_squares_backward
from deconvnet.testing import gradcheck


def _psfs(rng, count, side):
    psfs = rng.random((count, side, side))
    return psfs / psfs.sum(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize(("grid", "side"), [((12, 15), 5), ((11, 12), 3)])
def test_the_backward_of_the_unrolled_steps(grid, side, rng, device):
    def forward(x, y, start, beta, alpha, train=False):
        x_hat, y_hat = (rfft2(a).reshape(2, 2, -1) for a in (x, y))
        return psf_least_squares(x_hat, y_hat, start, beta, float(alpha), grid, 6)

    def backward(dpsf, cache):
        *dhats, dstart, dbeta, dalpha = psf_least_squares_backward(dpsf, cache)
        half = (2, 2, grid[0], grid[1] // 2 + 1)
        return (*(rfft2_backward(d.reshape(half), grid) for d in dhats), dstart, dbeta, np.array(dalpha))

    x, y = (to_device(0.1 * rng.standard_normal((2, 2, *grid)), device) for _ in range(2))
    start = to_device(_psfs(rng, 2, side), device)
    beta = to_device(np.array([1.3, 0.8]), device)
    gradcheck((forward, backward), x, y, start, beta, np.array(0.7), rng=rng, step=1e-6)


def test_it_finds_the_psf(rng):
    psf = _psfs(rng, 1, 5)[0]
    sharp = rng.standard_normal((2, 48, 48))
    blurry = np.stack([scipy.ndimage.convolve(image, psf, mode="wrap") for image in sharp])
    x_hat, y_hat = (rfft2(a).reshape(1, 2, -1) for a in (sharp, blurry))
    start = np.full((1, 7, 7), 1 / 49)
    found, _ = psf_least_squares(x_hat, y_hat, start, np.array([1e-6]), 1e-6, (48, 48), 60)
    assert abs(found[0] - np.pad(psf, 1)).max() < 1e-3
