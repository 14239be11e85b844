"""Blur that changes over the picture: local PSFs, projection on camera motions, deconvolution."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter

from deconvnet.backend import irfft2, rfft2, to_device, to_host
from deconvnet.blur.camera_motion import random_motion
from deconvnet.blur.filter_flow import filter_flow
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psf_error, psnr
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.networks.photo_stage import Stage
from deconvnet.ops.psf import psf_to_otf
from deconvnet.restore.deconvolve.operators import Convolution
from deconvnet.restore.deconvolve.solvers import deconvolve
from deconvnet.restore.photo.varying import (
    VaryingBlur,
    choose_grid,
    deconvolve_varying,
    edge_strength,
    local_psfs,
    motion_basis,
    project_on_motion,
    refine_locally,
    sharpen_locally,
)
from deconvnet.testing import dottest

GRID, K = (3, 4), 13


def relative_error(psfs, true):
    return float(psf_error(psfs, true).mean())


def stage(beta_psf, beta_image=0.01):
    """A stage of the network with these regularisers; its features are not used."""
    rng = np.random.default_rng(0)
    made = Stage(K, latent=False, filters=2, filter_size=3, hidden_layers=0, pairs=2, rng=rng)
    made.quotient.log_beta.value[...] = np.log(beta_psf)
    made.image.log_beta.value[...] = np.log(beta_image)
    return made


def gradients(image):
    return [np.diff(image, axis=0)[1:, 1:-1], np.diff(image, axis=1)[1:-1, 1:]]


@pytest.fixture(scope="module")
def scene():
    """(sharp, blurry, psfs, basis) of a photograph under a camera that moves and turns."""
    sharp = skimage.data.camera()[60:300, 60:380].astype(np.float32) / 255
    basis = motion_basis(sharp.shape, GRID, K)
    psfs = basis.forward(random_motion(np.random.default_rng(8), basis))
    blurry = filter_flow(sharp, psfs)
    noise = np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)
    return sharp[K // 2 : -(K // 2), K // 2 : -(K // 2)], blurry + np.float32(0.005) * noise, psfs, basis


def test_true_psfs_recover_the_picture_and_one_psf_does_not(scene):
    sharp, blurry, psfs, _ = scene
    restored = deconvolve_varying(blurry, psfs)
    assert restored.dtype == np.float32
    assert psnr(restored, sharp) > psnr(blurry, sharp) + 4
    assert psnr(restored, sharp) > psnr(deconvolve(blurry, psfs[1, 1]), sharp) + 2


def test_equal_psfs_restore_as_one_psf_does(scene):
    _, blurry, psfs, _ = scene
    part = blurry[:120, :140]
    same = np.ascontiguousarray(np.broadcast_to(psfs[1, 1], (2, 3, K, K)))
    one = deconvolve(part, psfs[1, 1], noise=0.01)
    assert psnr(deconvolve_varying(part, same, noise=0.01), np.clip(one, 0, 1)) > 40


def test_blurs_and_their_adjoints_belong_together(scene, rng):
    psfs = scene[2].astype(np.float64)
    for blur in (VaryingBlur(psfs, (70, 83)), Convolution(psfs[0, 0], (70, 83))):
        x, y = rng.standard_normal((2, *blur.shape))
        dottest(lambda x, b=blur: b.forward(rfft2(x)), lambda y, b=blur: irfft2(b.adjoint(y), b.shape), x, y)


def test_devices_agree(scene, device):
    _, blurry, psfs, basis = scene
    projected, _ = project_on_motion(to_device(psfs, device), basis, refinements=2)
    restored = deconvolve_varying(to_device(blurry, device), projected, noise=0.01)
    expected = deconvolve_varying(blurry, to_host(projected), noise=0.01)
    np.testing.assert_allclose(to_host(restored), expected, atol=0.02)


def test_channels_are_restored_one_by_one(scene):
    _, blurry, psfs, _ = scene
    part = np.ascontiguousarray(blurry[:80, :90])
    colour = np.stack([part, part[::-1]], axis=-1)
    restored = deconvolve_varying(colour, psfs, "wiener", noise=0.01)
    np.testing.assert_array_equal(restored[..., 0], deconvolve_varying(part, psfs, "wiener", noise=0.01))


def test_projection_keeps_psfs_that_a_camera_motion_made(scene):
    _, _, psfs, basis = scene
    kept, mu = project_on_motion(psfs, basis)
    assert relative_error(kept, psfs) < 0.001
    assert np.count_nonzero(mu) <= 0.1 * mu.size + 1
    fewest, mu = project_on_motion(psfs, basis, eta=0.0314)
    assert relative_error(fewest, psfs) < 0.01
    assert np.count_nonzero(mu) <= 0.0314 * mu.size + 1
    np.testing.assert_allclose(kept.sum(axis=(-2, -1)), 1, atol=1e-5)


def test_projection_takes_away_what_no_camera_motion_makes(scene):
    _, _, psfs, basis = scene
    rng = np.random.default_rng(1)
    noisy = psfs * 0.7 + 0.3 * rng.random(psfs.shape, dtype=np.float32) ** 8 / 19
    noisy /= noisy.sum(axis=(-2, -1), keepdims=True)
    projected, _ = project_on_motion(noisy, basis)
    assert relative_error(projected, psfs) < 0.8 * relative_error(noisy, psfs)
    sparse, _ = project_on_motion(noisy, basis, eta=0.0314)
    assert relative_error(sparse, psfs) < 0.3 * relative_error(noisy, psfs)


def test_patches_that_are_not_trusted_do_not_spoil_the_others(scene):
    _, _, psfs, basis = scene
    wrong = psfs.copy()
    wrong[0] = 1 / K**2
    trust = np.ones(GRID, np.float32)
    trust[0] = 1e-3
    projected, _ = project_on_motion(wrong, basis, weights=trust)
    alike, _ = project_on_motion(wrong, basis)
    assert relative_error(projected, psfs) < 0.1
    assert relative_error(projected, psfs) < 0.2 * relative_error(alike, psfs)


def test_edges_tell_which_patches_are_trusted():
    image = np.full((80, 120), 0.5, np.float32)
    image[:, 60:] = np.random.default_rng(0).random((80, 60))
    strength = edge_strength(image, (1, 3))
    assert strength.dtype == np.float32
    assert 0 < strength[0, 0] < 0.01 < strength[0, 1] < strength[0, 2]
    np.testing.assert_array_equal(edge_strength(np.zeros((50, 60)), (2, 2)), 1)


def test_local_refinement_mends_soft_estimates_and_leaves_flat_patches(scene):
    _, blurry, psfs, _ = scene
    part = np.ascontiguousarray(blurry[:, :160])
    true = psfs[1:2, 1:2]  # roughly
    soft = gaussian_filter(true, (0, 0, 1.2, 1.2))
    soft /= soft.sum()
    refined = refine_locally(part, soft)
    assert relative_error(refined, true) < 0.8 * relative_error(soft, true)
    np.testing.assert_array_equal(refine_locally(np.full((60, 60), 0.4, np.float32), soft), soft)


def test_projection_without_refinement_is_the_thresholded_back_projection(scene):
    _, _, psfs, basis = scene
    _, mu = project_on_motion(psfs, basis, eta=0.1, refinements=0)
    back = basis.adjoint(psfs)
    largest = np.sort(back.ravel())[-round(0.1 * back.size)]
    expected = np.where(back >= largest, back, 0)
    np.testing.assert_allclose(mu, expected / expected.sum(), rtol=1e-4)


def test_a_share_outside_its_range_is_refused(scene):
    with pytest.raises(ValueError, match="share"):
        project_on_motion(scene[2], scene[3], eta=0)


def test_local_psfs_of_true_gradients_are_near_the_true_ones_after_projection(scene):
    sharp, blurry, psfs, basis = scene
    maps = np.stack([*gradients(sharp), *gradients(blurry)])
    found = local_psfs(stage(1e-5), maps, blurry.shape, GRID)
    assert found.shape == psfs.shape
    np.testing.assert_allclose(found.sum(axis=(-2, -1)), 1, atol=1e-4)
    projected, _ = project_on_motion(found, basis)
    assert relative_error(projected, psfs) < 0.35
    assert relative_error(projected, psfs) < relative_error(found, psfs)
    # A PSF fits its own patch better than a patch at the other end.
    assert relative_error(projected, psfs) < 0.7 * relative_error(projected[::-1, ::-1], psfs)


def test_patches_smaller_than_two_psfs_are_refused():
    maps = np.zeros((4, 28, 28), np.float32)
    with pytest.raises(DeconvnetError, match="use fewer patches"):
        local_psfs(stage(1.0), maps, (30, 30), (4, 4))


def test_quick_latent_image_is_nearer_to_the_sharp_one(scene):
    sharp, blurry, psfs, _ = scene
    mean = blurry.mean()
    restored = sharpen_locally(stage(1.0), blurry - mean, psfs) + mean
    assert psnr(restored, sharp) > psnr(blurry, sharp) + 1.5


def test_one_patch_is_the_network_itself_in_every_stage():
    scales = [scale_config(9, 2), scale_config(K, 2)]
    network = Pyramid(scales=scales, rng=np.random.default_rng(5))
    blurry = skimage.data.camera()[100:222, 150:301].astype(np.float32) / 255
    for run in network.walk(blurry[None]):
        found = local_psfs(run.stage, run.maps[0], run.blurry.shape[-2:], (1, 1))
        assert found.shape == (1, 1, *run.psf.shape[1:])
        np.testing.assert_allclose(found[0, 0], run.psf[0], atol=2e-5 * run.psf.max())
        latent = sharpen_locally(run.stage, run.blurry[0], run.psf[None])
        np.testing.assert_allclose(latent, run.latent[0], atol=1e-5)


def test_the_regulariser_weighs_the_same_in_a_patch_as_in_the_whole():
    """β is of power per pixel and frequency, so a fading patch of even texture gives the PSF of the whole."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.standard_normal((8, 200, 200)), (0, 2, 2)).astype(np.float32)
    maps = np.concatenate([texture, texture])[None]
    one = Stage(K, latent=False, filters=2, filter_size=3, hidden_layers=0, pairs=8, rng=rng)
    one.quotient.log_beta.value[...] = np.log(0.1)
    ones, fading = np.ones(200), np.zeros(200)
    fading[50:150] = np.sin(np.pi * (np.arange(100) + 0.5) / 100) ** 2
    whole, patch = one.windowed_psf(maps, ones, ones), one.windowed_psf(maps, fading, fading)
    assert relative_error(patch, whole) < 0.003
    # With features twice as strong, as another normalisation would have them, it is another PSF.
    assert relative_error(one.windowed_psf(2 * maps, fading, fading), whole) > 0.01


def test_grid_grows_with_the_picture_and_its_patches_hold_their_psfs():
    assert choose_grid((60, 90), 17) == (1, 1)
    rows, columns = choose_grid((1000, 1500), 25)
    assert columns >= rows >= 4
    assert choose_grid((9000, 9000), 17) == (9, 9)


def test_power_of_varying_blur_is_the_mean_of_its_psfs(rng):
    psfs = rng.random((2, 3, 5, 5))
    blur = VaryingBlur(psfs, (40, 51))
    exact = np.mean([abs(psf_to_otf(psf, blur.shape)) ** 2 for psf in psfs.reshape(-1, 5, 5)], axis=0)
    np.testing.assert_allclose(blur.power, exact, atol=1e-12 * exact.max())
