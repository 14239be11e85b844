"""Pictures larger than the memory: any window is what `read_image` has there, and rows that are written come back."""

import sys

import numpy as np
import pytest
import tifffile

from deconvnet.errors import DeconvnetError
from deconvnet.files import large
from deconvnet.files.large import LargePicture, can_be_read_by_windows, open_large, write_rows
from deconvnet.files.metadata import Metadata
from deconvnet.io import read_image, write_image

zarr = pytest.importorskip("zarr")
LAYOUTS = {
    "contiguous": {},
    "big-endian": {"byteorder": ">"},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 32), "compression": "lzw", "predictor": True},
    "planes": {"planarconfig": "separate", "tile": (16, 16)},
    "BigTIFF": {"bigtiff": True, "tile": (32, 16)},
}
WINDOWS = [(slice(0, 3), slice(0, 5)), (slice(11, 30), slice(20, 45)), (slice(0, None), slice(0, None))]


def _same_windows(path, alpha="white"):
    whole = read_image(path, keep_alpha=alpha == "kept").pixels
    with open_large(path, alpha=alpha) as picture:
        assert picture.shape == whole.shape
        for window in WINDOWS:
            np.testing.assert_allclose(picture[window], whole[window], atol=1e-7)
        part = picture.part(slice(5, 25), slice(7, 40))
        assert part.shape == whole[5:25, 7:40].shape
        np.testing.assert_allclose(part[2:9, 3:], whole[7:14, 10:40], atol=1e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_windows_of_tiff_files(tmp_path, rng, layout, dtype):
    values = (rng.random((50, 60, 3)) * (1 if dtype == "float32" else np.iinfo(dtype).max)).astype(dtype)
    stored = np.moveaxis(values, -1, 0) if layout == "planes" else values
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **LAYOUTS[layout])
    _same_windows(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}])
def test_windows_are_upright(tmp_path, rng, orientation, options):
    values = rng.integers(0, 65536, (50, 60, 3)).astype(np.uint16)
    tags = [(0x0112, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=tags, **options)
    _same_windows(tmp_path / "a.tif")


def test_windows_of_other_kinds(tmp_path, rng):
    grey, alpha = rng.integers(0, 4096, (50, 60)).astype(np.uint16), rng.integers(0, 256, (50, 60, 4)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "12.tif", grey, bitspersample=12, photometric="minisblack")
    tifffile.imwrite(tmp_path / "white.tif", grey, photometric="miniswhite", tile=(16, 16))
    tifffile.imwrite(tmp_path / "alpha.tif", alpha, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))
    for name in ("12.tif", "white.tif", "alpha.tif"):
        _same_windows(tmp_path / name)
    _same_windows(tmp_path / "alpha.tif", alpha="kept")
    with open_large(tmp_path / "alpha.tif", alpha="kept") as picture:
        assert picture.colours().shape == (50, 60, 3)
        np.testing.assert_array_equal(picture.colours()[:, :], picture[:, :][..., :3])


def test_windows_of_a_zarr_array(tmp_path, rng):
    values = rng.random((50, 60, 3)).astype(np.float32)
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(20, 20, 3))
    assert can_be_read_by_windows(tmp_path / "a.zarr")
    with open_large(tmp_path / "a.zarr") as picture:
        assert picture.bits == 32 and picture.shape == values.shape
        np.testing.assert_array_equal(picture[10:40, 5:50], values[10:40, 5:50])


def _bands(values):
    return (values[first : first + 13] for first in range(0, len(values), 13))


@pytest.mark.parametrize("suffix", [".tif", ".png", ".zarr"])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_rows_that_are_written_come_back(tmp_path, rng, suffix, channels, monkeypatch):
    monkeypatch.setattr(large, "TIFF_TILE", 32)
    monkeypatch.setattr(large, "ZARR_CHUNK", 20)
    values = rng.integers(0, 65536, (70, 90, *channels)).astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    write_rows(path, _bands(values), values.shape, values.dtype, Metadata())
    if suffix == ".zarr":
        stored = zarr.open_array(path, mode="r")
        assert stored.chunks[:2] == (20, 20)
        np.testing.assert_array_equal(stored[:], values)
    else:
        found = read_image(path, keep_alpha=True)
        np.testing.assert_array_equal(np.rint(found.pixels * 65535), values)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("big", [False, True])
