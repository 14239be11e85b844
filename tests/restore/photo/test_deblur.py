"""A photograph becomes sharp: known and estimated PSFs, choice of the size, alpha, refusals, command line."""

import argparse

import imageio.v3 as iio
import numpy as np
import pytest
import skimage.data

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.cli.photo import add_photo
from deconvnet.errors import DeconvnetError
from deconvnet.io import read_image, write_image
from deconvnet.metrics import psnr
from deconvnet.networks.io import save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, REFINED_PSF, deconvolve
from deconvnet.restore.photo.deblur import deblur
from deconvnet.restore.photo.psf_cleanup import clean_psf
from deconvnet.restore.photo.varying import choose_grid


def resized(psf, size):
    """A square PSF of odd side cropped or padded to another odd side."""
    gap = (size - len(psf)) // 2
    psf = np.pad(psf, gap) if gap >= 0 else psf[-gap:gap, -gap:gap]
    return psf / psf.sum()


class KnownPsfs:
    """Stands for a trained pyramid: gives the PSFs it was made with."""

    kind, name = "photo", "known"

    def __init__(self, psfs):
        self.psfs = {len(psf): psf for psf in psfs}

    def to(self, device):
        return self

    def trained_sizes(self):
        return list(self.psfs)

    def up_to(self, psf_size):
        return KnownPsfs([self.psfs[psf_size]])

    def estimate_psf(self, grey):
        return [[psf[None].astype(grey.dtype)] for psf in self.psfs.values()]


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


@pytest.mark.parametrize(("refine", "psf_error"), [(True, REFINED_PSF), (False, ESTIMATED_PSF)])
def test_the_psf_is_used_for_every_channel_and_trusted_as_it_was_found(colour, psf, refine, psf_error):
    sharp, blurry = colour
    picture, used = deblur(blurry, model=KnownPsfs([psf]), refine=refine, device="cpu", return_psf=True)
    np.testing.assert_array_equal(picture, np.clip(deconvolve(blurry, used, psf_error=psf_error), 0, 1))
    channels = [np.ascontiguousarray(blurry[..., c]) for c in range(3)]
    alone = np.stack([deconvolve(channel, used, psf_error=psf_error) for channel in channels], axis=-1).clip(0, 1)
    assert psnr(picture, sharp) > psnr(alone, sharp) - 0.1


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


def test_an_estimated_psf_is_cleaned_and_a_known_one_is_not(colour, psf):
    speckled = psf + np.float32(0.03 * psf.max())
    grey = colour[1][..., 0]
    _, used = deblur(grey, model=KnownPsfs([speckled]), refine=False, device="cpu", return_psf=True)
    np.testing.assert_allclose(used, clean_psf(speckled), rtol=1e-5)
    raw = {"psf_threshold": 0, "refine": False}
    _, used = deblur(grey, model=KnownPsfs([speckled]), **raw, device="cpu", return_psf=True)
    np.testing.assert_allclose(used, speckled / speckled.sum(), rtol=1e-5)
    _, used = deblur(grey, psf=speckled, device="cpu", return_psf=True)
    np.testing.assert_allclose(used, speckled / speckled.sum(), rtol=1e-5)


def test_sizes_without_a_trained_stage_are_not_used(pyramid, colour):
    network = Pyramid(scales=pyramid.config["scales"], rng=np.random.default_rng(0))
    network.grow(2)  # both stages of the first scale
    _, chosen = deblur(colour[1][..., 0], model=network, refine=False, device="cpu", return_psf=True)
    assert len(chosen) == 9
    with pytest.raises(DeconvnetError, match="no PSF size 13: use 9 or auto"):
        deblur(colour[1], model=network, psf_size=13, refine=False, device="cpu")


def test_asked_size_is_taken(colour, psf):
    network = KnownPsfs([resized(psf, 9), psf, resized(psf, 25)])
    for size in (9, "17", 25):
        _, chosen = deblur(colour[1][..., 0], model=network, psf_size=size, device="cpu", return_psf=True)
        assert len(chosen) == int(size)


def test_part_of_a_pyramid_sees_the_photo_at_full_resolution(pyramid):
    grey = np.random.default_rng(1).random((1, 60, 70), dtype=np.float32)
    part = pyramid.up_to(9)
    assert part.trained_sizes() == [9]
    alone = Pyramid(scales=pyramid.config["scales"][:1], rng=np.random.default_rng(5))
    alone.load_state(part.state())
    np.testing.assert_array_equal(part.estimate_psf(grey)[-1][-1], alone.estimate_psf(grey)[-1][-1])
    assert pyramid.trained_sizes() == [9, 13]
    whole = pyramid.estimate_psf(grey)
    assert len(whole) == 2  # the whole is as it was
    np.testing.assert_array_equal(pyramid.up_to(13).estimate_psf(grey)[-1][-1], whole[-1][-1])


