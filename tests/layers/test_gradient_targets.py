"""Feature images whose second half are the picture's gradients."""

import numpy as np
import pytest

from deconvnet.backend import array_module, to_device, to_host
from deconvnet.layers.base import Layer
from deconvnet.layers.gradient_targets import GradientTargets
from deconvnet.layers.quotient import quotient
from deconvnet.testing import gradcheck


@pytest.mark.parametrize("channels", [1, 2])
def test_targets_are_the_gradients_of_the_blurry_picture(rng, device, channels):
    layer = GradientTargets(channels, 3, 5, 1, rng, dtype=np.float64).to(device)
    x = rng.standard_normal((2, channels, 12, 14))
    for train in (False, True):
        maps = to_host(layer.forward(to_device(x, device), train=train)[0])
        down, across = np.gradient(x[:, 0], axis=(1, 2))
        np.testing.assert_allclose(maps[:, 2], across[:, 2:-2, 2:-2])
        np.testing.assert_allclose(maps[:, 3], down[:, 2:-2, 2:-2])


class _OfLatent(Layer):
    """The layer as a function of the latent image beside a blurry one, which is data."""

    def __init__(self, layer, blurry):
        self.layer, self.blurry = layer, blurry

    def forward(self, latent, *, train=False):
        return self.layer.forward(array_module(latent).stack([self.blurry, latent], axis=1), train=train)

    def backward(self, dy, cache):
        return self.layer.backward(dy, cache, dx_channels=slice(1, 2))[:, 0]


def test_gradients_of_filters_and_latent_image(rng, device):
    layer = GradientTargets(2, 3, 3, 1, rng, dtype=np.float64).to(device)
    blurry, latent = (to_device(a, device) for a in rng.standard_normal((2, 2, 9, 8)))
    gradcheck(_OfLatent(layer, blurry), latent, rng=rng)


def test_the_psf_without_training_is_the_quotient_of_the_maps(rng, device):
    layer = GradientTargets(1, 3, 5, 1, rng, dtype=np.float64).to(device)
    x = to_device(rng.standard_normal((2, 1, 20, 24)), device)
    window = tuple(to_device(rng.random(n), device) for n in (16, 20))
    maps = layer.forward(x)[0] * (window[0][:, None] * window[1])
    expected, _ = quotient(maps[:, :2], maps[:, 2:], 0.3)
    found = to_host(layer.psf(x, window, [16, 20], 0.3, 5))
    place = np.arange(-2, 3)
    np.testing.assert_allclose(found[:, place[:, None], place], to_host(expected)[:, place[:, None], place], atol=1e-12)
