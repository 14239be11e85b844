"""Fourier burst accumulation, vanilla and learned."""

import numpy as np
import pytest
import scipy.ndimage

from deconvnet.layers.fba import FLOOR, LearnableFBA, fba, fba_backward, log_magnitude
from deconvnet.testing import gradcheck


def _frames(count=3, shape=(9, 8), dtype=np.float64):
    return np.random.default_rng(26).random((2, count, *shape)).astype(dtype)


def _learned(frames, fusion="softmax"):
    rng = np.random.default_rng(27)
    layer = LearnableFBA(frames, 4, rng, p=3.0, fusion=fusion, dtype=np.float64)
    for name, p in layer.parameters().items():
        if name != "p":
            p.value[...] = 0.3 * rng.standard_normal(p.value.shape)
    return layer


@pytest.mark.parametrize("shape", [(9, 8), (8, 9), (7, 7)])
def test_fba_is_the_published_weighted_mean(shape):
    frames = _frames(shape=shape)
    hat = np.fft.fft2(frames)
    power = abs(hat) ** 5
    expected = np.fft.ifft2((power * hat).sum(axis=1) / power.sum(axis=1)).real
    assert np.allclose(fba(frames, 5.0)[0], expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(9, 8), (8, 9)])
def test_magnitudes_are_smoothed_over_the_full_periodic_spectrum(shape):
    frames = _frames(shape=shape)
    full = scipy.ndimage.gaussian_filter(abs(np.fft.fft2(frames)), (0, 0, 1.0, 1.0), mode="wrap", truncate=4.0)
    logs, _ = log_magnitude(np.fft.rfft2(frames), shape[1], sigma=1.0)
    assert np.allclose(np.exp(logs), full[..., : shape[1] // 2 + 1], rtol=1e-2)


def test_p_zero_is_the_mean_and_a_large_p_stays_finite_in_float32():
    frames = _frames(dtype=np.float32)
    assert np.allclose(fba(frames, 0.0)[0], frames.mean(axis=1), atol=1e-6)
    image = fba(frames, 200.0)[0]
    assert image.dtype == np.float32
    assert np.isfinite(image).all()


def test_one_sharp_frame_among_flat_ones_wins():
    frames = np.full((1, 5, 16, 16), 0.5)
    frames[0, 3] += 0.2 * np.random.default_rng(28).standard_normal((16, 16))
    sharp = frames[0, 3] - frames[0, 3].mean()
    image = fba(frames)[0][0]
    assert np.allclose(image - image.mean(), sharp, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1.3])
@pytest.mark.parametrize("shape", [(9, 8), (7, 7)])
def test_gradients_of_fba(shape, sigma):
    forward = lambda a, p, train: fba(a, p, sigma=sigma)  # noqa: E731
    gradcheck((forward, fba_backward), _frames(shape=shape), np.array(3.0), step=1e-6)


def test_gradients_are_finite_where_the_spectrum_is_zero():
    image, cache = fba(np.full((1, 2, 8, 8), 0.5))
    dframes, dp = fba_backward(np.ones_like(image), cache)
    assert np.isfinite(dframes).all()
    assert np.isfinite(dp)


@pytest.mark.parametrize("sigma", [0.0, 1.3])
@pytest.mark.parametrize("count", [3, None])
@pytest.mark.parametrize("fusion", ["softmax", "eq6"])
def test_gradients_of_the_learned_layer(count, sigma, fusion):
    gradcheck(_learned(count, fusion), _frames(), sigma=sigma)


@pytest.mark.parametrize("shape", [(9, 8), (8, 9)])
def test_weights_of_equation_6_are_added_as_they_are(shape):
    frames, layer = _frames(shape=shape), _learned(3, "eq6")
    hat = np.fft.fft2(frames)
    logs = np.log(np.sqrt(abs(hat) ** 2 + FLOOR**2))
    power = np.exp(3 * (logs - logs.max(axis=1, keepdims=True)))
    h, _ = layer.correction.forward(logs.reshape(2, 3, -1))
    weights = power / power.sum(axis=1, keepdims=True) + h.reshape(logs.shape)
    expected = np.fft.ifft2((weights * hat).sum(axis=1)).real
    assert np.allclose(layer.forward(frames)[0], expected, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.0, 1.3])
@pytest.mark.parametrize("count", [3, None])
@pytest.mark.parametrize("fusion", ["softmax", "eq6"])
def test_the_learned_layer_starts_exactly_as_fba(count, sigma, fusion):
    frames = _frames(shape=(33, 33), dtype=np.float32)
    image, cache = LearnableFBA(count, 8, np.random.default_rng(0), fusion=fusion).forward(frames, sigma=sigma)
    assert cache is None
    assert image.dtype == np.float32
    assert np.array_equal(image, fba(frames, 11.0, sigma=sigma)[0])


def test_equivariant_layer_does_not_care_about_the_order():
    frames, layer = _frames(count=5), _learned(None)
    assert np.allclose(layer.forward(frames[:, [4, 2, 0, 1, 3]])[0], layer.forward(frames)[0], atol=1e-12)
