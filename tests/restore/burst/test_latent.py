"""The sharp picture of a burst with known PSFs."""

import numpy as np
import pytest
import skimage.data

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr
from deconvnet.restore.burst.latent import BurstSpectra, sharp_picture, trimmed
from deconvnet.restore.burst.pyramid import WindowPsfs

COUNT, SUPPORT, SIDE = 5, 13, 200


@pytest.fixture(scope="module")
def burst():
    """Frames, truth and true PSFs of a burst of part of a photograph."""
    rng = np.random.default_rng(0)
    sharp = skimage.data.camera()[80:, 80:].astype(np.float32)[: SIDE + SUPPORT - 1, : SIDE + SUPPORT - 1] / 255
    psfs = sample_gp_psfs(rng, COUNT, SUPPORT)
    frames = convolve(np.repeat(sharp[None], COUNT, axis=0), psfs, border="valid")
    frames += 0.01 * rng.standard_normal(frames.shape, dtype=np.float32)
    return frames, sharp[SUPPORT // 2 : -(SUPPORT // 2), SUPPORT // 2 : -(SUPPORT // 2)], psfs


def _in_windows(psfs, rows, columns, weights=None):
    """The same PSFs everywhere, in a grid of windows."""
    grid = (rows, columns)
    middles = tuple((np.arange(n) + 0.5) * SIDE / n for n in grid)
    weights = np.ones(COUNT) if weights is None else weights
    return WindowPsfs(
        np.broadcast_to(psfs, (*grid, *psfs.shape)),
        np.broadcast_to(weights, (*grid, len(weights))).astype(np.float32),
        middles,
    )


def test_true_psfs_give_the_truth_nearly(burst):
    frames, truth, psfs = burst
    assert psnr(sharp_picture(frames, _in_windows(psfs, 1, 1)), truth) > 31
    assert psnr(frames.mean(axis=0), truth) < 26


def test_windows_join_without_seams(burst):
    frames, _, psfs = burst
    one, many = (sharp_picture(frames, _in_windows(psfs, n, n)) for n in (1, 3))
    assert np.abs(one - many)[8:-8, 8:-8].max() < 0.03


def test_the_scale_of_the_values_does_not_matter(burst):
    frames, _, psfs = burst
    bright, dark = (
        sharp_picture(scale * frames, _in_windows(psfs, 1, 1)) for scale in (np.float32(1), np.float32(0.25))
    )
    np.testing.assert_allclose(0.25 * bright, dark, atol=1e-6)


def test_a_frame_that_shows_something_else_counts_less(burst, monkeypatch):
    frames, truth, psfs = burst
    spoilt = frames.copy()
    spoilt[2] = np.random.default_rng(1).random(frames.shape[1:])
    windows = _in_windows(psfs, 1, 1)
    found = sharp_picture(spoilt, windows, extent=1.0)
    monkeypatch.setattr(BurstSpectra, "trust", lambda *_: None)
    assert psnr(found, truth) > psnr(sharp_picture(spoilt, windows, extent=1.0), truth) + 3


def test_frames_that_show_nothing_are_averaged():
    frames = np.full((COUNT, 70, 80), 0.25, np.float32)
    psfs = np.full((COUNT, 3, 3), 1 / 9, np.float32)
    np.testing.assert_allclose(sharp_picture(frames, _in_windows(psfs, 1, 1)), 0.25)


def test_sums_are_those_of_the_definition(burst):
    frames, _, psfs = burst
    spectra = BurstSpectra(frames, SUPPORT)
    weights = np.linspace(0, 1, COUNT).astype(np.float32)
    spectra.weigh(weights)
    grid = np.zeros((COUNT, *spectra.grid))
    grid[:, :SUPPORT, :SUPPORT] = psfs
    otf = np.fft.rfft2(np.roll(grid, (-(SUPPORT // 2),) * 2, axis=(1, 2)))
    data, power = spectra.sums(psfs)
    expected = (weights[:, None, None] * otf.conj() * spectra.y_hat).sum(axis=0)
    assert np.abs(data - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(power, (weights[:, None, None] * abs(otf) ** 2).sum(axis=0), atol=1e-4)


def test_psfs_lose_only_the_border_that_all_of_them_leave_empty():
    psfs = np.zeros((2, 7, 7), np.float32)
    psfs[0, 3, 3] = psfs[1, 3, 5] = 1
    assert trimmed(psfs).shape == (2, 5, 5)
    psfs[1] = 0
    assert trimmed(psfs).shape == (2, 3, 3)
