"""The network of the final image: gradients through both steps, and where it starts."""

import numpy as np
import pytest

from deconvnet.layers.conv3x3 import Conv3x3
from deconvnet.networks.image_network import ImageNetwork
from deconvnet.ops.psf import psf_to_otf
from deconvnet.restore.deconvolve.measured import measure
from deconvnet.testing import gradcheck


@pytest.mark.parametrize("rectify", [False, True])
def test_gradients_of_the_convolution(rectify, rng):
    gradcheck(Conv3x3(5, 7, rectify, rng, dtype=np.float64), rng.standard_normal((2, 9, 12, 5)))


def _measured(rng):
    psf = rng.random((2, 5, 5))
    seen = np.zeros((2, 20, 24))
    seen[:, :16, :19] = 1
    otf = psf_to_otf(psf / psf.sum(axis=(1, 2), keepdims=True), (20, 24))
    return measure(rng.random((2, 20, 24)), otf, np.array([0.02, 0.05]), seen)


def test_gradients_of_all_weights(rng):
    network, measured = ImageNetwork(width=6, depth=3, rng=rng, dtype=np.float64), _measured(rng)
    for correction in (network.first, network.second):  # they start at zero
        weight = correction.convs[-1].weight.value
        weight[...] = 0.2 * rng.standard_normal(weight.shape)
    cotangent = rng.standard_normal((2, 20, 24))
    _, cache = network.forward(measured, train=True)
    network.backward(cotangent, cache)
    for name, parameter in network.parameters().items():
        direction, value = rng.standard_normal(parameter.value.shape), parameter.value.copy()
        sides = []
        for step in (1e-6, -1e-6):
            parameter.value[...] = value + step * direction
            sides.append((cotangent * network.forward(measured)[0]).sum())
        parameter.value[...] = value
        analytic = (parameter.grad * direction).sum()
        assert abs((sides[0] - sides[1]) / 2e-6 - analytic) < 1e-5 * max(1, abs(analytic)), name


def test_untrained_it_is_the_sparse_picture_drawn_to_the_data(rng):
    network, measured = ImageNetwork(width=6, depth=3, rng=rng, dtype=np.float64), _measured(rng)
    weight = np.exp(network.log_weight.value) * measured.noise**2
    weight = weight[:, None, None]
    drawn = (measured.data_hat + weight * np.fft.rfft2(measured.sparse)) / (measured.power + weight)
    assert np.allclose(network.forward(measured)[0], np.fft.irfft2(drawn, (20, 24)), atol=1e-12)


def test_bands_of_rows_give_the_same_as_all_at_once(rng, monkeypatch):
    network, measured = ImageNetwork(width=6, depth=3, rng=rng, dtype=np.float64), _measured(rng)
    for correction in (network.first, network.second):
        weight = correction.convs[-1].weight.value
        weight[...] = 0.2 * rng.standard_normal(weight.shape)
    monkeypatch.setattr("deconvnet.networks.image_network.BAND", 7)
    whole, _ = network.forward(measured, train=True)
    np.testing.assert_allclose(network.forward(measured)[0], whole, atol=1e-12)
