"""The PSF of a photo without learned weights: what it finds, what it mends, and its two inner problems."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from deconvnet.backend import rfft2, to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.layers.psf import psf_to_otf
from deconvnet.restore.nonblind import deconvolve
from deconvnet.restore.refinement import (
    edge_gradients,
    estimate_psf_sparse,
    fit_score,
    psf_from_gradients,
    refine_psf,
)

SIZE = 13


def psnr(a, b, border=20):
    inside = (slice(border, -border),) * 2
    return float(-10 * np.log10(np.mean((np.clip(a, 0, 1) - b)[inside] ** 2)))


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


def relative_error(psf, true):
    return float(((psf - true) ** 2).sum() / (true**2).sum())


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
    known = psnr(deconvolve(blurry, psf, psf_error=0.01), sharp)
    best = max(
        psnr(np.roll(deconvolve(blurry, found, psf_error=0.01), (down, across), axis=(0, 1)), sharp)
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    )
    assert best > known - 1.5
    assert best > psnr(blurry, sharp) + 3


def test_brightness_and_contrast_do_not_change_the_estimate(blurry):
    found = estimate_psf_sparse(blurry.astype(np.float64), SIZE, prices=(0.02,))
    duller = estimate_psf_sparse(0.25 * blurry.astype(np.float64) + 0.5, SIZE, prices=(0.02,))
    assert found.dtype == np.float64
    np.testing.assert_allclose(duller, found, atol=1e-6)


def test_of_several_prices_the_psf_with_the_best_score_is_taken(blurry):
    prices = (0.003, 0.02, 0.3)
    each = [estimate_psf_sparse(blurry, SIZE, prices=(price,), iterations=2) for price in prices]
    together = estimate_psf_sparse(blurry, SIZE, prices=prices, iterations=2)
    best = int(np.argmin([fit_score(blurry, psf) for psf in each]))
    np.testing.assert_array_equal(together, each[best])


def test_refining_mends_a_disturbed_psf(blurry, psf, device):
    start = disturbed(psf, np.random.default_rng(3))
    before = relative_error(start, psf)
    refined = to_host(refine_psf(to_device(blurry, device), to_device(start, device)))
    assert refined.shape == psf.shape
    assert refined.sum() == pytest.approx(1, abs=1e-5)
    assert relative_error(refined, psf) < 0.6 * before


def test_the_score_prefers_the_true_psf(blurry, psf, device):
    rng = np.random.default_rng(5)
    others = [delta(SIZE), disturbed(psf, rng), shake(8), gaussian_filter(delta(SIZE), 2.5), psf[4:9, 4:9] + 1e-3]
    image = to_device(blurry, device)
    scores = [fit_score(image, to_device(np.ascontiguousarray(k), device)) for k in (psf, *others)]
    assert np.argmin(scores) == 0


def test_sparse_gradients_are_those_of_the_flat_picture_behind_noise():
    flat = np.zeros((32, 40))
    flat[8:20, 10:30] = 0.6
    noisy = flat + 0.01 * np.random.default_rng(0).standard_normal(flat.shape)
    otf = psf_to_otf(delta(5)[None].astype(np.float64), flat.shape)[0]
    found = edge_gradients(rfft2(noisy), otf, 0.02, flat.shape)
    true = np.stack([np.roll(flat, -1, axis=0) - flat, np.roll(flat, -1, axis=1) - flat])
    np.testing.assert_array_equal(found.any(axis=0), true.any(axis=0))
    np.testing.assert_allclose(found, true, atol=0.05)


def test_a_high_price_leaves_noise_without_edges_and_a_low_one_does_not():
    noise = 0.01 * np.random.default_rng(0).standard_normal((32, 40))
    otf = psf_to_otf(delta(5)[None].astype(np.float64), noise.shape)[0]
    assert not edge_gradients(rfft2(noise), otf, 0.02, noise.shape).any()
    assert edge_gradients(rfft2(noise), otf, 1e-6, noise.shape).any(axis=0).mean() > 0.9


def test_the_psf_of_gradients_is_the_non_negative_least_squares_solution(device):
    rng = np.random.default_rng(6)
    x, y, side, beta = rng.standard_normal((2, 12, 14)), rng.standard_normal((2, 12, 14)), 5, 3.0
    place = np.arange(side) - side // 2
    columns = [np.roll(x, (i, j), axis=(-2, -1)).ravel() for i in place for j in place]
    matrix = np.concatenate([np.stack(columns, axis=1), np.sqrt(beta) * np.eye(side**2)])
    expected, _ = nnls(matrix, np.concatenate([y.ravel(), np.zeros(side**2)]))
    start = np.full((side, side), 1 / side**2)
    found = to_host(psf_from_gradients(*(to_device(a, device) for a in (x, y, start)), beta, 600))
    np.testing.assert_allclose(found, expected.reshape(side, side), atol=1e-8)
    assert (expected == 0).any()  # so that the constraint matters


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
