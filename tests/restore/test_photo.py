"""A photograph becomes sharp: known and estimated PSFs, choice of the size, alpha, refusals, command line."""

import argparse
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
import skimage.data

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.networks.photo import Pyramid, scale_config
from deconvnet.restore.photo import deblur, network_of_size
from deconvnet.restore.photo_command import add_photo


def psnr(a, b):
    return float(-10 * np.log10(np.mean((np.clip(a, 0, 1) - b) ** 2)))


def resized(psf, size):
    """A square PSF of odd side cropped or padded to another odd side."""
    gap = (size - len(psf)) // 2
    psf = np.pad(psf, gap) if gap >= 0 else psf[-gap:gap, -gap:gap]
    return psf / psf.sum()


class KnownPsfs:
    """Stands for a trained pyramid: gives the PSFs it was made with."""

    kind, name = "photo", "known"

    def __init__(self, psfs):
        self.psf_sizes = [len(psf) for psf in psfs]
        self.scales = [SimpleNamespace(psf=psf, stages=[None]) for psf in psfs]
        self.config = {"scales": [{"psf_size": size} for size in self.psf_sizes]}
        self.stage_names = [f"{size} px" for size in self.psf_sizes]
        self.active = np.array(len(psfs))

    @property
    def depth(self):
        return int(self.active)

    def to(self, device):
        return self

    def estimate_psf(self, grey):
        return [[scale.psf[None].astype(grey.dtype)] for scale in self.scales]


@pytest.fixture(scope="module")
def psf():
    return sample_gp_psfs(np.random.default_rng(4), 1, 17)[0]


@pytest.fixture(scope="module")
def colour(psf):
    """(sharp, blurry) colour photograph with noise of 0.005."""
    sharp = skimage.data.astronaut()[:176, 120:310].astype(np.float32) / 255
    blurry = np.stack([convolve(sharp[..., c], psf, "valid") for c in range(3)], axis=-1)
    noise = np.random.default_rng(0).standard_normal(blurry.shape, dtype=np.float32)
    return sharp[8:-8, 8:-8], np.clip(blurry + np.float32(0.005) * noise, 0, 1)


@pytest.fixture(scope="module")
def pyramid():
    scales = [scale_config(size, stages=2, filters=4, filter_size=5) for size in (9, 13)]
    return Pyramid(scales=scales, rng=np.random.default_rng(0))


def test_known_psf_recovers_a_colour_photo(colour, psf):
    sharp, blurry = colour
    picture, used = deblur(blurry, psf=3 * psf, device="cpu", return_psf=True)
    assert picture.dtype == np.float32
    assert picture.shape == blurry.shape
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert psnr(picture, sharp) > psnr(blurry, sharp) + 4
    np.testing.assert_allclose(used, psf, atol=1e-6)


def test_network_psf_is_used_for_every_channel(colour, psf):
    _, blurry = colour
    network = KnownPsfs([psf])
    np.testing.assert_array_equal(deblur(blurry, model=network, device="cpu"), deblur(blurry, psf=psf, device="cpu"))


def test_whole_numbers_and_floats_give_the_same_picture(colour, psf):
    eight = np.rint(colour[1] * 255).astype(np.uint8)
    from_whole = deblur(eight, psf=psf, device="cpu")
    np.testing.assert_allclose(from_whole, deblur(eight / 255, psf=psf, device="cpu"), atol=1e-3)
    sixteen = deblur(eight.astype(np.uint16) * 257, psf=psf, device="cpu")
    np.testing.assert_allclose(from_whole, sixteen, atol=1e-3)


def test_alpha_is_kept_untouched(colour, psf):
    grey = np.rint(colour[1][..., 1] * 255).astype(np.uint8)
    alpha = np.random.default_rng(0).integers(0, 256, grey.shape, dtype=np.uint8)
    picture = deblur(np.stack([grey, alpha], axis=-1), psf=psf, device="cpu")
    np.testing.assert_array_equal(np.rint(picture[..., 1] * 255), alpha)
    np.testing.assert_array_equal(picture[..., 0], deblur(grey, psf=psf, device="cpu"))


