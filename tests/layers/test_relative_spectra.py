"""Windowed spectra against full FFTs, and what the relative spectra must and must not see."""

import numpy as np
import pytest

from deconvnet.backend import to_device, to_host
from deconvnet.kernels.burst.window_spectra import window_spectra
from deconvnet.layers.relative_spectra import PsfConsistency, RelativeSpectra, psf_consistency
from deconvnet.ops.window import hann
from deconvnet.testing import gradcheck


@pytest.mark.parametrize(("window", "steps", "reach"), [(17, (0, 8, 16), 5), (15, (0, 5), 7)])
def test_spectra_of_windows_equal_full_ffts_about_their_middle(rng, device, window, steps, reach):
    side = window + steps[-1]
    x = rng.standard_normal((2, 3, side, side))
    found = to_host(window_spectra(to_device(x, device), tuple(hann(window).tolist()), steps, reach))
    assert np.allclose(found, _by_full_ffts(x, steps, window, reach), rtol=0, atol=1e-10)


def _by_full_ffts(frames, offsets, window, reach):
    """Spectra (B, N, W, F) of the windows about their middles, by whole FFTs of each."""
    zy, zx = np.mgrid[-reach : reach + 1, 0 : reach + 1]
    keep = (zx > 0) | (zy > 0)
    frames = frames - frames.mean(axis=(-2, -1), keepdims=True)
    spectra = []
    for top in offsets:
        for left in offsets:
            faded = frames[..., top : top + window, left : left + window] * np.outer(hann(window), hann(window))
            full = np.fft.fft2(np.roll(faded, (-(window // 2), -(window // 2)), axis=(-2, -1)))
            spectra.append(full[..., zy[keep], zx[keep]])
    return np.stack(spectra, axis=2)


def _features(frames):
    layer = RelativeSpectra(17, (0, 8, 16), 5, dtype=np.float64)
    return layer.forward(frames)[0], layer


def test_features_are_the_published_ratios_and_log_powers(rng):
    frames = rng.random((2, 4, 33, 33))
    frames[0, 2] *= 30  # its ratio is so large that it is clipped
    features, layer = _features(frames)
    size = layer.frequencies
    spectra = _by_full_ffts(frames, (0, 8, 16), 17, 5)
    mean = spectra.mean(axis=1)
    power, mean_power = (abs(spectra) ** 2).sum(axis=2), (abs(mean) ** 2).sum(axis=1)
    floor = 0.02 * mean_power.mean(axis=-1) + 1e-3
    ratio = (spectra * mean.conj()[:, None]).sum(axis=2) / (mean_power + floor[:, None])[:, None]
    clipped = np.clip(ratio.real, -4, 4) + 1j * np.clip(ratio.imag, -4, 4)
    assert abs(ratio).max() > 4
    assert np.allclose(layer.ratio(features), clipped, atol=1e-9)
    assert np.allclose(features[..., 2 * size : 3 * size], np.log(power + 1e-3), atol=1e-9)
    assert np.allclose(features[..., 3 * size :], np.log(mean_power + 1e-3)[:, None], atol=1e-9)


def test_equal_frames_have_a_real_ratio_near_one(rng):
    frame = rng.random((1, 1, 33, 33))
    features, layer = _features(np.repeat(frame, 4, axis=1))
    ratio = features[..., : 2 * layer.frequencies].reshape(4, 2, -1)
    assert np.abs(ratio[:, 1]).max() < 1e-9
    assert 0.3 < np.median(ratio[:, 0]) < 1.01


def test_features_do_not_see_brightness_and_follow_the_frames_order(rng):
    frames = rng.random((2, 5, 33, 33))
    features, _ = _features(frames)
    brighter, _ = _features(frames + 0.2)
    assert np.allclose(features, brighter, atol=1e-9)
    order = rng.permutation(5)
    permuted, _ = _features(frames[:, order])
    assert np.allclose(features[:, order], permuted, atol=1e-9)


def test_fit_centres_the_log_powers(rng):
    frames = rng.random((8, 3, 33, 33))
    layer = RelativeSpectra(17, (0, 8, 16), 5, dtype=np.float64)
    layer.fit(frames)
    features, _ = layer.forward(frames)
    size = layer.frequencies
    log_power = features[..., 2 * size : 3 * size].reshape(-1, size)
    assert np.allclose(log_power.mean(axis=0), 0, atol=1e-9)
    assert log_power.std() == pytest.approx(1)


def test_consistency_gradient(rng, device):
    ratio = rng.standard_normal((2, 3, 40)) + 1j * rng.standard_normal((2, 3, 40))
    inputs = [to_device(a, device) for a in (rng.random((2, 3, 5, 5)), ratio)]
    gradcheck(PsfConsistency(17, 4), *inputs, rng=rng, differentiable=[True, False])


def test_true_psfs_explain_the_ratios(rng):
    psfs = rng.random((1, 4, 5, 5))
    psfs /= psfs.sum(axis=(-2, -1), keepdims=True)
    scene = rng.standard_normal((17, 17))
    otf = np.fft.fft2(psfs, s=(17, 17)) * np.exp(2j * np.pi * 2 * np.add.outer(np.arange(17), np.arange(17)) / 17)
    zy, zx = np.mgrid[-4:5, 0:5]
    keep = (zx > 0) | (zy > 0)
    seen = (otf * np.fft.fft2(scene))[..., zy[keep], zx[keep]]
    ratio = seen / seen.mean(axis=1, keepdims=True)
    assert np.abs(psf_consistency(psfs, ratio, 17, 4)).max() < 1e-10
    assert np.abs(psf_consistency(psfs[:, ::-1], ratio, 17, 4)).max() > 0.01
