"""Frames that do not belong to a burst do not spoil it."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import rotate

import deconvnet
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psnr
from deconvnet.restore.burst.belonging import belonging
from deconvnet.restore.burst.deblur import deblur_burst

INSIDE = (slice(16, -16),) * 2


@pytest.fixture(scope="module")
def network():
    """The network that ships."""
    return deconvnet.load_model("burst")


@pytest.fixture(scope="module")
def burst():
    """Nine frames of part of a photograph, and the truth."""
    rng = np.random.default_rng(4)
    sharp = skimage.data.camera()[60:276, 100:316].astype(np.float32) / 255
    frames = convolve(np.repeat(sharp[None], 9, axis=0), sample_gp_psfs(rng, 9, 9), border="valid")
    frames += 0.01 * rng.standard_normal(frames.shape, dtype=np.float32)
    return list(np.clip(frames, 0, 1)), sharp[4:-4, 4:-4]


def _turned(frame):
    return np.clip(rotate(frame, 2, reshape=False, mode="reflect"), 0, 1).astype(np.float32)


def _something_else(frame):
    return skimage.data.coins()[: frame.shape[0], : frame.shape[1]].astype(np.float32) / 255


@pytest.mark.parametrize("spoil", [_something_else, np.zeros_like, _turned])
@pytest.mark.filterwarnings("ignore:frame 9 is left out")
def test_a_frame_that_does_not_belong_changes_nothing(network, burst, spoil):
    frames, truth = burst
    without, spoilt = (
        deblur_burst(given, model=network, register="none")
        for given in (frames[:-1], [*frames[:-1], spoil(frames[-1])])
    )
    assert psnr(spoilt[INSIDE], truth[INSIDE]) > psnr(without[INSIDE], truth[INSIDE]) - 0.3


@pytest.mark.filterwarnings("ignore:frame 9 is left out")
def test_other_exposures_do_no_harm(network, burst):
    frames, truth = burst
    exposed = [*frames[:-2], 0.6 * frames[-2], np.clip(1.4 * frames[-1], 0, 1)]
    without, spoilt = (deblur_burst(given, model=network, register="none") for given in (frames[:-2], exposed))
    assert psnr(spoilt[INSIDE], truth[INSIDE]) > psnr(without[INSIDE], truth[INSIDE]) - 0.3


def test_strangers_are_left_out_and_exposures_evened(burst):
    frames, _ = burst
    with pytest.warns(UserWarning, match="frame 2 is left out: it shows something else"):
        kept = belonging([frames[0], np.zeros_like(frames[0]), *frames[2:8], 0.5 * frames[8]])
    assert len(kept) == 8
    np.testing.assert_array_equal(kept[0], frames[0])
    np.testing.assert_allclose(kept[-1], frames[8], rtol=0.04)


def test_a_frame_that_lost_its_light_is_left_out(burst):
    frames, _ = burst
    with pytest.warns(UserWarning, match="frame 1 is left out: it is too bright"):
        assert len(belonging([np.clip(2 * frames[0], 0, 1), *frames[1:]])) == 8


def test_colour_frames_are_judged_alike(burst):
    frames, _ = burst
    tint = np.array([1.0, 0.8, 0.6], np.float32)
    coloured = [frame[..., None] * tint for frame in frames]
    with pytest.warns(UserWarning, match="frame 3 is left out"):
        kept = belonging([*coloured[:2], np.zeros_like(coloured[0]), *coloured[3:]])
    assert len(kept) == 8 and kept[0].shape == coloured[0].shape


def test_two_frames_are_kept_whatever_they_show(burst):
    frames, _ = burst
    assert len(belonging([frames[0], _something_else(frames[0])])) == 2
    with pytest.raises(DeconvnetError, match="two frames"):
        belonging(frames[:1])
