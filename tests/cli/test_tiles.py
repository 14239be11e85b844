"""Photographs in tiles from the command line: what is written is what the whole photograph gives."""

import json

import numpy as np
import pytest
import tifffile

from deconvnet.blur.convolve import convolve
from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image
from deconvnet.restore.photo import tiles
from deconvnet.work import items

KNOWN = ["--nonblind", "wiener", "--noise", "0.01", "--device", "cpu", "--quiet"]


@pytest.fixture
def blurred(tmp_path, rng, monkeypatch):
    """A blurred photograph (H, W, 4), its alpha a ramp, as floats and as a tiled TIFF of 16 bits; its PSF as a file."""
    from skimage import data

    psf = np.zeros((7, 7), np.float32)
    psf[3], psf[2:5, 5] = 1, 1
    psf /= psf.sum()
    sharp = np.ascontiguousarray(data.astronaut()[100:300, 100:350].astype(np.float32).transpose(2, 0, 1)) / 255
    blurry = convolve(sharp, psf, border="reflect").transpose(1, 2, 0)
    alpha = np.broadcast_to(np.linspace(0, 1, 250, dtype=np.float32), (200, 250))[..., None]
    stored = np.rint(np.concatenate([blurry, alpha], -1).clip(0, 1) * 65535).astype(np.uint16)
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (64, 64)}
    tifffile.imwrite(tmp_path / "in.tif", stored, **options)
    write_image(tmp_path / "psf.png", psf / psf.max(), 16)
    monkeypatch.setattr(tiles.deblur_rows, "__kwdefaults__", {**tiles.deblur_rows.__kwdefaults__, "tile": 64})
    return tmp_path


def _restored(folder, name, *options, source="in.tif"):
    psf = ["--psf", str(folder / "psf.png")]
    assert main(["photo", str(folder / source), "-o", str(folder / name), *psf, *KNOWN, *options]) == 0
    return folder / name


def _alike(found, expected):
    """The same but for what so few steps leave open at the picture's border."""
    assert found.shape == expected.shape
    difference = abs(found - expected)[12:-12, 12:-12] * 255
    assert difference.mean() < 0.1 and np.quantile(difference, 0.98) < 1


def test_tiles_of_a_tiff_are_the_whole_picture_with_its_alpha_depth_and_rights(blurred):
    pytest.importorskip("zarr")
    once = read_image(_restored(blurred, "once.tif"), keep_alpha=True)
    found = read_image(_restored(blurred, "tiles.tif", "--tiles"), keep_alpha=True)
    assert found.bits == once.bits == 16 and found.metadata == once.metadata
    _alike(found.pixels, once.pixels)
    np.testing.assert_array_equal(found.pixels[..., 3], once.pixels[..., 3])
    with tifffile.TiffFile(blurred / "tiles.tif") as file:
        assert file.pages[0].is_tiled


def test_a_part_and_from_zarr_to_zarr(blurred, capsys):
    zarr = pytest.importorskip("zarr")
    whole = read_image(_restored(blurred, "once.png", "--only", "20,30,180,120"), keep_alpha=True).pixels
    _restored(blurred, "tiles.zarr", "--tiles", "--only", "20,30,180,120")
    found = zarr.open_array(blurred / "tiles.zarr", mode="r")
    assert found.dtype == np.uint16
    _alike(found[:] / 65535, whole)
    again = _restored(blurred, "again.tif", "--tiles", "--json", "--bits", "8", source="tiles.zarr")
    assert json.loads(capsys.readouterr().out)["width"] == 180
    assert read_image(again).bits == 8
    assert main(["photo", str(blurred / "in.tif"), "-o", str(blurred / "tiles.zarr"), "--tiles", *KNOWN]) == 2
    assert "is there already" in capsys.readouterr().err


def test_large_photos_of_any_format_are_restored_in_tiles(blurred, monkeypatch):
    write_image(blurred / "in.png", read_image(blurred / "in.tif").pixels)
    once = read_image(_restored(blurred, "once.png", source="in.png")).pixels
    monkeypatch.setattr(items, "LARGE", 30_000)
    seen = []
    monkeypatch.setattr(tiles, "_weighted_tile", lambda *a, f=tiles._weighted_tile: seen.append(a[2]) or f(*a))
    found = read_image(_restored(blurred, "tiles.png", source="in.png")).pixels
    assert len(seen) == 16
    _alike(found, once)


def test_what_cannot_be_done_in_tiles_is_refused_in_one_line(blurred, capsys):
    (blurred / "folder").mkdir()
    for source, output, message in [
        ("folder", "a.tif", "there is no file"),
        ("in.tif", "a.gif", "the name must end in"),
        ("in.tif", "nowhere/a.zarr", "there is no folder"),
    ]:
        options = ["--psf", str(blurred / "psf.png"), "--tiles", *KNOWN]
        assert main(["photo", str(blurred / source), "-o", str(blurred / output), *options]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert main(["photo", str(blurred / "in.tif"), "-o", str(blurred / "a.zarr"), *KNOWN]) == 2
    assert "the name must end in" in capsys.readouterr().err
