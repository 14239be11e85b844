"""Cameras' RAW: restored in linear light, written with the curve of sRGB."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deconvnet.blur.camera import linear_to_srgb
from deconvnet.blur.convolve import convolve
from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image
from deconvnet.metrics import psnr
from deconvnet.restore.photo.deblur import deblur
from tests.files.dng import write_dng

pytest.importorskip("rawpy", reason="needs the extra raw")
PSF = np.eye(7, dtype=np.float32) / 7


@pytest.fixture
def scene(camera):
    """Linear light (150, 180) with dark and bright parts, without detail that a mosaic cannot show."""
    return 0.02 + 0.9 * gaussian_filter(camera[60:210, 40:220], 1.2) ** 2.2


def test_a_photo_is_restored_in_linear_light(tmp_path, scene):
    blurry = convolve(scene, PSF.astype(float), border="reflect").clip(0, 1)
    write_dng(tmp_path / "a.dng", np.rint(blurry * 65535).astype(np.uint16))
    write_image(tmp_path / "psf.png", PSF * 7)
    arguments = ["photo", str(tmp_path / "a.dng"), "--psf", str(tmp_path / "psf.png"), "--quiet"]
    assert main([*arguments, "-o", str(tmp_path / "out.tif")]) == 0
    found = read_image(tmp_path / "out.tif")
    light = read_image(tmp_path / "a.dng", linear_raw=True).pixels
    expected = linear_to_srgb(deblur(light, psf=PSF)).clip(0, 1)
    assert found.bits == 16 and len(np.unique(found.pixels)) > 1000
    np.testing.assert_allclose(found.pixels, expected, atol=1e-3)
    write_dng(tmp_path / "sharp.dng", np.rint(scene * 65535).astype(np.uint16))
    truth = read_image(tmp_path / "sharp.dng").pixels
    stored = deblur(read_image(tmp_path / "a.dng").pixels, psf=PSF)
    scores = [psnr(picture, truth, border=12) for picture in (found.pixels, stored, linear_to_srgb(light))]
    assert scores[0] > scores[1] + 1 and scores[0] > scores[2] + 4, scores


def test_frames_of_a_burst_are_srgb(tmp_path, scene):
    for name, exposure in (("a", 0.5), ("b", 1.0)):
        write_dng(tmp_path / f"{name}.dng", np.rint(exposure * scene * 65535).astype(np.uint16))
    out = tmp_path / "out.png"
    options = ["--method", "mean", "--no-register", "--quiet", "-o", str(out)]
    assert main(["burst", str(tmp_path / "a.dng"), str(tmp_path / "b.dng"), *options]) == 0
    stored = [read_image(tmp_path / f"{name}.dng").pixels for name in "ab"]
    found = read_image(out)
    assert found.bits == 16
    np.testing.assert_allclose(found.pixels, (stored[0] + stored[1]) / 2, atol=1e-3)


def test_raw_and_other_frames_are_not_mixed(tmp_path, scene, capfd):
    write_dng(tmp_path / "a.dng", np.rint(scene * 65535).astype(np.uint16))
    write_dng(tmp_path / "b.dng", np.rint(scene * 65535).astype(np.uint16))
    write_image(tmp_path / "c.png", np.repeat(scene[..., None], 3, axis=-1))
    options = ["--method", "mean", "--no-register", "--quiet", "-o", str(tmp_path / "out.png")]
    assert main(["burst", *(str(tmp_path / name) for name in ("a.dng", "b.dng", "c.png")), *options]) == 0
    assert "only one is RAW" in capfd.readouterr().err
