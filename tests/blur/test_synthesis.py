"""Training bursts."""

from dataclasses import replace

import numpy as np
import pytest

from deconvnet import parallel
from deconvnet.backend import to_host
from deconvnet.blur.camera import linear_to_srgb, srgb_to_linear
from deconvnet.blur.convolve import convolve
from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.blur.psf import Shake
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.errors import DeconvnetError

PRESETS = {"plain": BurstSettings.plain, "camera": BurstSettings.camera}


@pytest.fixture(scope="module")
def photographs():
    return [dead_leaves(np.random.default_rng(seed), size) for seed, size in ((0, 200), (1, 150))]


@pytest.fixture(scope="module")
def shake():
    angles = np.cumsum(np.random.default_rng(0).standard_normal((2000, 3)), axis=0) * 1e-3
    return Shake(angles, np.array([0, 1200, 2000]))


@pytest.mark.parametrize("preset", PRESETS)
def test_batches_have_their_shapes_and_ranges(photographs, shake, device, preset):
    settings = PRESETS[preset](psf_size=9, crop=33)
    made = BurstSynthesizer(photographs, settings, shake).batch(np.random.default_rng(0), 5, 3, device=device)
    assert made.frames.shape == (5, 3, 33, 33) and made.sharp.shape == (5, 33, 33) and made.psfs.shape == (5, 3, 9, 9)
    assert all(a.dtype == np.float32 for a in made)
    frames, sharp, psfs = (to_host(a) for a in made)
    assert sharp.min() >= 0 and sharp.max() <= 1
    if settings.clip:
        assert frames.min() >= 0 and frames.max() <= 1
    np.testing.assert_allclose(psfs.sum((2, 3)), 1, atol=2e-6)
    assert sharp.std((1, 2)).min() > 0.02  # not one flat crop


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(photographs, shake, preset):
    synthesizer = BurstSynthesizer(photographs, PRESETS[preset](psf_size=9, crop=33), shake)
    runs = []
    for count in (3, 1):
        with parallel.threads(count):
            runs.append(synthesizer.batch(np.random.default_rng(7), 6, 3))
    for first, second in zip(*runs):
        np.testing.assert_array_equal(first, second)
    other = synthesizer.batch(np.random.default_rng(8), 6, 3)
    assert not np.array_equal(other.frames, runs[0].frames)


@pytest.mark.parametrize("linear", [False, True])
def test_noiseless_frames_are_the_truth_convolved_with_the_psfs(photographs, linear):
    settings = replace(
        BurstSettings.plain(psf_size=9, crop=61, noise=0.0), linear=linear, clip=linear, shift=0.5, supports=(7, 3)
    )
    made = BurstSynthesizer(photographs, settings).batch(np.random.default_rng(3), 4, 3)
    light = srgb_to_linear(made.sharp) if linear else made.sharp
    blurred = convolve(light[:, None], made.psfs)
    expected = linear_to_srgb(np.maximum(blurred, 0)) if linear else blurred
    np.testing.assert_allclose(made.frames[..., 4:-4, 4:-4], expected, atol=2e-5)


def test_bursts_without_shake_show_the_truth(photographs):
    settings = replace(
        BurstSettings.camera(psf_size=9, crop=61), sharp_burst=1.0, gain=0.0, noise=(0.002, 0.002), jpeg=0.0
    )
    made = BurstSynthesizer(photographs, settings).batch(np.random.default_rng(4), 8, 4)
    error = ((made.frames - made.sharp[:, None]) ** 2).mean((2, 3))
    assert -10 * np.log10(error.max()) > 28  # shifts of up to 0.05 px over hard edges, and noise
    assert -10 * np.log10(np.median(error)) > 33


def test_exposure_clips_highlights_in_frames_and_truth(photographs):
    settings = replace(BurstSettings.camera(psf_size=9, crop=61), exposed=1.0, exposure=(4.0, 4.0))
    made = BurstSynthesizer(photographs, settings).batch(np.random.default_rng(4), 8, 2)
    assert (made.sharp == 1).mean() > 0.2 and (made.frames == 1).mean() > 0.05


def test_strength_of_shake_varies_from_none_to_the_whole_grid(photographs, shake):
    synthesizer = BurstSynthesizer(photographs, BurstSettings.camera(psf_size=25, crop=33), shake)
    psfs, still = synthesizer.psfs(np.random.default_rng(0), 200, 4)
    offset = np.arange(25) - 12
    spread = (psfs * (offset[:, None] ** 2 + offset**2)).sum((2, 3)) ** 0.5
    assert 0.02 < still.mean() < 0.2
    assert spread[still].max() < 0.4
    assert (spread < 1).mean() > 0.3 and (spread > 4).mean() > 0.04
    shaken = spread[~still]
    assert (shaken.max(1) / np.maximum(shaken.min(1), 0.1) > 1.5).mean() > 0.5


def test_plain_draws_both_supports_of_the_papers(photographs):
    synthesizer = BurstSynthesizer(photographs, BurstSettings.plain(psf_size=17, crop=33))
    psfs, _ = synthesizer.psfs(np.random.default_rng(0), 100, 3)
    small = psfs[:, :, 4:13, 4:13].sum((1, 2, 3)) > 2.9999
    assert 0.3 < small.mean() < 0.75


def test_too_small_photographs_are_refused_in_one_line():
    with pytest.raises(DeconvnetError, match="none of the 1 photographs"):
        BurstSynthesizer([np.zeros((50, 50), np.uint8)], BurstSettings.plain())
