"""The PSF of a photo without learned weights: what it finds and what it mends."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psf_error
from deconvnet.restore.photo.refine import fit_cost, refine_psf

SIZE = 13


def delta(side):
    psf = np.zeros((side, side), np.float32)
    psf[side // 2, side // 2] = 1
    return psf


def shake(seed, side=SIZE):
    return sample_gp_psfs(np.random.default_rng(seed), 1, side)[0]


def disturbed(psf, rng, share=0.7):
    """The PSF with noise of this share of its norm, clipped."""
    noisy = psf + share * np.linalg.norm(psf) / len(psf) * rng.standard_normal(psf.shape)
    noisy = np.maximum(noisy, 0).astype(np.float32)
    return noisy / noisy.sum()


@pytest.fixture(scope="module")
def psf():
    return shake(1)


@pytest.fixture(scope="module")
def sharp(camera):
    return camera.astype(np.float32)[6:-6, 6:-6]


@pytest.fixture(scope="module")
def blurry(camera, psf):
    rng = np.random.default_rng(2)
    y = convolve(camera.astype(np.float32), psf)
    return np.clip(y + 0.005 * rng.standard_normal(y.shape), 0, 1).astype(np.float32)


def test_refining_mends_a_disturbed_psf(blurry, psf, device):
    start = disturbed(psf, np.random.default_rng(3))
    before = psf_error(start, psf)
    refined = to_host(refine_psf(to_device(blurry, device), to_device(start, device)))
    assert refined.shape == psf.shape
    assert refined.sum() == pytest.approx(1, abs=1e-5)
    assert psf_error(refined, psf) < 0.6 * before


def test_the_cost_prefers_the_true_psf(blurry, psf, device):
    rng = np.random.default_rng(5)
    others = [delta(SIZE), disturbed(psf, rng), shake(8), gaussian_filter(delta(SIZE), 2.5), psf[4:9, 4:9] + 1e-3]
    image = to_device(blurry, device)
    costs = [fit_cost(image, to_device(np.ascontiguousarray(k), device)) for k in (psf, *others)]
    assert np.argmin(costs) == 0


def test_a_bad_psf_is_refused(blurry):
    with pytest.raises(DeconvnetError, match="square"):
        refine_psf(blurry, np.ones((5, 7), np.float32))
    with pytest.raises(DeconvnetError, match="only zeros"):
        refine_psf(blurry, np.zeros((7, 7), np.float32))
