"""Formats as they come: depths, palettes, pages, telephones' and cameras' own, and what is said of those that fail."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

import deconvnet.io as io_module
from deconvnet.errors import DeconvnetError
from deconvnet.io import check_writable, depth_for, read_image, write_image
from tests.files.dng import write_dng


@pytest.fixture
def smooth():
    """A colour picture of 40×48 pixels that lossy formats hold well: float32 in [0, 1]."""
    rows, columns = np.mgrid[:40, :48] / 48
    return np.stack([rows, columns, 1 - rows], axis=-1).astype(np.float32)


def _refusal(path):
    with pytest.raises(DeconvnetError) as refusal:
        read_image(path)
    line = str(refusal.value)
    assert "\n" not in line and path.name in line
    return line


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_float_tiff_is_read_as_it_is(tmp_path, rng, dtype, shape):
    values = rng.random(shape).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if len(shape) == 3 else "minisblack")
    pixels, bits, _ = read_image(tmp_path / "a.tif")
    assert bits == 32
    np.testing.assert_array_equal(pixels, values.astype(np.float32))


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
def test_float_tiff_survives_a_round_trip(tmp_path, rng, shape):
    values = rng.random(shape).astype(np.float32)
    write_image(tmp_path / "a.tif", values, 32)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", keep_alpha=True).pixels, values)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_compressed_and_planar_tiff_of_16_bits(tmp_path, rng, compression, planar):
    whole = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    stored = whole if planar == "contig" else np.moveaxis(whole, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, compression=compression)
    np.testing.assert_array_equal(np.rint(read_image(tmp_path / "a.tif").pixels * 65535), whole)


def test_12_bits_reach_white_and_white_may_be_zero(tmp_path):
    twelve = np.array([[0, 4095], [2048, 1]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", twelve, bitspersample=12)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels, twelve / 4095, atol=1e-6)
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 65535]], np.uint16), photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").pixels, [[1, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png16", "tiff8", "tiff16", "tifffloat"])
def test_every_orientation_is_applied(tmp_path, orientation, kind):
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:8, :16] = 255  # a mark in the corner, longer than high
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.jpg" if kind == "jpeg" else "a.png" if kind == "png16" else "a.tif")
    if kind == "jpeg":
        Image.fromarray(stored).save(path, exif=exif, quality=100)
    elif kind == "png16":
        import imagecodecs
        from PIL.PngImagePlugin import putchunk

        data, chunk = imagecodecs.png_encode(stored.astype(np.uint16) * 257), io.BytesIO()
        putchunk(chunk, b"eXIf", exif.tobytes()[6:])
        path.write_bytes(data[:33] + chunk.getvalue() + data[33:])
    else:
        deep = stored if kind == "tiff8" else stored.astype(np.uint16) * 257
        deep = (stored / 255).astype(np.float32) if kind == "tifffloat" else deep
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)])
    # By the standard: where the stored picture's first row and first column are seen.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    picture = read_image(path)
    np.testing.assert_allclose(picture.pixels, upright / 255, atol=0.02)
    write_image(tmp_path / "again.png", picture.pixels, metadata=picture.metadata)
    assert Image.open(tmp_path / "again.png").getexif().get(0x0112, 1) == 1


def test_palettes_keep_their_transparency(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 255, 255, 255, 0, 0])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "a.png", transparency=0)
    pixels = read_image(tmp_path / "a.png", keep_alpha=True).pixels
    assert pixels.shape == (8, 8, 4)
    np.testing.assert_array_equal(pixels[0, 0, 3], 0)
    np.testing.assert_array_equal(pixels[4, 4], [1, 0, 0, 1])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr", "LAB"])
def test_modes_of_tiff(tmp_path, mode):
    red = Image.new("RGB", (16, 16), (204, 51, 51))  # a colour that the web palette has
    if mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(red, transform)
    else:
        image = red.convert(mode)
    image.save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif").pixels
    wanted = np.asarray(red.convert("L")) if mode in ("L", "LA") else np.asarray(red)
    assert mode == "1" or np.abs(pixels - wanted / 255).max() < 0.02


def test_transparent_colours_are_alpha(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert read_image(tmp_path / "a.png", keep_alpha=True).pixels[..., 3].max() == 0


def test_of_several_pages_or_frames_the_first_is_used_and_that_is_said(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        with pytest.warns(UserWarning, match="3 pages or frames: the first one is used"):
            np.testing.assert_array_equal(read_image(tmp_path / name).pixels[0, 0], [1, 0, 0])
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((3, 8, 8), np.uint16), photometric="minisblack")
    with pytest.warns(UserWarning, match="3 pages"):
        assert read_image(tmp_path / "deep.tif").pixels.shape == (8, 8)


def test_a_telephones_second_picture_is_no_page(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.jpg").pixels[0, 0, 0] > 0.9


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_telephones_formats_go_round(tmp_path, smooth, suffix):
    pytest.importorskip("pillow_heif")
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth)
    pixels, bits, _ = read_image(path)
    assert bits == 8
    np.testing.assert_allclose(pixels, smooth, atol=0.04)
    path.rename(tmp_path / "wrong name.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "wrong name.jpg").pixels, pixels)


def test_a_pillow_without_avif_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(io_module, "_has_avif", lambda: False)
    with pytest.raises(DeconvnetError, match="has no AVIF"):
        check_writable(tmp_path / "a.avif")


def test_heic_of_10_bits_has_more_than_256_levels(tmp_path, smooth):
    pillow_heif = pytest.importorskip("pillow_heif")
    deep = (smooth * 65535).astype(np.uint16)
    picture = pillow_heif.from_bytes("RGB;16", (48, 40), deep.tobytes())
    picture.save(tmp_path / "a.heic", quality=-1)
    pixels, bits, _ = read_image(tmp_path / "a.heic")
    assert bits == 16
    np.testing.assert_allclose(pixels, smooth, atol=0.04)
    assert len(np.unique(pixels)) > 256


def test_raw_is_read_with_16_bits_and_the_cameras_words(tmp_path):
    pytest.importorskip("rawpy")
    from deconvnet.files.metadata import exif_of

    ramp = np.repeat(np.linspace(2000, 60000, 160)[None], 120, axis=0).astype(np.uint16)
    write_dng(tmp_path / "a.dng", ramp)
    pixels, bits, metadata = read_image(tmp_path / "a.dng")
    assert bits == 16 and pixels.shape == (120, 160, 3) and len(np.unique(pixels[60, :, 1])) > 140
    grey = pixels[60, 10:-10, 1]
    linear = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    slope = np.polyfit(ramp[60, 10:-10] / 65535, linear, 1)
    assert np.abs(np.polyval(slope, ramp[60, 10:-10] / 65535) - linear).max() < 0.01  # sRGB of linear light
    exif = exif_of(metadata.exif)
    assert exif[0x010F] == "Maker" and exif[0x0132] == "2026:11:24 10:00:00"
    (tmp_path / "b.nef").write_bytes(b"no RAW file at all")
    assert "damaged" in _refusal(tmp_path / "b.nef")


@pytest.mark.parametrize(("name", "module", "extra"), [("a.nef", "rawpy", "raw"), ("a.heic", "pillow_heif", "heif")])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    assert f"deconvnet[{extra}]" in _refusal(tmp_path / name)
    if extra == "heif":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(DeconvnetError, match=r"deconvnet\[heif\]"):
            check_writable(tmp_path / "out.heic")


def test_the_reason_is_named(tmp_path, smooth, monkeypatch):
    (tmp_path / "empty.jpg").touch()
    assert "is empty" in _refusal(tmp_path / "empty.jpg")
    (tmp_path / "text.png").write_text("no picture\nat all")
    assert "no picture in a format that is known here" in _refusal(tmp_path / "text.png")
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        write_image(tmp_path / name, np.random.default_rng(0).random((64, 64, 3)), 16 if name == "a.tif" else 8)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert "cannot be read as a picture" in _refusal(tmp_path / name)
    write_image(tmp_path / "deep.png", np.random.default_rng(0).random((64, 64, 3)), 16)
    whole = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(whole[: len(whole) // 2])
    assert "cut off" in _refusal(tmp_path / "deep.png")
    for value, word in ((np.nan, "not finite"), (7.5, "scale them")):
        tifffile.imwrite(tmp_path / "float.tif", np.full((4, 4, 3), value, np.float32), photometric="rgb")
        assert word in _refusal(tmp_path / "float.tif")
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((4, 4, 4), np.uint16), photometric="separated")
    assert "neither grey nor RGB" in _refusal(tmp_path / "cmyk.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_image(tmp_path / "large.png", smooth)
    write_image(tmp_path / "large.tif", smooth, 16)
    assert "is too large" in _refusal(tmp_path / "large.png")
    assert "is too large (48×40 pixels)" in _refusal(tmp_path / "large.tif")


def test_a_bomb_is_refused_by_its_header(tmp_path):
    write_image(tmp_path / "bomb.png", np.zeros((4, 4)))
    data = bytearray((tmp_path / "bomb.png").read_bytes())
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "bomb.png").write_bytes(data)
    assert "up to 179 megapixels are read" in _refusal(tmp_path / "bomb.png")


def test_the_content_decides_not_the_name(tmp_path, smooth):
    for suffix, bits in ((".png", 16), (".tif", 16), (".jpg", 8)):
        write_image(tmp_path / f"a{suffix}", smooth, bits)
        (tmp_path / f"a{suffix}").rename(tmp_path / "a.bmp")
        assert read_image(tmp_path / "a.bmp").bits == bits


def test_the_depth_follows_the_input_as_far_as_the_format_goes():
    found = {name: [depth_for(name, bits) for bits in (8, 16, 32)] for name in ("a.jpg", "a.png", "a.TIF")}
    assert found == {"a.jpg": [8, 8, 8], "a.png": [8, 16, 16], "a.TIF": [8, 16, 32]}


def test_reading_a_jpeg_loads_no_other_library(tmp_path, smooth):
    write_image(tmp_path / "a.jpg", smooth)
    code = (
        f"import sys; from deconvnet.io import read_image; read_image({str(tmp_path / 'a.jpg')!r}); "
        "print([m for m in ('tifffile', 'imagecodecs', 'rawpy', 'pillow_heif', 'imageio') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
