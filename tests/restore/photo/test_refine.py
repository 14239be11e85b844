"""The PSF of a photo without learned weights: what it finds and what it mends."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deconvnet import parallel
from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psf_error, psnr
from deconvnet.restore.deconvolve.solvers import deconvolve
from deconvnet.restore.photo.refine import candidate_psfs, estimate_psf_sparse, fit_cost, refine_psf

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


def test_from_nothing_it_finds_a_psf_nearly_as_good_as_the_true_one(blurry, sharp, psf, device):
    found = to_host(estimate_psf_sparse(to_device(blurry, device), 17))
    assert found.shape == (17, 17)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1, abs=1e-5)
    moved = found.sum(axis=1) @ np.arange(17) - 8, found.sum(axis=0) @ np.arange(17) - 8
    assert max(map(abs, moved)) <= 0.51
    known = psnr(deconvolve(blurry, psf, psf_error=0.01), sharp, border=20)
    best = max(
        psnr(np.roll(deconvolve(blurry, found, psf_error=0.01), (down, across), axis=(0, 1)), sharp, border=20)
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    )
    assert best > known - 1.5
    assert best > psnr(blurry, sharp, border=20) + 3


def test_brightness_and_contrast_do_not_change_the_estimate(blurry):
    found = estimate_psf_sparse(blurry.astype(np.float64), SIZE, l0_weights=(0.02,))
    duller = estimate_psf_sparse(0.25 * blurry.astype(np.float64) + 0.5, SIZE, l0_weights=(0.02,))
    assert found.dtype == np.float64
    np.testing.assert_allclose(duller, found, atol=1e-6)


def test_of_several_l0_weights_the_psf_with_the_least_cost_is_taken(blurry):
    weights = (0.003, 0.02, 0.3)
    each = [estimate_psf_sparse(blurry, SIZE, l0_weights=(weight,), iterations=2) for weight in weights]
    together = estimate_psf_sparse(blurry, SIZE, l0_weights=weights, iterations=2)
    best = int(np.argmin([fit_cost(blurry, psf) for psf in each]))
    np.testing.assert_array_equal(together, each[best])


def test_any_number_of_threads_finds_the_same_psfs(blurry, psf):
    part, start = blurry[:100, :110], disturbed(psf, np.random.default_rng(4))
    found = []
    for count in (1, 3):
        with parallel.threads(count):
            found.append(candidate_psfs(part, [start], SIZE, iterations=1))
    assert len(found[0]) == 2
    for one, three in zip(*found):
        np.testing.assert_array_equal(one, three)


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


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((64, 64), 8, "odd"),
        ((64, 64), 1, "at least 3"),
        ((40, 64), 21, "larger image"),
        ((64, 64, 3), 9, "one channel"),
    ],
)
def test_what_cannot_be_used_is_refused(shape, size, words):
    image = np.random.default_rng(0).random(shape)
    with pytest.raises(DeconvnetError, match=words):
        estimate_psf_sparse(image, size)


def test_a_constant_image_and_a_bad_psf_are_refused(blurry):
    with pytest.raises(DeconvnetError, match="constant"):
        estimate_psf_sparse(np.full((64, 64), 0.5), 9)
    with pytest.raises(DeconvnetError, match="square"):
        refine_psf(blurry, np.ones((5, 7), np.float32))
    with pytest.raises(DeconvnetError, match="only zeros"):
        refine_psf(blurry, np.zeros((7, 7), np.float32))
