"""From the network's estimate to the PSF that is used: cleaning, sharpening, and the choice of the size."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter

from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psf_error, psnr
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve
from deconvnet.restore.photo.psf import check_psf_options, estimate_psf, estimate_varying_psfs
from deconvnet.restore.photo.psf_cleanup import (
    clean_psf,
    informative_part,
    middle,
    moved_onto,
    sharpen_psf,
    sparsity_cost,
)

SIZES = (9, 17, 25)


class Estimates:
    """Stands for a trained pyramid whose scales find these PSFs."""

    def __init__(self, psfs):
        self.psfs = {len(psf): psf for psf in psfs}

    def trained_sizes(self):
        return list(self.psfs)

    def up_to(self, psf_size):
        return Estimates([self.psfs[psf_size]])

    def estimate_psf(self, grey):
        return [[psf[None]] for psf in self.psfs.values()]


@pytest.fixture(scope="module")
def psf():
    return sample_gp_psfs(np.random.default_rng(4), 1, 17)[0]


def test_cleaning_takes_specks_and_keeps_the_path(psf, device):
    rng = np.random.default_rng(0)
    noisy = np.maximum(psf + 0.4 * np.linalg.norm(psf) / 17 * rng.standard_normal(psf.shape), 0).astype(np.float32)
    noisy /= noisy.sum()
    clean = to_host(clean_psf(to_device(noisy, device)))
    assert clean.dtype == np.float32
    assert clean.sum() == pytest.approx(1, abs=1e-5)
    assert psf_error(clean, psf) < 0.5 * psf_error(noisy, psf)
    assert psf_error(clean_psf(psf), psf) < 0.01


def test_what_is_dim_or_apart_and_light_is_taken_away():
    psf = np.zeros((9, 9))
    psf[2:5, 2:5] = 1.0
    psf[5, 5] = 0.06  # joined by a corner, above the threshold
    psf[1, 2] = 0.04  # joined, below the threshold
    psf[8, 8] = 0.8  # apart, with less than a tenth of the light
    psf[7:9, 0] = 1.0  # apart, with more
    kept = clean_psf(psf) > 0
    assert kept[2:5, 2:5].all()
    assert kept[5, 5]
    assert kept[7:9, 0].all()
    assert not kept[1, 2]
    assert not kept[8, 8]
    assert (clean_psf(psf, least_part=0) > 0)[8, 8]
    np.testing.assert_allclose(clean_psf(psf, threshold=0, least_part=0), psf / psf.sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sharpening_undoes_a_gaussian(psf, dtype):
    soft = gaussian_filter(psf.astype(dtype), 0.5)
    sharp = sharpen_psf(soft / soft.sum(), 0.5)
    assert sharp.dtype == dtype
    assert sharp.min() >= 0
    assert sharp.sum() == pytest.approx(1, abs=1e-5)
    assert psf_error(sharp, psf) < 0.4 * psf_error(soft, psf)
    assert sharpen_psf(soft, 0) is soft


def test_unlikeliness_grows_with_ringing_and_with_blur_and_leaves_out_the_border():
    scene = skimage.data.camera()[100:300, 100:300].astype(np.float64) / 255
    rows = np.arange(200)[:, None]
    ringing = scene + 0.05 * np.cos(rows) * np.cos(rows.T)
    assert sparsity_cost(ringing) > 1.5 * sparsity_cost(scene)
    mild = gaussian_filter(scene, 1.0)  # sparser in absolute terms, but less sparse for its contrast
    assert sparsity_cost(mild) * np.ptp(mild) ** 0.8 < sparsity_cost(ringing)
    framed = scene.copy()
    framed[0] = 1 - framed[0]
    assert sparsity_cost(framed, border=1) == sparsity_cost(scene, border=1)
    assert sparsity_cost(np.full((9, 9), 0.5)) == 0


def _filling_psf(rng, size):
    """A PSF of which a crop to half its support is no PSF of the photo."""
    while True:
        psf = sample_gp_psfs(rng, 1, size)[0]
        if psf[size // 4 : -(size // 4), size // 4 : -(size // 4)].sum() < 0.6:
            return psf


def _resized(psf, size):
    """A square PSF of odd side cropped or padded to another odd side."""
    gap = (size - len(psf)) // 2
    psf = np.pad(psf, gap) if gap >= 0 else psf[-gap:gap, -gap:gap]
    return psf / psf.sum()


@pytest.mark.parametrize("true_size", SIZES)
@pytest.mark.parametrize("seed", [2, 3])
def test_auto_loses_little_against_the_best_size(true_size, seed):
    sharp = skimage.data.camera()[80:330, 100:350].astype(np.float32) / 255
    rng = np.random.default_rng(seed)
    true = _filling_psf(rng, true_size)
    blurry = convolve(sharp, true, "valid")
    blurry += np.float32(0.005) * rng.standard_normal(blurry.shape, dtype=np.float32)
    candidates = []
    for size in SIZES:
        disturbance = 0.3 * np.linalg.norm(true) / size * rng.standard_normal((size, size))
        psf = np.maximum(_resized(true, size) + disturbance, 0)
        candidates.append((psf / psf.sum()).astype(np.float32))
    cut = true_size // 2
    inside = sharp[cut:-cut, cut:-cut]
    cleaned = [clean_psf(p) for p in candidates]
    quality = [psnr(deconvolve(blurry, p, psf_error=ESTIMATED_PSF), inside) for p in cleaned]
    chosen = estimate_psf(Estimates(candidates), blurry, refine=False)
    lost = max(quality) - quality[SIZES.index(len(chosen))]
    spread = max(quality) - min(quality)
    assert lost < 0.2 + 0.1 * spread
    assert true_size == 9 or spread > 8  # it mattered: too small a support spoils the picture


def test_sizes_that_the_photo_has_no_room_for_are_left_out(psf):
    grey = skimage.data.camera()[100:140, 100:160].astype(np.float32) / 255
    network = Estimates([_resized(psf, 9), psf, _resized(psf, 25)])
    assert len(estimate_psf(network, grey, refine=False)) in (9, 17)
    assert len(estimate_psf(network, grey)) <= 17
    with pytest.raises(DeconvnetError, match="a PSF of 25 needs 50 on the shorter side"):
        estimate_psf(network, grey, 25)
    with pytest.raises(DeconvnetError, match="a PSF of 25 needs 50 on the shorter side"):
        estimate_varying_psfs(network, grey, 25, (1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((9, -0.1, 0.05), "--psf-sharpen"),
        ((9, np.nan, 0.05), "--psf-sharpen"),
        ((9, 0, 1.0), "--psf-threshold"),
        ((11, 0, 0), "no PSF size 11: use 9, 17 or auto"),
        (("large", 0, 0), "no PSF size 'large'"),
    ],
)
def test_options_out_of_range_are_refused(psf, options, message):
    network = Estimates([_resized(psf, 9), psf])
    with pytest.raises(DeconvnetError) as refusal:
        check_psf_options(network, *options, refine=False)
    assert message in str(refusal.value)


@pytest.mark.parametrize("size", [12, 1, "large"])
def test_refined_psfs_may_have_any_odd_size(psf, size):
    network = Estimates([_resized(psf, 9), psf])
    assert check_psf_options(network, "11", 0, 0) == 11
    with pytest.raises(DeconvnetError, match="odd and at least 3"):
        check_psf_options(network, size, 0, 0)


@pytest.mark.parametrize("size", [15, 21])
def test_refinement_mends_the_estimate_also_at_sizes_that_the_network_lacks(psf, size):
    sharp = skimage.data.camera()[40:340, 100:400].astype(np.float32) / 255
    blurry = convolve(sharp, psf, "valid")
    blurry += np.float32(0.005) * np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)
    soft = gaussian_filter(psf, 1.5)
    network = Estimates([_resized(soft, 9), (soft / soft.sum()).astype(np.float32)])
    found = estimate_psf(network, blurry, size)
    assert found.shape == (size, size)
    wide = _resized(psf, 21)
    fit = min(psf_error(np.roll(_resized(found, 21), (dy, dx), (0, 1)), wide) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    assert fit < 0.5 * psf_error(soft / soft.sum(), psf)


def test_a_psf_is_moved_back_onto_another_one(psf):
    for shift in ((2, -3), (-1, 0), (0, 0)):
        away = np.zeros_like(psf)
        room = np.pad(psf, 4)
        away[...] = room[4 - shift[0] : 21 - shift[0], 4 - shift[1] : 21 - shift[1]]
        if away.sum() > 0.999:  # nothing has left the support
            np.testing.assert_allclose(moved_onto(away, psf), psf, atol=1e-6)
    point = np.zeros((17, 17), np.float32)
    point[8, 8] = 1
    assert moved_onto(np.roll(point, (5, -6), (0, 1)), point)[8, 8] == 1


def test_sizes_may_be_text(psf):
    network = Estimates([_resized(psf, 9), psf])
    assert check_psf_options(network, "17", 0.5, 0.0) == 17
    assert check_psf_options(network, "auto", 0.0, 0.05) == "auto"


@pytest.fixture(scope="module")
def sky(psf):
    """A blurry picture with empty sky in the middle and left of it, and its latent image's edges at the right."""
    sharp = np.full((336, 576), 0.7, np.float32)
    sharp[:, 400:] = skimage.data.camera()[100:436, 150:326].astype(np.float32) / 255
    blurry = convolve(sharp, psf, "valid")
    return blurry + np.float32(0.003) * np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)


