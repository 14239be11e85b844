"""Non-blind deconvolution: gain with the true PSF, borders, saturation, refusals."""

import numpy as np
import pytest
import skimage.data
from scipy import ndimage

from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psnr
from deconvnet.networks.image_network import ImageNetwork
from deconvnet.networks.io import save_network
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, REFINED_PSF, deconvolve, estimate_noise
from deconvnet.restore.photo.varying import deconvolve_varying


@pytest.fixture(scope="module")
def psf():
    return sample_gp_psfs(np.random.default_rng(3), 1, 15)[0]


@pytest.fixture(scope="module")
def blurred(psf):
    """(sharp, blurry) cameraman with noise of 0.01, both cut to what the PSF leaves."""
    sharp = skimage.data.camera()[100:310, 120:340].astype(np.float32) / 255
    blurry = convolve(sharp, psf, "valid")
    noise = np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)
    return sharp[7:-7, 7:-7], blurry + np.float32(0.01) * noise


@pytest.mark.parametrize("level", [0.01, 0.04])
def test_noise_of_a_blurry_picture_is_estimated_to_a_fifth(blurred, level):
    rng = np.random.default_rng(1)
    noisy = np.clip(blurred[0], 0.2, 0.8) * 0 + convolve(blurred[0], np.full((9, 9), 1 / 81), "wrap")
    assert estimate_noise(noisy + level * rng.standard_normal(noisy.shape)) == pytest.approx(level, rel=0.2)


def test_a_smooth_picture_has_no_noise():
    assert estimate_noise(np.full((20, 20), 0.5)) == 0


def test_noise_and_errors_of_the_psf_add_up(blurred, psf):
    blurry = blurred[1]
    noise = float(np.hypot(estimate_noise(blurry), ESTIMATED_PSF))
    found = deconvolve(blurry, psf, psf_error=ESTIMATED_PSF)
    np.testing.assert_array_equal(found, deconvolve(blurry, psf, noise=noise))


def test_more_is_forgiven_to_an_estimated_psf(blurred, psf):
    sharp, blurry = blurred
    wrong = psf + 0.3 * np.linalg.norm(psf) / 15 * np.random.default_rng(1).standard_normal(psf.shape)
    wrong = np.maximum(wrong, 0).astype(np.float32)
    forgiving = deconvolve(blurry, wrong, psf_error=ESTIMATED_PSF)
    assert psnr(forgiving, sharp) > psnr(deconvolve(blurry, wrong), sharp) + 0.5


@pytest.mark.parametrize(("method", "gain"), [("hyper-laplacian", 5.0), ("wiener", 4.0)])
def test_true_psf_recovers_the_whole_picture_to_its_border(blurred, psf, method, gain):
    sharp, blurry = blurred
    restored = deconvolve(blurry, psf, method)
    assert restored.dtype == np.float32
    assert psnr(restored, sharp) > psnr(blurry, sharp) + gain


def test_sparse_prior_beats_the_gaussian_one(blurred, psf):
    sharp, blurry = blurred
    assert psnr(deconvolve(blurry, psf), sharp) > psnr(deconvolve(blurry, psf, "wiener"), sharp) + 0.3


def test_no_frame_of_ringing_shows(blurred, psf):
    sharp, blurry = blurred
    error = (np.clip(deconvolve(blurry, psf), 0, 1) - sharp) ** 2
    frame = np.concatenate([error[:8].ravel(), error[-8:].ravel(), error[:, :8].ravel(), error[:, -8:].ravel()])
    # Light is missing at the border, so it cannot be quite as good there; ringing would make it ten times worse.
    assert frame.mean() < 3 * error[20:-20, 20:-20].mean()


def test_delta_leaves_a_picture_without_noise_nearly_as_it_is(blurred):
    delta = np.zeros((5, 5), np.float32)
    delta[2, 2] = 1
    assert psnr(deconvolve(blurred[0], delta, noise=0.005), blurred[0]) > 40