def test_metadata_is_that_of_a_picture_written_at_once(tmp_path, rng, monkeypatch, big):
    from PIL import Image, ImageCms

    from deconvnet.files.metadata import exif_of, kept_exif
    from tests.files.test_metadata import INNER, MAIN, PLACE

    exif = Image.Exif()
    for tag, value in MAIN.items():
        exif[tag] = value.encode("latin-1")
    exif[0x8769], exif[0x8825] = {**INNER, 0xA005: {1: "R03"}}, PLACE
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = Metadata(kept_exif(exif_of(exif.tobytes())), profile).signed()
    values = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    monkeypatch.setattr(large, "BIG_TIFF", 0 if big else 2**40)
    write_image(tmp_path / "once.tif", values / 255, 8, metadata)
    write_rows(tmp_path / "rows.tif", _bands(values), values.shape, values.dtype, metadata)
    with tifffile.TiffFile(tmp_path / "rows.tif") as file:
        assert file.is_bigtiff == big and file.pages[0].is_tiled
    once, rows = (read_image(tmp_path / name) for name in ("once.tif", "rows.tif"))
    np.testing.assert_array_equal(once.pixels, rows.pixels)
    assert rows.metadata.profile == profile

    def plain(block):
        found = exif_of(block)
        return {tag: found[tag] for tag in MAIN}, *(dict(found.get_ifd(tag)) for tag in (0x8769, 0x8825, 0xA005))

    assert plain(rows.metadata.exif) == plain(once.metadata.exif) and all(plain(rows.metadata.exif))


def test_what_cannot_be_read_or_written_is_refused(tmp_path, rng, monkeypatch):
    values = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    monkeypatch.setattr(large, "LARGEST_PIECE", 1000)
    tifffile.imwrite(tmp_path / "piece.tif", values, photometric="rgb", compression="zlib", rowsperstrip=40)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((8, 8, 4), np.uint8), photometric="separated")
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((8, 8), np.uint32), photometric="minisblack")
    (tmp_path / "damaged.tif").write_bytes(b"II*\0 and nothing more")
    zarr.create_group(tmp_path / "group.zarr")
    zarr.create_array(tmp_path / "planes.zarr", data=np.zeros((3, 8, 9), np.uint8))
    for name, message in {
        "piece.tif": "compressed in pieces",
        "cmyk.tif": "no grey or RGB picture",
        "deep.tif": "32 bits",
        "damaged.tif": "no TIFF file or damaged",
        "group.zarr": "cannot be read as a Zarr array",
        "planes.zarr": "is wanted",
    }.items():
        with pytest.raises(DeconvnetError, match=message), open_large(tmp_path / name):
            pass
    with pytest.raises(DeconvnetError, match="is there already"):
        write_rows(tmp_path / "group.zarr", [values], values.shape, values.dtype, Metadata())
    wrong = LargePicture(np.full((3, 4), np.nan, np.float32), 1, Metadata())
    with pytest.raises(DeconvnetError, match="holds values that are none of"):
        wrong[0:2, 0:2]

    def broken():
        yield values[:20]
        raise DeconvnetError("no more")

    before = sorted(tmp_path.iterdir())
    for suffix in (".tif", ".zarr", ".png"):
        with pytest.raises(DeconvnetError, match="no more"):
            write_rows(tmp_path / f"half{suffix}", broken(), values.shape, values.dtype, Metadata())
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DeconvnetError, match=r"pip install 'deconvnet\[tiles\]'"), open_large(tmp_path / "group.zarr"):
        pass