def _filling_psf(rng, size):
    """A PSF of which a crop to half its support is no PSF of the photo."""
    while True:
        psf = sample_gp_psfs(rng, 1, size)[0]
        if psf[size // 4 : -(size // 4), size // 4 : -(size // 4)].sum() < 0.6:
            return psf


@pytest.mark.parametrize("true_size", [9, 17, 25])
def test_auto_loses_little_against_the_best_size(true_size):
    sharp = skimage.data.camera()[80:330, 100:350].astype(np.float32) / 255
    rng = np.random.default_rng(2)
    true = _filling_psf(rng, true_size)
    blurry = convolve(sharp, true, "valid")
    blurry += np.float32(0.005) * rng.standard_normal(blurry.shape, dtype=np.float32)
    candidates = []
    for size in (9, 17, 25):
        disturbance = 0.25 * np.linalg.norm(true) / size * rng.standard_normal((size, size))
        psf = np.maximum(resized(true, size) + disturbance, 0)
        candidates.append((psf / psf.sum()).astype(np.float32))
    cut = true_size // 2
    quality = [psnr(deblur(blurry, psf=p, device="cpu"), sharp[cut:-cut, cut:-cut]) for p in candidates]
    _, chosen = deblur(blurry, model=KnownPsfs(candidates), device="cpu", return_psf=True)
    won = quality[(9, 17, 25).index(len(chosen))] - min(quality)
    assert won > 2 / 3 * (max(quality) - min(quality))
    assert max(quality) > min(quality) + 5  # it mattered


def test_sizes_without_a_trained_stage_are_not_used(colour, psf):
    network = KnownPsfs([resized(psf, 9), psf, resized(psf, 25)])
    network.active[...] = 1
    _, chosen = deblur(colour[1][..., 0], model=network, device="cpu", return_psf=True)
    assert len(chosen) == 9
    with pytest.raises(DeconvnetError, match="no PSF size 25: use 9 or auto"):
        deblur(colour[1], model=network, psf_size=25, device="cpu")


def test_asked_size_is_taken(colour, psf):
    network = KnownPsfs([resized(psf, 9), psf, resized(psf, 25)])
    for size in (9, "17", 25):
        _, chosen = deblur(colour[1][..., 0], model=network, psf_size=size, device="cpu", return_psf=True)
        assert len(chosen) == int(size)


def test_part_of_a_pyramid_sees_the_photo_at_full_resolution(pyramid):
    grey = np.random.default_rng(1).random((1, 60, 70), dtype=np.float32)
    part = network_of_size(pyramid, 9)
    alone = Pyramid(scales=pyramid.config["scales"][:1], rng=np.random.default_rng(5))
    alone.load_state(part.state())
    np.testing.assert_array_equal(part.estimate_psf(grey)[-1][-1], alone.estimate_psf(grey)[-1][-1])
    assert len(pyramid.estimate_psf(grey)) == 2  # the whole is as it was
    assert network_of_size(pyramid, 13) is pyramid


def test_varying_blur_runs_through_all_stages(pyramid, colour):
    grey = skimage.data.camera()[:200, :260].astype(np.float32) / 255
    picture, psfs = deblur(grey, model=pyramid, psf_size=13, varying=True, device="cpu", return_psf=True)
    assert picture.shape == grey.shape
    assert psfs.shape == (3, 4, 13, 13)
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, atol=1e-5)
    assert np.isfinite(picture).all()


def _with_nan(shape):
    image = np.random.default_rng(0).random(shape)
    image[3, 4] = np.nan
    return image


