"""The network that ships, on a photograph it has never seen: what a user must be able to rely on."""

import numpy as np
import pytest
from skimage import data

from deconvnet import deblur_burst
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr
from deconvnet.networks.io import load_network


@pytest.fixture(scope="module")
def network():
    return load_network("burst", kind="burst")


def _restore(network, support, count):
    """PSNR of the restored picture, the best frame and the mean."""
    rng = np.random.default_rng(3)
    sharp = data.camera()[60:240, 90:270].astype(np.float32) / 255
    psfs = sample_gp_psfs(rng, count, support) if support > 1 else np.ones((count, 1, 1), dtype=np.float32)
    frames = convolve(np.repeat(sharp[None], count, axis=0), psfs, border="valid")
    frames = np.clip(frames + 0.01 * rng.standard_normal(frames.shape, dtype=np.float32), 0, 1)
    margin = psfs.shape[-1] // 2
    truth = sharp[margin : margin + frames.shape[1], margin : margin + frames.shape[2]]
    picture = deblur_burst(list(frames), model=network, register="none", device="cpu")
    each = psnr(frames, np.broadcast_to(truth, frames.shape), border=16, batch=True)
    return psnr(picture, truth, border=16), max(each), psnr(frames.mean(axis=0), truth, border=16)


@pytest.mark.parametrize(("support", "gain"), [(3, 3.0), (7, 3.0), (17, 3.0)])
def test_blurred_bursts_gain_over_the_best_frame(network, support, gain):
    restored, best, mean = _restore(network, support, 8)
    assert restored > max(best, mean) + gain


@pytest.mark.parametrize("count", [2, 20])
def test_any_number_of_frames_gains(network, count):
    restored, best, mean = _restore(network, 9, count)
    assert restored > max(best, mean) + 1.0


def test_a_sharp_burst_comes_out_unharmed(network):
    assert _restore(network, 1, 8)[0] >= 38.0
