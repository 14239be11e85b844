"""The blur kernels do what they are for: statistics, geometry, variances (equality of bodies: the contract test)."""

import itertools

import numpy as np
import pytest

from deconvnet.kernels.synthesis import burst_synthesis as burst
from deconvnet.kernels.synthesis import psf_sampling
from deconvnet.kernels.synthesis.counter_random import draw_keys, hash32_array, normal_pair_array

OPTIONS = {
    "blur": {},
    "noise": {"read": (1e-4, 1e-3), "shot": (1e-4, 1e-2)},
    "coarse noise": {"read": (1e-4, 1e-3), "grain": (0.0, 0.5)},
    "rotation and gain": {"angle": (-0.01, 0.01), "gain": (0.8, 1.2)},
    "sRGB": {"read": (1e-4, 1e-3), "clip": True, "srgb": True},
}


def _burst(rng, dtype, options, side=61, taps=8):
    batch, frames = 2, 3
    sharp = rng.random((batch, side, side)).astype(dtype)
    psfs = rng.random((batch, frames, taps, taps)) ** 6
    psfs[psfs < 0.1] = 0
    psfs = (psfs / psfs.sum((2, 3), keepdims=True)).astype(dtype)
    drawn = {
        k: rng.uniform(*v, (batch, frames)).astype(dtype) if isinstance(v, tuple) else v for k, v in options.items()
    }
    return (sharp, psfs, draw_keys(rng, (batch, frames))), drawn


@pytest.mark.parametrize("taps", [1, 2, 7])
def test_burst_synthesis_is_valid_true_convolution(rng, taps):
    from scipy.signal import convolve2d

    (sharp, psfs, keys), _ = _burst(rng, "float64", {}, side=40, taps=taps + 3)
    found = burst.burst_synthesis(sharp, psfs, keys)
    for b, n in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(found[b, n], convolve2d(sharp[b], psfs[b, n], "valid"), atol=1e-13)


def test_burst_synthesis_rotates_counter_clockwise_about_the_centre(rng):
    y, x = np.mgrid[:63, :63].astype(float) - 31
    sharp = (0.5 + 0.005 * x + 0.3 * np.exp(-((x - 15) ** 2 + (y + 10) ** 2) / 40))[None]
    angle = 0.012
    found = burst.burst_synthesis(sharp, np.ones((1, 1, 1, 1)), draw_keys(rng, (1, 1)), angle=np.full((1, 1), angle))
    y, x = y[1:-1, 1:-1], x[1:-1, 1:-1]
    from_x, from_y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    expected = 0.5 + 0.005 * from_x + 0.3 * np.exp(-((from_x - 15) ** 2 + (from_y + 10) ** 2) / 40)
    assert abs(found[0, 0] - sharp[0, 1:-1, 1:-1]).max() > 0.005
    np.testing.assert_allclose(found[0, 0], expected, atol=4e-4)


def test_burst_noise_has_the_variance_asked_for(rng):
    sharp = np.full((1, 129, 129), 0.4, np.float32)
    keys = draw_keys(rng, (1, 4))
    psfs = np.ones((1, 4, 1, 1), np.float32)
    noisy = burst.burst_synthesis(sharp, psfs, keys, read=np.full((1, 4), 1e-4), shot=np.full((1, 4), 1e-3)) - 0.4
    assert abs(noisy.var() / 5e-4 - 1) < 0.03
    correlation = np.corrcoef(noisy.reshape(4, -1))
    assert abs(correlation - np.eye(4)).max() < 0.03


def test_grain_makes_noise_coarser_at_the_same_variance(rng):
    sharp, keys = np.full((1, 129, 129), 0.4, np.float32), draw_keys(rng, (1, 3))
    options = {"read": np.full((1, 3), 1e-4), "grain": np.array([[0.0, 0.2, 0.5]])}
    noise = burst.burst_synthesis(sharp, np.ones((1, 3, 1, 1), np.float32), keys, **options)[0] - 0.4
    np.testing.assert_allclose(noise.var((1, 2)), 1e-4, rtol=0.06)
    expected = [0, 2 * 0.2 / (1 + 2 * 0.2**2), 2 * 0.5 / (1 + 2 * 0.5**2)]
    for axis in (1, 2):
        found = (noise * np.roll(noise, 1, axis)).mean((1, 2)) / noise.var((1, 2))
        np.testing.assert_allclose(found, expected, atol=0.04)


@pytest.mark.parametrize("wrong", [{"srgb": True}, {"quality": np.full((2, 3), 80.0)}, {"angle": np.full((2, 3), 0.1)}])
def test_burst_synthesis_refuses_options_that_do_not_fit(rng, wrong):
    arguments, _ = _burst(rng, "float32", {})
    with pytest.raises(ValueError, match=r"need clip|half a pixel"):
        burst.burst_synthesis(*arguments, **wrong)


def test_camera_paths_have_the_matern_covariance():
    response = psf_sampling.path_response(200)
    t = np.linspace(0, 1, 200)
    lag = np.sqrt(3) * abs(t[:, None] - t[None, :]) / 0.3
    np.testing.assert_allclose(response @ response.T, (1 + lag) * np.exp(-lag) / 16, atol=1e-12)


def test_counter_noise_is_standard_normal_and_uncorrelated(rng):
    from scipy.stats import kstest

    keys = draw_keys(rng, (4, 1))
    counter = np.arange(25000, dtype=np.uint32)[None]
    pairs = np.stack(normal_pair_array(counter, keys[..., 0], keys[..., 1]), axis=1)  # (4, 2, 25000)
    assert kstest(pairs.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate([pairs.reshape(8, -1)[:, 1:], pairs.reshape(8, -1)[:, :-1]]))
    assert abs(correlation - np.eye(16)).max() < 0.03
    bits = hash32_array(counter, keys[:, 0, :1][:1], keys[:, 0, 1:][:1])
    assert all(abs(((bits >> np.uint32(b)) & np.uint32(1)).mean() - 0.5) < 0.02 for b in range(32))
