"""PSFs of a burst, refined by its frames: nearer to the truth, in their place, and left alone where nothing shows."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter

from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psf_error
from deconvnet.restore.burst.refine import refine_burst_psfs, resized_psfs, spread

COUNT, SIDE, SUPPORT = 8, 15, 11


@pytest.fixture(scope="module")
def photograph():
    """The cameraman at full size: float32 (512, 512) in [0, 1]. Windows need pixels."""
    return skimage.data.camera().astype(np.float32) / 255


@pytest.fixture(scope="module")
def burst(photograph):
    """Frames, truth and true PSFs of a burst of part of a photograph."""
    rng = np.random.default_rng(0)
    sharp = photograph[120:290, 150:320]
    psfs = np.pad(sample_gp_psfs(rng, COUNT, SUPPORT), ((0, 0), (2, 2), (2, 2)))
    frames = convolve(np.repeat(sharp[None], COUNT, axis=0), psfs, border="valid")
    frames += 0.01 * rng.standard_normal(frames.shape, dtype=np.float32)
    return frames, sharp[7:-7, 7:-7], psfs


@pytest.fixture(scope="module")
def rough(burst):
    """The true PSFs, each with errors of its own, in their places.

    Frames do not tell a blur or a shift that is common to all of them.
    """
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(burst[2].shape), (0, 1, 1))
    noise += noise[:, ::-1, ::-1]
    found = np.maximum(gaussian_filter(burst[2], (0, 0.6, 0.6)) + 0.04 * noise, 0).astype(np.float32)
    return found / found.sum(axis=(1, 2), keepdims=True)


def test_refined_psfs_are_nearer_to_the_truth(burst, rough, device):
    frames, _, true = burst
    found = to_host(refine_burst_psfs(to_device(frames, device), to_device(rough, device)).psfs)
    assert found.shape == true.shape and found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-5)
    assert psf_error(found, true).mean() < 0.4 * psf_error(rough, true).mean()


def test_the_scale_of_the_values_does_not_matter(burst, rough):
    frames = burst[0]
    dark, bright = (refine_burst_psfs(scale * frames, rough).psfs for scale in (0.25, 1))
    np.testing.assert_allclose(dark, bright, atol=2e-4)


def test_the_common_centre_is_in_the_middle(burst, rough):
    frames, _, _ = burst
    place = np.arange(SIDE) - SIDE // 2
    found = refine_burst_psfs(frames, np.roll(rough, 1, axis=1)).psfs
    assert (found.sum(axis=2) @ place).mean() == pytest.approx(0, abs=0.3)


def test_frames_without_noise_give_finite_psfs(burst, rough):
    _, truth, true = burst
    frames = convolve(np.repeat(truth[None], COUNT, axis=0), true, border="valid")
    found = refine_burst_psfs(frames, rough).psfs
    assert np.isfinite(found).all()
    assert psf_error(found, true).mean() < 0.4 * psf_error(rough, true).mean()


def test_frames_without_anything_to_see_leave_the_psfs_as_they_are(burst):
    psfs = burst[2]
    flat = np.full((COUNT, 100, 100), 0.3, dtype=np.float32)
    np.testing.assert_array_equal(refine_burst_psfs(flat, psfs).psfs, psfs)
    noise = flat + 0.01 * np.random.default_rng(0).standard_normal(flat.shape, dtype=np.float32)
    assert psf_error(refine_burst_psfs(noise, psfs).psfs, psfs).max() < 0.1


def test_psfs_on_a_finer_grid_spread_as_much_wider(burst):
    true = burst[2]
    finer = resized_psfs(true, 2**0.5)
    assert finer.shape == (COUNT, 23, 23)
    np.testing.assert_allclose(finer.sum(axis=(1, 2)), 1, atol=1e-5)
    assert spread(finer) == pytest.approx(2**0.5 * spread(true), rel=0.05)
    np.testing.assert_allclose(resized_psfs(finer, 1, 31)[:, 4:-4, 4:-4], finer, atol=1e-6)


def test_a_stranger_of_weight_0_harms_no_other_frame(burst, rough):
    frames, _, true = burst
    strange = frames.copy()
    strange[3] = frames[3, ::-1, ::-1]  # another scene
    errors = {}
    for weight in (0, 1):
        weights = np.where(np.arange(COUNT) == 3, weight, 1).astype(np.float32)
        given = weights.copy()
        found = refine_burst_psfs(strange, rough, weights=weights)
        np.testing.assert_array_equal(weights, given)
        assert np.isfinite(found.psfs).all() and found.weights[3] < 0.01
        errors[weight] = psf_error(np.delete(found.psfs, 3, axis=0), np.delete(true, 3, axis=0)).mean()
    assert errors[0] < 0.4 * errors[1]
