"""Feature extraction, with and without training, equals the plain chain of layers."""

import numpy as np
import pytest

from deconvnet.backend import to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.features import Features
from deconvnet.layers.quotient import quotient
from deconvnet.testing import gradcheck


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("hidden", [0, 2])
def test_gradients_of_the_layer(rng, device, channels, hidden):
    layer = Features(channels, 5, 3, hidden, 4, rng, dtype=np.float64).to(device)
    gradcheck(layer, to_device(rng.standard_normal((2, channels, 9, 8)), device), rng=rng)


def _by_layers(layer, x, dy):
    """The same computation as one layer after the other, images first: feature images, gradient of x and of weights."""
    convolved, conv_cache = layer.conv.forward(x, train=True)
    active, caches = np.tanh(convolved), []
    for mix in layer.hidden:
        mixed, cache = mix.forward(active, train=True)
        caches.append((active, cache))
        active = np.tanh(mixed)
    y, cache = layer.out.forward(active, train=True)
    dx = layer.out.backward(dy, cache) * (1 - active**2)
    for mix, (before, cache) in zip(layer.hidden[::-1], caches[::-1]):
        dx = mix.backward(dx, cache) * (1 - before**2)
    return y, layer.conv.backward(dx, conv_cache)


@pytest.mark.parametrize("size", [4, 11])
def test_features_are_what_one_layer_after_the_other_gives(rng, size):
    layer = Features(2, 5, size, 1, 3, rng, dtype=np.float64)
    x, dy = rng.standard_normal((2, 2, 50, 41)), rng.standard_normal((2, 3, 51 - size, 42 - size))
    expected, dexpected = _by_layers(layer, x, dy)
    grads = {name: p.grad.copy() for name, p in layer.parameters().items()}
    layer.zero_grad()
    found, cache = layer.forward(x, train=True)
    assert np.allclose(found, expected, atol=1e-12)
    assert np.allclose(layer.forward(x)[0], expected, atol=1e-12)
    assert np.allclose(layer.backward(dy, cache), dexpected, atol=1e-11)
    for name, p in layer.parameters().items():
        assert np.allclose(p.grad, grads[name], atol=1e-10), name


@pytest.mark.parametrize(
    ("filters", "size", "images"),
    [(32, 6, 4), (5, 17, 16), (33, 3, 2), (4, 3, 17), (3, 67, 1)],
    ids=["all lanes used", "many images", "too many filters", "too many images", "large filters"],
)
def test_inference_gives_what_training_computes(rng, device, filters, size, images):
    layer = Features(1, filters, size, 1, images, rng, dtype=np.float64).to(device)
    x = to_device(rng.standard_normal((2, 1, 70, 75)), device)
    found, cache = layer.forward(x)
    assert cache is None
    assert np.allclose(to_host(found), to_host(layer.forward(x, train=True)[0]), atol=1e-11)


def test_only_the_channels_asked_for_get_a_gradient(rng):
    layer = Features(2, 3, 3, 1, 2, rng, dtype=np.float64)
    x, dy = rng.standard_normal((1, 2, 8, 8)), rng.standard_normal((1, 2, 6, 6))
    _, cache = layer.forward(x, train=True)
    both = layer.backward(dy, cache)
    assert np.allclose(layer.backward(dy, cache, dx_channels=slice(1, 2)), both[:, 1:], atol=1e-14)
    assert layer.backward(dy, cache, dx_channels=None) is None


def test_filters_start_without_a_mean(rng):
    layer = Features(1, 4, 9, 1, 4, rng)
    assert abs(layer.conv.filters.value.mean(axis=(2, 3))).max() < 1e-7


def test_an_image_smaller_than_the_filters_is_refused(rng):
    with pytest.raises(DeconvnetError, match="larger image"):
        Features(1, 4, 9, 1, 4, rng).forward(np.zeros((1, 1, 20, 8), np.float32))


def test_the_psf_without_training_is_the_quotient_of_the_maps(rng, device):
    layer = Features(1, 5, 3, 1, 4, rng, dtype=np.float64).to(device)
    x = to_device(rng.standard_normal((2, 1, 20, 24)), device)
    window = tuple(to_device(rng.random(n), device) for n in (18, 22))
    maps = layer.forward(x)[0] * (window[0][:, None] * window[1])
    expected, _ = quotient(maps[:, :2], maps[:, 2:], 0.3)
    place = np.arange(-2, 3)
    found = to_host(layer.psf(x, window, [18, 22], 0.3, 5))
    assert np.allclose(found[:, place[:, None], place], to_host(expected)[:, place[:, None], place], atol=1e-12)