def test_centre_of_the_psf_does_not_move():
    image = np.zeros((64, 64))
    image[30, 40] = 0.9
    for shape in [(5, 5), (6, 6), (3, 7), (8, 5)]:
        delta = np.zeros(shape)
        delta[shape[0] // 2, shape[1] // 2] = 3.0
        restored = deconvolve(image, delta, noise=0.005)
        assert np.unravel_index(restored.argmax(), restored.shape) == (30, 40)


def test_float64_and_float32_agree(blurred, psf):
    blurry = blurred[1]
    restored = deconvolve(blurry.astype(np.float64), psf)
    assert restored.dtype == np.float64
    np.testing.assert_allclose(deconvolve(blurry, psf), restored, atol=0.02)


def test_devices_agree(blurred, psf, device):
    blurry = np.clip(blurred[1] * 1.3, 0, 1)  # some of it saturated
    restored = to_host(deconvolve(to_device(blurry, device), to_device(psf, device)))
    np.testing.assert_allclose(restored, deconvolve(blurry, psf), atol=0.02)


@pytest.mark.parametrize("method", ["hyper-laplacian", "wiener"])
def test_channels_that_are_no_colours_are_restored_one_by_one(blurred, psf, method):
    blurry = blurred[1]
    restored = deconvolve(np.stack([blurry, 1 - blurry], axis=-1), psf, method)
    np.testing.assert_array_equal(restored[..., 0], deconvolve(blurry, psf, method))
    np.testing.assert_array_equal(restored[..., 1], deconvolve(1 - blurry, psf, method))


def test_grey_as_three_channels_stays_grey(blurred, psf):
    blurry = blurred[1]
    restored = deconvolve(np.stack([blurry] * 3, axis=-1), psf)
    for c in range(3):
        np.testing.assert_allclose(restored[..., c], deconvolve(blurry, psf), atol=2e-3)


def _colours(psf, noise):
    """Sharp, and blurry with noise."""
    sharp = skimage.data.astronaut()[:200, 120:340].astype(np.float32) / 255
    blurry = np.stack([convolve(sharp[..., c], psf, "valid") for c in range(3)], axis=-1)
    blurry += np.float32(noise) * np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)
    return sharp[7:-7, 7:-7], blurry


@pytest.mark.parametrize(("noise", "gain"), [(0.0, -0.5), (0.02, 0.8)])
def test_colours_together_are_better_than_each_channel_alone(psf, noise, gain):
    sharp, blurry = _colours(psf, noise)
    restored = deconvolve(blurry, psf)
    alone = np.stack([deconvolve(np.ascontiguousarray(blurry[..., c]), psf) for c in range(3)], axis=-1)
    assert psnr(restored, sharp) > psnr(alone, sharp) + gain


def test_colours_are_as_good_as_their_channels_alone(psf):
    truth, blurry = _colours(psf, 0.01)
    restored = deconvolve(blurry, psf)
    for c in range(3):
        alone = deconvolve(np.ascontiguousarray(blurry[..., c]), psf)
        assert psnr(restored[..., c], truth[..., c]) > psnr(alone, truth[..., c]) - 0.03


def _through_a_mosaic(picture):
    """What a camera with one colour a pixel makes of (H, W, 3), its other two interpolated."""
    found = np.zeros_like(picture)
    for c, places in enumerate((((0, 0),), ((0, 1), (1, 0)), ((1, 1),))):
        seen = np.zeros_like(picture[..., c])
        for top, left in places:
            seen[top::2, left::2] = picture[top::2, left::2, c]
        weights = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) if c == 1 else np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
        found[..., c] = ndimage.convolve(seen, weights.astype(np.float32) / 4)
    return found


def test_colours_through_a_cameras_mosaic_are_not_trusted_too_far(psf):
    sharp, blurry = _colours(psf, 0.002)
    seen = _through_a_mosaic(blurry)
    restored = deconvolve(seen, psf, psf_error=REFINED_PSF)
    assert psnr(restored, sharp) > psnr(seen, sharp) + 3


