"""Sparse latent images: gradients, and that edges survive where noise does not."""

import numpy as np
import scipy.ndimage

from deconvnet.backend import to_device
from deconvnet.layers.image_estimation import blurry_spectrum
from deconvnet.layers.sparse_latent import shrink, shrink_backward, sparse_latents, sparse_latents_backward
from deconvnet.testing import gradcheck


def test_the_backward_of_shrinking(rng, device):
    g, threshold = (to_device(a, device) for a in (rng.standard_normal((2, 2, 5, 6)), np.array([0.4, 1.3])))
    gradcheck((lambda *a, train=False: shrink(*a), shrink_backward), g, threshold, rng=rng)


def test_the_backward_of_the_unrolled_steps(rng, device):
    y = to_device(scipy.ndimage.gaussian_filter(rng.random((2, 14, 13)), (0, 1, 1)), device)
    y_hat, grid = blurry_spectrum(y, 6)
    psf = rng.random((2, 5, 5))
    psf = to_device(psf / psf.sum(axis=(1, 2), keepdims=True), device)
    couplings = to_device(np.array([[0.05, 0.08], [0.3, 0.2], [1.0, 0.9]]), device)
    thresholds = to_device(np.array([[0.02, 0.03], [0.01, 0.015], [0.004, 0.003]]), device)

    def forward(psf, couplings, thresholds, train=False):
        first, last, edges, cache = sparse_latents(y_hat, psf, couplings, thresholds, grid, y.shape[-2:])
        return np.concatenate([a.reshape(2, -1) for a in (first, last, edges)], axis=1), cache

    def backward(dout, cache):
        a, b, c = np.split(dout, [182, 364], axis=1)
        return sparse_latents_backward(a.reshape(2, 14, 13), b.reshape(2, 14, 13), c.reshape(2, 2, 14, 13), cache)

    gradcheck((forward, backward), psf, couplings, thresholds, rng=rng, step=1e-7, rtol=1e-5)


def test_an_edge_stays_and_noise_goes(rng):
    sharp = np.zeros((1, 40, 40))
    sharp[:, :, 20:] = 1
    psf = np.full((1, 5, 5), 1 / 25)
    blurry = scipy.ndimage.uniform_filter(sharp[0], 5)[None] + 0.01 * rng.standard_normal((1, 40, 40))
    y_hat, grid = blurry_spectrum(blurry, 10)
    couplings, thresholds = (np.array(v)[:, None] for v in ([0.01, 0.1, 1.0, 10.0], [0.04, 0.02, 0.01, 0.005]))
    first, last, edges, _ = sparse_latents(y_hat, psf, couplings, thresholds, grid, (40, 40))
    inner = (0, slice(8, 32), slice(8, 32))
    assert ((last - sharp) ** 2)[inner].mean() < 0.5 * ((first - sharp) ** 2)[inner].mean()
    assert abs(edges[0, 0, 8:32, 19]).min() > 0.5
    assert abs(edges[0, 1, 8:32, 8:32]).max() < 0.1