def test_varying_blur_runs_through_all_stages(pyramid, colour):
    grey = skimage.data.camera()[:200, :260].astype(np.float32) / 255
    picture, psfs = deblur(grey, model=pyramid, psf_size=13, varying=True, device="cpu", return_psf=True)
    assert picture.shape == grey.shape
    assert psfs.shape == (3, 4, 13, 13)
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, atol=1e-5)
    assert np.isfinite(picture).all()


@pytest.mark.parametrize("size", [7, 11])
def test_refined_varying_psfs_may_have_sizes_that_the_network_lacks(pyramid, size):
    grey = skimage.data.camera()[:120, :150].astype(np.float32) / 255
    options = {"model": pyramid, "psf_size": size, "varying": True, "nonblind": "wiener", "device": "cpu"}
    picture, psfs = deblur(grey, return_psf=True, **options)
    assert psfs.shape == (*choose_grid(grey.shape, size), size, size)
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, atol=1e-5)
    assert np.isfinite(picture).all()
    with pytest.raises(DeconvnetError, match=f"no PSF size {size}"):
        deblur(grey, refine=False, **options)


def _with_nan(shape):
    image = np.random.default_rng(0).random(shape)
    image[3, 4] = np.nan
    return image


PHOTO = np.random.default_rng(0).random((64, 70))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
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
        (
            PHOTO,
            {"model": KnownPsfs([np.ones((9, 9))]), "psf_size": 17, "refine": False},
            "no PSF size 17: use 9 or auto",
        ),
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


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_command_keeps_alpha_of_16_bits(files, colour, suffix):
    alpha = np.tile(np.linspace(0, 1, colour[1].shape[1]), (len(colour[1]), 1))
    write_image(files / "rgba.tif", np.dstack([colour[1], alpha]), 16)
    _run(files / "rgba.tif", "-o", files / f"out{suffix}", "--psf", files / "known.png", "--nonblind", "wiener")
    out = read_image(files / f"out{suffix}", keep_alpha=True).pixels
    np.testing.assert_allclose(out[..., 3], alpha, atol=1 / 255 if suffix == ".png" else 1e-5)


def test_command_lays_a_transparent_photo_on_white_where_the_format_has_no_alpha(files, colour):
    rgba = np.rint(np.dstack([colour[1], np.ones(colour[1].shape[:2])]) * 255).astype(np.uint8)
    rgba[:40, :, 3] = 0
    iio.imwrite(files / "rgba.png", rgba)
    _run(files / "rgba.png", "-o", files / "out.jpg", "--psf", files / "known.png", "--nonblind", "wiener")
    out = iio.imread(files / "out.jpg")
    assert out.shape[-1] == 3
    assert out[:20].min() > 240


def test_command_estimates_with_a_model_and_draws_varying_psfs(files, pyramid):
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
        (["in.png", "-o", "out.png", "--model", "nobody"], "nobody"),
        (["in.png", "-o", "out.png", "--model", "burst"], "is a model for a burst"),
        (["in.png", "-o", "out.png", "--model", "photo.safetensors", "--psf-size", "12"], "odd and at least 3"),
        (["in.png", "-o", "out.png", "--model", "photo.safetensors", "--psf-size", "11", "--no-refine"], "no PSF size"),
        (["in.png", "-o", "out.png", "--model", "photo.safetensors", "--psf-sharpen", "9"], "--psf-sharpen"),
        (["small.png", "-o", "out.png", "--model", "photo.safetensors"], "needs 18 on the shorter side"),
        (["small.png", "-o", "out.png", "--psf", "known.png"], "needs twice its size"),
        (["flat.png", "-o", "out.png", "--psf", "known.png"], "constant"),
        (["in.png", "-o", "out.png", "--psf", "known.png", "--noise", "0"], "noise level"),
        (["missing.png", "-o", "out.png", "--psf", "known.png"], "there is no file"),
    ],
)
def test_command_refuses_before_the_work(files, pyramid, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    save_network("photo.safetensors", pyramid)
    write_image("small.png", np.random.default_rng(0).random((17, 60)))
    write_image("flat.png", np.full((64, 64, 3), 0.5))
    with pytest.raises(DeconvnetError) as refusal:
        _run(*arguments)
    assert message in str(refusal.value)
    assert not (files / "out.png").exists()