PHOTO = np.random.default_rng(0).random((64, 70))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (PHOTO, {}, "train one with python -m train.single"),
        (PHOTO, {"model": type("Burst", (), {"kind": "burst", "to": None})()}, "the model is for a burst"),
        (np.full((64, 64, 3), 0.3), {"psf": np.ones((5, 5))}, "constant"),
        (_with_nan((64, 64)), {"psf": np.ones((5, 5))}, "not finite"),
        (PHOTO * 2, {"psf": np.ones((5, 5))}, "outside [0, 1]"),
        (PHOTO.astype(complex), {"psf": np.ones((5, 5))}, "the type complex128"),
        (PHOTO[None], {"psf": np.ones((5, 5))}, "the shape (1, 64, 70)"),
        (PHOTO, {"psf": np.ones((33, 33))}, "needs twice its size"),
        (PHOTO, {"psf": np.ones((5, 5, 3))}, "one channel"),
        (PHOTO, {"psf": np.zeros((5, 5))}, "not only zeros"),
        (PHOTO, {"psf": np.ones((5, 5)), "varying": True}, "varying"),
        (PHOTO, {"psf": np.ones((5, 5)), "nonblind": "magic"}, "unknown non-blind method"),
        (PHOTO, {"model": KnownPsfs([np.ones((35, 35))])}, "needs 70 on the shorter side"),
        (PHOTO, {"model": KnownPsfs([np.ones((35, 35))]), "psf_size": 35}, "needs 70 on the shorter side"),
        (PHOTO, {"model": KnownPsfs([np.ones((9, 9))]), "psf_size": 17}, "no PSF size 17: use 9 or auto"),
    ],
)
def test_what_cannot_be_used_is_refused(image, options, message):
    with pytest.raises(DeconvnetError) as refusal:
        deblur(image, device="cpu", **options)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def _run(*arguments):
    parser = argparse.ArgumentParser()
    add_photo(parser.add_subparsers())
    options = parser.parse_args(["photo", *map(str, arguments), "--device", "cpu", "--quiet"])
    options.run(options)


@pytest.fixture
def files(tmp_path, colour, psf):
    """Folder with a 16-bit photo, and the PSF as a picture."""
    from deconvnet.io import write_image

    write_image(tmp_path / "in.png", colour[1][..., 0], 16)
    write_image(tmp_path / "known.png", psf / psf.max(), 16)
    return tmp_path


def test_command_restores_with_a_known_psf_and_keeps_16_bits(files, colour):
    _run(files / "in.png", "-o", files / "out.png", "--psf", files / "known.png", "--psf-out", files / "psf.png")
    out = iio.imread(files / "out.png")
    assert out.dtype == np.uint16
    assert psnr(out / 65535, colour[0][..., 0]) > psnr(colour[1][..., 0], colour[0][..., 0]) + 4
    np.testing.assert_allclose(iio.imread(files / "psf.png"), iio.imread(files / "known.png"), atol=1)


def test_command_keeps_alpha(files, colour):
    eight = np.rint(colour[1] * 255).astype(np.uint8)
    alpha = np.tile(np.arange(eight.shape[1], dtype=np.uint8), (len(eight), 1))
    iio.imwrite(files / "rgba.png", np.dstack([eight, alpha]))
    _run(files / "rgba.png", "-o", files / "out.png", "--psf", files / "known.png", "--nonblind", "wiener")
    out = iio.imread(files / "out.png")
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[..., 3], alpha)


def test_command_estimates_with_a_model_and_draws_varying_psfs(files, pyramid):
    from deconvnet.networks.io import save_network

    save_network(files / "model.safetensors", pyramid)
    _run(files / "in.png", "-o", files / "out.jpg", "--model", files / "model.safetensors", "--varying",
         "--psf-size", 9, "--psf-out", files / "psf.png")  # fmt: skip
    assert iio.imread(files / "out.jpg").dtype == np.uint8
    assert min(iio.imread(files / "psf.png").shape[:2]) > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.png", "-o", "in.png", "--psf", "known.png"], "would replace what is read"),
        (["in.png", "-o", "nowhere/out.png", "--psf", "known.png"], "make it first"),
        (["in.png", "-o", "out.png", "--psf", "known.png", "--psf-out", "out.png"], "choose two names"),
        (["in.png", "-o", "out.png", "--psf", "known.png", "--varying"], "--varying"),
        (["in.png", "-o", "out.png"], "python -m train.single"),
        (["missing.png", "-o", "out.png", "--psf", "known.png"], "there is no file"),
    ],
)
def test_command_refuses_before_the_work(files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    with pytest.raises(DeconvnetError) as refusal:
        _run(*arguments)
    assert message in str(refusal.value)
    assert not (files / "out.png").exists()
