"""Patch assembly: every pixel, every picture size, PSFs interpolated between their places."""

import numpy as np
import pytest

from deconvnet import parallel
from deconvnet.networks.burst_filter import FilterBurst
from deconvnet.networks.burst_quotient import QuotientBurst
from deconvnet.restore.burst.patches import restore_frames
from deconvnet.restore.burst.places import patch_places, window_sum


class Passing:
    """A network that predicts the mean of the frames, so that restoring must give exactly that."""

    centre, patch, surround = 33, 65, 65

    def restore(self, frames):
        assert frames.shape[1:] == (self.frames, 65, 65)
        return frames.mean(axis=1)[:, 16:49, 16:49]


class PassingPsfs:
    """The same, but with "PSFs" that tell where they were estimated."""

    centre, patch, surround = 33, 65, 129

    def estimate_psfs(self, surrounds):
        # The pixel in the middle of the surround is that in the middle of the patch.
        place = surrounds[:, :, 64, 64]
        psfs = np.zeros((*place.shape, 3, 3), dtype=np.float32)
        psfs[..., 1, 1] = place
        return psfs, np.zeros((len(surrounds), 2), dtype=np.float32), None

    def deconvolve(self, patches, psfs, adaptation):
        assert adaptation.shape == (len(patches), 2)
        return np.broadcast_to(psfs[:, 0, 1, 1][:, None, None], (len(patches), 33, 33))


@pytest.mark.parametrize("length", [65, 66, 70, 131])
@pytest.mark.parametrize("stride", [1, 5, 16])
def test_places_reach_over_both_borders(length, stride):
    places = patch_places(length, 33, stride)
    assert places[0] <= -16
    assert places[-1] + 33 >= length + 16
    assert (np.diff(places) == stride).all()


@pytest.mark.parametrize("shape", [(65, 65), (65, 130), (71, 90)])
@pytest.mark.parametrize("stride", [5, 16])
def test_a_network_that_changes_nothing_gives_the_picture_back(rng, shape, stride):
    frames = rng.random((3, *shape), dtype=np.float32)
    network = Passing()
    network.frames = 3
    picture, psfs = restore_frames(network, frames, stride=stride)
    assert picture.dtype == np.float32
    assert psfs is None
    assert np.allclose(picture, frames.mean(axis=0), atol=1e-6)


def test_psfs_are_interpolated_where_the_patches_are():
    y, x = np.mgrid[:150, :170]
    frame = (0.2 + 0.002 * y + 0.001 * x).astype(np.float32)
    picture, psfs = restore_frames(PassingPsfs(), np.stack([frame, frame]), psf_smoothing=0, refine=False)
    assert psfs.shape[2:] == (2, 3, 3)
    inside = (slice(40, -40), slice(40, -40))
    assert np.abs(picture - frame)[inside].max() < 0.01


def test_smoothing_over_places_removes_an_outlier():
    frame = np.full((150, 150), 0.5, dtype=np.float32)
    frame[75, 75] = 5.0
    frames, places = np.stack([frame, frame]), {"stride": 5, "psf_step": 5, "refine": False}  # one is the outlier
    rough, _ = restore_frames(PassingPsfs(), frames, psf_smoothing=0, **places)
    smooth, _ = restore_frames(PassingPsfs(), frames, psf_smoothing=2, **places)
    assert np.ptp(smooth) < np.ptp(rough)


def test_averaged_psfs_are_the_mean_over_neighbouring_places(rng):
    frame = rng.random((150, 150), dtype=np.float32)
    frames = np.stack([frame, frame])
    _, each = restore_frames(PassingPsfs(), frames, stride=15, psf_step=15, psf_smoothing=0, refine=False)
    _, mean = restore_frames(PassingPsfs(), frames, stride=15, psf_step=15, psf_smoothing=1, refine=False)
    assert each.shape == mean.shape == (11, 11, 2, 3, 3)
    assert np.allclose(mean[4, 5], each[3:6, 4:7].mean(axis=(0, 1)), atol=1e-6)
    assert np.allclose(mean[0, 5], (2 * each[0, 4:7] + each[1, 4:7]).mean(axis=0) / 3, atol=1e-6)


def test_the_result_does_not_depend_on_how_patches_are_chunked(rng, monkeypatch):
    network = QuotientBurst(widths=(8,), refinement_width=8, rng=rng)
    frames = rng.random((2, 80, 70), dtype=np.float32)
    whole, _ = restore_frames(network, frames, stride=11, refine=False)
    monkeypatch.setattr("deconvnet.restore.burst.places.CHUNK_FRAMES", 6)
    parts, _ = restore_frames(network, frames, stride=11, refine=False)
    assert np.allclose(whole, parts, atol=1e-5)


def test_any_number_of_threads_gives_the_same_bits(rng):
    network = QuotientBurst(widths=(8,), refinement_width=8, rng=rng)
    frames = rng.random((3, 110, 230), dtype=np.float32)  # two windows, several bands of patches
    for refine in (False, True):
        found = []
        for count in (1, 3):
            with parallel.threads(count):
                found.append(restore_frames(network, frames, stride=11, refine=refine))
        (one, psfs), (three, other_psfs) = found
        assert np.array_equal(one, three) and np.array_equal(psfs, other_psfs)


def test_a_network_for_a_fixed_number_of_frames_takes_fewer_and_more(rng):
    network = FilterBurst("paper", frames=4, w1=4, w2=4, g=4, layers=1, hidden=4, rng=rng)
    for count in (2, 4, 6):
        picture, _ = restore_frames(network, rng.random((count, 65, 70), dtype=np.float32), stride=16)
        assert picture.shape == (65, 70)
        assert np.isfinite(picture).all()


def test_window_sum_counts_every_copy(rng):
    profile = rng.random(3)
    expected = np.zeros(7)
    expected[1:4] += profile
    expected[3:6] += profile
    assert np.allclose(window_sum([1, 3], profile, 7), expected)
