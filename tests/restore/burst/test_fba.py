"""Facts of whole-image Fourier burst accumulation, and a second formulation in float64."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve, gaussian_filter

from deconvnet.backend import to_device, to_host
from deconvnet.layers.fba import fba
from deconvnet.metrics import psnr
from deconvnet.restore.burst.fba import fourier_burst_accumulation, mean

SHAPES = [(70, 70), (65, 80), (71, 67), (80, 65)]


def _direct(frames, p, sigma):
    """The published formula as it stands, on full spectra (N, H, W, C) with SciPy's periodic Gaussian."""
    spectra = np.fft.fft2(frames, axes=(1, 2))
    magnitudes = np.abs(spectra).mean(axis=-1)
    if sigma:
        magnitudes = np.stack([gaussian_filter(m, sigma, mode="wrap", truncate=12) for m in magnitudes])
    weights = magnitudes**p / (magnitudes**p).sum(axis=0)
    return np.fft.ifft2((weights[..., None] * spectra).sum(axis=0), axes=(0, 1)).real


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0, 1.4, None])
def test_agrees_with_the_direct_formula(rng, device, shape, sigma):
    frames = rng.random((4, *shape, 3))
    found = to_host(fourier_burst_accumulation(to_device(frames, device), 11.0, sigma))
    expected = _direct(frames, 11.0, min(shape) / 50 if sigma is None else sigma)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_float32_stays_near_float64(rng):
    frames = rng.random((4, 71, 67))
    found = fourier_burst_accumulation(frames.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, fourier_burst_accumulation(frames), atol=2e-5)


def test_agrees_with_the_layer_on_a_patch(rng):
    frames = rng.random((5, 65, 65))
    np.testing.assert_allclose(
        fourier_burst_accumulation(frames, 7.0, 1.3), fba(frames[None], 7.0, sigma=1.3)[0][0], atol=1e-9
    )


def test_equal_frames_come_out_as_they_are(rng):
    frame = rng.random((66, 75, 3)).astype(np.float32)
    np.testing.assert_allclose(fourier_burst_accumulation([frame] * 3), frame, atol=2e-6)


def test_extended_frames_of_fast_sizes_give_the_same_bits(rng, device):
    frames = to_device(rng.random((3, 72, 80, 3)), device)
    found, plain = (to_host(fourier_burst_accumulation(frames, extend=extend)) for extend in (True, False))
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("shape", [(127, 131), (128, 131), (211, 65)])
def test_extended_frames_are_as_good_as_periodic_ones(device, shape):
    # A photograph in which no frame is sharp everywhere: blurred down, or across.
    scene = skimage.data.camera()[100 : 100 + shape[0], 150 : 150 + shape[1]] / 255.0
    frames = [gaussian_filter(scene, sigma) for sigma in ((3.0, 0.3), (0.3, 3.0))]
    frames = to_device(np.stack([*frames, frames[0]]), device)
    found, plain = (to_host(fourier_burst_accumulation(frames, extend=extend)) for extend in (True, False))
    assert found.shape == shape
    for part in (slice(None), slice(20, -20)):  # with its border and without it
        assert psnr(found[part, part], scene[part, part]) > psnr(plain[part, part], scene[part, part]) - 0.05


def test_extended_equal_frames_come_out_as_they_are(rng):
    frame = rng.random((67, 71, 3)).astype(np.float32)
    np.testing.assert_allclose(fourier_burst_accumulation([frame] * 3, extend=True), frame, atol=2e-6)


def test_power_zero_is_the_mean(rng):
    frames = rng.random((3, 65, 70))
    np.testing.assert_allclose(fourier_burst_accumulation(frames, 0.0), frames.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(mean(frames), frames.mean(axis=0), atol=1e-12)


def test_order_of_the_frames_does_not_matter(rng):
    frames = rng.random((5, 65, 70))
    np.testing.assert_allclose(
        fourier_burst_accumulation(frames), fourier_burst_accumulation(frames[rng.permutation(5)]), atol=1e-12
    )


def test_one_sharp_frame_among_blurred_ones_wins(camera):
    blurred = [convolve(camera, np.full(shape, 1 / 7), mode="reflect") for shape in ((7, 1), (1, 7))]
    frames = np.stack([*blurred, camera, *blurred])
    errors = [float(np.mean((u - camera) ** 2)) for u in (fourier_burst_accumulation(frames), mean(frames))]
    assert errors[0] < 0.05 * errors[1]


def test_weights_are_shared_by_the_channels(rng):
    grey = rng.random((3, 65, 65))
    colour = np.stack([grey, 0.5 * grey, 0.25 * grey], axis=-1)
    found = fourier_burst_accumulation(colour)
    np.testing.assert_allclose(found[..., 1], 0.5 * found[..., 0], atol=1e-12)


def test_an_iterator_does_as_well_as_an_array_and_is_left_untouched(rng):
    frames = rng.random((3, 65, 66, 3))
    before = frames.copy()
    np.testing.assert_array_equal(fourier_burst_accumulation(f for f in frames), fourier_burst_accumulation(frames))
    np.testing.assert_array_equal(mean(f for f in frames), mean(frames))
    np.testing.assert_array_equal(frames, before)


def test_no_frames_and_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        fourier_burst_accumulation([])
    with pytest.raises(ValueError, match="different shapes"):
        fourier_burst_accumulation([np.zeros((65, 65)), np.zeros((65, 66))])
