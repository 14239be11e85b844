"""Scores of pictures and PSFs: against their definitions, scikit-image's, and cases with a known answer."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deconvnet.backend import to_device, to_host
from deconvnet.metrics import MOST_DECIBELS, aligned_psf_error, error_ratio, psf_error, psnr, squared_difference, ssim


def test_an_error_of_a_tenth_everywhere_is_twenty_decibels(device):
    truth = np.full((6, 8), 0.5, np.float32)
    assert psnr(to_device(truth + np.float32(0.1), device), to_device(truth, device)) == pytest.approx(20, abs=1e-4)
    assert psnr(255 * (truth + 0.1), 255 * truth, peak=255) == pytest.approx(20, abs=1e-4)


def test_psnr_and_ssim_are_scikit_images(rng):
    picture, truth = rng.random((2, 30, 40, 3))
    inside = (slice(4, -4), slice(4, -4))
    known = peak_signal_noise_ratio(truth[inside], picture[inside], data_range=1)
    assert psnr(picture, truth, border=4) == pytest.approx(known)
    known = structural_similarity(truth[inside], picture[inside], data_range=1, channel_axis=-1)
    assert ssim(picture, truth, border=4) == pytest.approx(known)
    assert ssim(truth[..., 0], truth[..., 0]) == pytest.approx(1)


def test_only_what_lies_inside_the_border_counts():
    truth = np.zeros((9, 11))
    picture = np.pad(np.full((5, 7), 0.5), 2, constant_values=3.0)
    assert squared_difference(picture, truth, border=2) == pytest.approx(5 * 7 * 0.25)
    assert psnr(picture, truth, border=2) == pytest.approx(10 * np.log10(4))


def test_every_picture_of_a_batch_has_its_own_score(rng, device):
    pictures, truth = rng.random((2, 3, 12, 13))
    each = psnr(to_device(pictures, device), to_device(truth, device), border=2, batch=True)
    np.testing.assert_allclose(to_host(each), [psnr(a, b, border=2) for a, b in zip(pictures, truth)])
    sums = squared_difference(pictures, truth, batch=True)
    np.testing.assert_allclose(sums, ((pictures - truth) ** 2).sum(axis=(1, 2)))


def test_float32_pictures_lose_no_digits():
    truth = np.full((400, 400), 1.0, np.float32)
    picture = truth + np.float32(2**-12)  # exact in float32
    assert psnr(picture, truth) == pytest.approx(20 * 12 * np.log10(2), rel=1e-12)


def test_equal_pictures_have_a_finite_score():
    assert psnr(np.ones((4, 4)), np.ones((4, 4))) == MOST_DECIBELS
    assert psnr(np.full((4, 4), 100.0), np.full((4, 4), 100.0), peak=255) == pytest.approx(MOST_DECIBELS)


def test_pictures_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="one size"):
        psnr(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="leaves nothing"):
        psnr(np.ones((4, 9)), np.ones((4, 9)), border=2)


def test_the_error_of_a_psf_is_relative_to_its_energy(rng):
    truth = rng.random((3, 2, 5, 5))
    np.testing.assert_allclose(psf_error(1.5 * truth, truth), np.full((3, 2), 0.25))
    assert psf_error(np.zeros((5, 5)), truth[0, 0]) == 1.0


def test_a_shift_is_an_error_or_forgiven(rng):
    psf = np.pad(rng.random((5, 5)), 2)
    psf /= psf.sum()
    moved = np.roll(psf, (1, -2), axis=(0, 1))
    assert psf_error(moved, psf) > 0.1
    assert aligned_psf_error(moved, psf) == pytest.approx(0, abs=1e-12)


def test_the_forgiving_error_knows_no_size_and_no_scale(rng):
    psf = rng.random((5, 5))
    assert aligned_psf_error(3 * np.pad(psf, ((3, 1), (0, 4))), psf) == pytest.approx(0, abs=1e-12)
    assert aligned_psf_error(np.ones((1, 1)), np.ones((2, 2))) == pytest.approx((1 + 1 / 4 - 2 / 4) / (1 / 4))


def test_the_forgiving_error_is_the_smallest_of_all_shifts(rng):
    psf, truth = (np.pad(a / a.sum(), 4) for a in rng.random((2, 4, 4)))
    tried = [psf_error(np.roll(psf, (y, x), axis=(0, 1)), truth) for y in range(-4, 5) for x in range(-4, 5)]
    assert aligned_psf_error(psf, truth) == pytest.approx(min(tried))


def test_the_error_ratio_compares_with_the_true_psf():
    assert error_ratio(3.0, 1.5) == 2.0