def test_a_coloured_light_does_not_tint_what_is_around_it(psf):
    scene = np.full((140, 150, 3), 0.2, np.float32)
    scene[60:63, 70:73] = (12.0, 0.6, 0.6)
    blurry = np.clip(np.stack([convolve(scene[..., c], psf, "valid") for c in range(3)], axis=-1), 0, 1)
    error = abs(deconvolve(blurry, psf) - 0.2).max(axis=-1)
    error[43:66, 53:76] = 0  # the light, and a PSF around it
    assert error.max() < 0.1


def test_saturated_lights_do_not_ring_across_the_picture(blurred, psf, monkeypatch):
    scene = skimage.data.camera()[100:310, 120:340].astype(np.float32) / 255 * 0.8
    rng = np.random.default_rng(5)
    away = np.ones(scene.shape, bool)
    for _ in range(6):
        row, column = rng.integers(20, 190), rng.integers(20, 200)
        scene[row : row + 3, column : column + 3] = rng.uniform(4, 15)
        away[row - 5 : row + 8, column - 5 : column + 8] = False
    noise = rng.standard_normal((196, 206), dtype=np.float32)
    blurry = np.clip(convolve(scene, psf, "valid") + np.float32(0.005) * noise, 0, 1)
    sharp, away = np.clip(scene, 0, 1)[7:-7, 7:-7], away[7:-7, 7:-7]
    handled = deconvolve(blurry, psf)
    monkeypatch.setattr("deconvnet.restore.deconvolve.operators.SATURATED", 2.0)
    plain = deconvolve(blurry, psf)
    assert psnr(handled[away], sharp[away]) > psnr(plain[away], sharp[away]) + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"psf": np.zeros((5, 5))}, "not only zeros"),
        ({"psf": np.full((5, 5), np.nan)}, "finite"),
        ({"psf": -np.eye(5)}, "from 0 up"),
        ({"psf": np.ones((5, 70))}, "larger than the image"),
        ({"psf": np.ones(5)}, "two axes"),
        ({"method": "magic"}, "unknown non-blind method 'magic'"),
        ({"noise": 0.0}, "noise level"),
        ({"image": np.ones((2, 3, 64, 64))}, "(H, W)"),
        ({"image": np.ones((2, 64)), "psf": np.ones((1, 1))}, "from 3 px on"),
    ],
)
def test_what_cannot_be_used_is_refused(change, message):
    arguments = {"image": np.random.default_rng(0).random((64, 64)), "psf": np.ones((5, 5)), **change}
    with pytest.raises(DeconvnetError) as refusal:
        deconvolve(**arguments)
    assert message in str(refusal.value)


def test_a_network_in_a_file_corrects_the_sparse_picture(blurred, psf, tmp_path):
    blurry, path = blurred[1], tmp_path / "model.safetensors"
    network = ImageNetwork(width=4, depth=2)
    save_network(path, network)
    sparse = deconvolve(blurry, psf)
    untrained = deconvolve(blurry, psf, str(path))
    assert 38 < psnr(untrained, sparse) < 60  # drawn to the data a little
    network.second.convs[-1].bias.value[...] = 1.0
    save_network(tmp_path / "brighter.safetensors", network)
    brighter = deconvolve(blurry, psf, str(tmp_path / "brighter.safetensors"))
    np.testing.assert_allclose(brighter - untrained, 0.05, atol=1e-4)
    colours = deconvolve(np.stack([blurry] * 3, axis=-1), psf, str(path))
    np.testing.assert_allclose(colours[..., 1], untrained, atol=2e-3)


def test_a_network_is_for_one_psf(blurred, psf, tmp_path):
    save_network(tmp_path / "model.safetensors", ImageNetwork(width=4, depth=2))
    with pytest.raises(DeconvnetError, match="one PSF"):
        deconvolve_varying(blurred[1], psf[None, None], str(tmp_path / "model.safetensors"))