def test_the_part_with_the_edges_is_found(sky, device):
    part = to_host(informative_part(to_device(sky, device), 128))
    assert part.shape == (128, 128)
    assert part.std() > 5 * middle(sky, 128).std()
    left = to_host(informative_part(to_device(np.ascontiguousarray(sky[:, ::-1]), device), 128))
    assert left.std() > 5 * middle(sky, 128).std()
    assert informative_part(sky, 1000) is sky


def test_the_middle_is_kept_where_it_is_nearly_as_good():
    image = skimage.data.brick().astype(np.float32) / 255
    np.testing.assert_array_equal(informative_part(image, 200), middle(image, 200))
    lights = image.copy()
    lights[:150, :150] = np.where(np.random.default_rng(0).random((150, 150)) < 0.5, 1.0, lights[:150, :150])
    np.testing.assert_array_equal(informative_part(lights, 200), middle(lights, 200))


def test_a_psf_is_refined_where_the_edges_are(sky, psf, monkeypatch):
    monkeypatch.setattr("deconvnet.restore.photo.psf.REFINED", 160)
    rough = gaussian_filter(psf, 1.2)
    network = Estimates([rough / rough.sum()])
    found = estimate_psf(network, sky, 17)
    monkeypatch.setattr("deconvnet.restore.photo.psf.informative_part", middle)
    blind = estimate_psf(network, sky, 17)
    assert psf_error(moved_onto(found, psf), psf) < 0.5 * psf_error(moved_onto(blind, psf), psf)
