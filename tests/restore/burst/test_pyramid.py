"""PSFs from coarse to fine: shake of any size is found, and pictures become as good as with the true PSFs, nearly."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import zoom

import deconvnet
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr
from deconvnet.restore.burst import pyramid
from deconvnet.restore.burst.fba import fourier_burst_accumulation
from deconvnet.restore.burst.latent import sharp_picture
from deconvnet.restore.burst.patches import restore_frames
from deconvnet.restore.burst.pyramid import _small_enough, _with_room, window_growth, window_starts


@pytest.fixture(scope="module")
def network():
    """The network that ships."""
    return deconvnet.load_model("burst")


def _burst(support, count=6, side=224):
    """Frames and truth of a burst of part of a photograph that no network was trained on."""
    rng = np.random.default_rng(support)
    sharp = skimage.data.camera()[60:, 60:].astype(np.float32)[: side + support - 1, : side + support - 1] / 255
    psfs = sample_gp_psfs(rng, count, support) if support > 1 else np.ones((count, 1, 1), np.float32)
    frames = convolve(np.repeat(sharp[None], count, axis=0), psfs, border="valid")
    frames += 0.01 * rng.standard_normal(frames.shape, dtype=np.float32)
    reach = support // 2
    return frames, sharp[reach : reach + side, reach : reach + side]


@pytest.mark.parametrize("support, level", [(1, 0), (5, 0), (17, 2), (33, 3)])
def test_the_size_of_the_shake_is_found(network, support, level):
    found, wide = pyramid._start(network, _burst(support)[0], "cpu")
    assert abs(found - level) <= 1
    assert abs(wide - 0.21 * support) < 0.06 * support + 0.8


@pytest.mark.parametrize("support, gain", [(9, 6), (33, 4), pytest.param(49, 3, marks=pytest.mark.slow)])
def test_shake_of_any_size_is_undone(network, support, gain):
    frames, truth = _burst(support)
    inside = (slice(16, -16),) * 2
    picture, psfs = restore_frames(network, frames)
    assert psfs.shape[2] == len(frames) and psfs.shape[-1] % 2 == 1
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, atol=1e-4)
    accumulated = fourier_burst_accumulation(frames)
    assert psnr(picture[inside], truth[inside]) > psnr(accumulated[inside], truth[inside]) + gain


def test_pictures_that_are_soft_themselves_do_not_become_too_sharp(network):
    """An enlarged photograph with fine grain: edges are wider than the shake's detail, and PSFs must not become so."""
    rng = np.random.default_rng(3)
    sharp = zoom(skimage.data.camera()[90:220, 100:230] / 255, 2.6, order=3)
    sharp = np.clip(sharp * (1 + 0.05 * rng.standard_normal(sharp.shape)), 0, 1).astype(np.float32)
    true = sample_gp_psfs(rng, 8, 17)
    frames = convolve(np.repeat(sharp[None], 8, axis=0), true, border="valid")
    frames += 0.005 * rng.standard_normal(frames.shape, dtype=np.float32)
    truth = sharp[8:-8, 8:-8]
    found = pyramid.estimate_window_psfs(network, frames)
    known = np.broadcast_to(true, (*found.psfs.shape[:2], *true.shape))
    best = sharp_picture(frames, found._replace(psfs=known, weights=np.ones_like(found.weights)))
    inside = (slice(20, -20),) * 2
    assert psnr(sharp_picture(frames, found)[inside], truth[inside]) > psnr(best[inside], truth[inside]) - 4


def test_frames_without_shake_are_averaged(network):
    frames, truth = _burst(1)
    picture, _ = restore_frames(network, frames)
    assert psnr(picture, truth) > psnr(frames.mean(axis=0), truth) - 0.3


@pytest.mark.parametrize("length", [65, 256, 257, 500, 1000, 1400, 2000, 4001])
def test_windows_lie_over_all_of_a_picture_and_farther_apart_in_large_ones(length):
    growth = window_growth((length, 100))
    starts, side = window_starts(length, growth)
    assert starts[0] == 0 and starts[-1] + side == length
    assert side == min(length, 256)
    gaps = np.diff(starts)
    assert (gaps <= min(256, max(128, 0.128 * length)) + 1).all()  # rounded
    assert (gaps <= side).all()  # no pixel is outside all windows


def test_smaller_windows_must_explain_clearly_more():
    assert _small_enough([1.0, 0.97]) == 0
    assert _small_enough([1.0, 0.85]) == 1


def test_psfs_get_room_on_all_sides():
    psfs = np.zeros((2, 9, 9), np.float32)
    psfs[0, 4, 4] = psfs[1, 4, 7] = 1
    weights = np.ones(2, np.float32)
    wider = _with_room(psfs, weights, 99)
    assert wider.shape == (2, 13, 13)
    assert wider[1, 6, 9] == 1
    assert _with_room(psfs, weights, 9).shape == (2, 9, 9)


def test_the_psf_of_a_frame_that_is_not_believed_gets_no_room():
    psfs = np.zeros((2, 21, 21), np.float32)
    psfs[0, 10, 10] = psfs[1, 10, 18] = 1
    psfs[1, 10, 10] = 0.1
    assert _with_room(psfs, np.array([1, 0.01], np.float32), 99).shape == (2, 9, 9)
