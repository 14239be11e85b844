"""The PSF of a photo from nothing: its size finds itself, and a bound is a bound."""

import numpy as np
import pytest
import skimage.data

from deconvnet import parallel
from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psnr
from deconvnet.restore.deconvolve.solvers import deconvolve
from deconvnet.restore.photo.psf_size import (
    bound_for,
    candidates,
    estimate_psf_sparse,
    extent,
    ladder,
    padded,
    psfs_from_nothing,
    trimmed,
)
from deconvnet.restore.photo.refine import fit_cost

SIZE = 13


@pytest.fixture(scope="module")
def psf():
    return sample_gp_psfs(np.random.default_rng(1), 1, SIZE)[0]


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


def test_brightness_and_contrast_do_not_change_the_start(blurry):
    (found,) = psfs_from_nothing(blurry.astype(np.float64), 7, l0_weights=(0.02,))
    (duller,) = psfs_from_nothing(0.25 * blurry.astype(np.float64) + 0.5, 7, l0_weights=(0.02,))
    assert found.dtype == np.float64
    np.testing.assert_allclose(duller, found, atol=1e-6)


def test_of_several_psfs_the_one_that_fits_best_is_taken(blurry):
    part = blurry[:120, :130]
    each = psfs_from_nothing(part, SIZE)
    assert 1 < len(each) <= 3
    best = int(np.argmin([fit_cost(part, psf, border=SIZE // 2) for psf in each]))
    np.testing.assert_array_equal(estimate_psf_sparse(part, SIZE), padded(each[best], SIZE))


def test_any_number_of_threads_finds_the_same_psfs(blurry):
    found = []
    for count in (1, 3):
        with parallel.threads(count):
            found.append(psfs_from_nothing(blurry[:100, :110], SIZE))
    for one, three in zip(*found, strict=True):
        np.testing.assert_array_equal(one, three)


def spread(psf):
    """Side of the square that holds all of a PSF but the outermost 2 % of its mass along each axis."""
    widths = []
    for axis in (0, 1):
        mass = np.cumsum(psf.sum(axis=axis)) / psf.sum()
        widths.append(np.searchsorted(mass, 0.98) - np.searchsorted(mass, 0.02) + 1)
    return max(widths)


def shaken(size, side, seed):
    """A blurry picture of so many pixels each way, and its PSF, which fills much of its support."""
    rng = np.random.default_rng(seed)
    while True:
        psf = sample_gp_psfs(rng, 1, size)[0]
        if spread(psf) > 0.7 * size:
            break
    photo = skimage.data.camera().astype(np.float32) / 255
    if side + size - 1 > min(photo.shape):  # a large scene: the photograph among leaves
        scene = dead_leaves(rng, side + size - 1).astype(np.float32) / 255
        scene[: photo.shape[0], : photo.shape[1]] = photo
    else:
        scene = photo[: side + size - 1, 60 : 60 + side + size - 1]
    blurry = convolve(scene, psf) + 0.005 * rng.standard_normal((side, side))
    return blurry.astype(np.float32), psf


@pytest.mark.parametrize(
    ("size", "side"),
    [(3, 150), (17, 200), pytest.param(45, 360, marks=pytest.mark.slow), pytest.param(81, 648, marks=pytest.mark.slow)],
)
def test_the_size_finds_itself(size, side):
    blurry, psf = shaken(size, side, 5)
    bound = bound_for(blurry.shape)
    assert bound > 1.5 * size
    found = estimate_psf_sparse(blurry, bound)
    assert max(1, 0.7 * spread(psf)) <= spread(found) <= 1.4 * spread(psf) + 2


def test_a_bound_is_a_bound(blurry):
    assert estimate_psf_sparse(blurry, 7).shape == (7, 7)
    assert all(len(found) <= 7 for found in psfs_from_nothing(blurry, 7))


def test_bounds_that_are_tried():
    assert bound_for((240, 900)) == 59
    assert bound_for((4000, 3000)) == 151
    assert ladder(59) == [9, 15, 25, 39, 59]
    assert ladder(17) == [9, 17]
    assert ladder(3) == [3]
    assert all(size % 2 for size in ladder(151))


def test_an_empty_margin_is_taken_away(psf):
    wide = padded(psf, 31)
    assert wide.shape == (31, 31)
    assert len(trimmed(wide)) == extent(psf) <= SIZE
    np.testing.assert_array_equal(padded(trimmed(wide), 31), wide)
    assert trimmed(psf, SIZE) is psf


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


def test_a_constant_image_is_refused():
    with pytest.raises(DeconvnetError, match="constant"):
        estimate_psf_sparse(np.full((64, 64), 0.5), 9)


def test_the_cost_of_a_psf_much_too_small_is_higher(blurry, psf):
    small = np.ones((3, 3), np.float32) / 9
    good, bad = candidates(blurry, [psf, small], SIZE // 2)
    assert good.cost < bad.cost
