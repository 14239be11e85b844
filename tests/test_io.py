"""Pictures on disk: bit depths, orientation, transparency, refusals, and nothing half-written."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

import deconvnet.io as pictures
from deconvnet.errors import DeconvnetError
from deconvnet.io import check_writable, list_pictures, read_image, write_image


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_8_bits_survive_a_round_trip(tmp_path, rng, suffix, shape):
    whole = rng.integers(0, 256, shape)
    write_image(tmp_path / f"a{suffix}", (whole / 255).astype(np.float32))
    pixels, bits, _ = read_image(tmp_path / f"a{suffix}")
    assert bits == 8 and pixels.dtype == np.float32
    np.testing.assert_array_equal(np.rint(pixels * 255), whole)


@pytest.mark.parametrize(
    ("suffix", "shape"), [(".png", (7, 9)), (".png", (7, 9, 3)), (".tif", (7, 9)), (".tif", (7, 9, 3))]
)
def test_16_bits_survive_a_round_trip(tmp_path, rng, suffix, shape):
    whole = rng.integers(0, 65536, shape)
    write_image(tmp_path / f"a{suffix}", whole / 65535, bits=16)
    pixels, bits, _ = read_image(tmp_path / f"a{suffix}")
    assert bits == 16
    np.testing.assert_array_equal(np.rint(pixels * 65535.0), whole)


def test_16_bit_colour_png_is_a_valid_file(tmp_path, rng):
    whole = rng.integers(0, 65536, (8, 5, 3))
    write_image(tmp_path / "a.png", whole / 65535, bits=16)
    data = (tmp_path / "a.png").read_bytes()
    assert data[24:26] == b"\x10\x02"  # 16 bits, colour
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), whole >> 8)  # Pillow's own 8 bits of it


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_near(tmp_path, suffix):
    smooth = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 64, axis=0) * np.ones(3, np.float32)
    write_image(tmp_path / f"a{suffix}", smooth)
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}").pixels, smooth, atol=0.03)


def test_values_outside_the_unit_range_are_clipped(tmp_path):
    write_image(tmp_path / "a.png", np.array([[-0.5, 1.5]]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, [[0, 1]])


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    array = np.zeros((16, 32, 3), dtype=np.uint8)
    array[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90°
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels * 255, np.rot90(array, -1))


def test_transparent_parts_are_laid_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0] = 255
    rgba[0, :, 3] = 255, 0, 51
    iio.imwrite(tmp_path / "a.png", rgba)
    np.testing.assert_allclose(
        read_image(tmp_path / "a.png").pixels, [[[1, 0, 0], [1, 1, 1], [1, 0.8, 0.8]]], atol=1e-6
    )


@pytest.mark.parametrize(
    ("suffix", "bits", "tolerance"), [(".png", 8, 0), (".tif", 8, 0), (".tif", 16, 0), (".webp", 8, 0.05)]
)
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_survives_a_round_trip_if_asked(tmp_path, suffix, bits, tolerance, channels):
    smooth = np.linspace(0.2, 0.8, 32)[:, None, None] * np.ones((32, 40, channels))
    smooth[..., -1] = np.linspace(0, 1, 40)
    largest = 2**bits - 1
    write_image(tmp_path / f"a{suffix}", smooth, bits)
    pixels, found, _ = read_image(tmp_path / f"a{suffix}", keep_alpha=True)
    assert found == bits
    np.testing.assert_array_equal(np.rint(pixels[..., -1] * largest), np.rint(smooth[..., -1] * largest))
    opaque = smooth[..., -1] > 0.1  # WebP forgets what cannot be seen
    wanted = np.rint(smooth[..., :1] * largest) / largest
    assert np.abs(pixels[..., :1] - wanted)[opaque].max() <= tolerance + 1e-6
    assert read_image(tmp_path / f"a{suffix}").pixels.ndim == (2 if channels == 2 and suffix != ".webp" else 3)


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_png_with_alpha_is_a_valid_file(tmp_path, rng, channels):
    whole = rng.integers(0, 65536, (8, 5, channels))
    write_image(tmp_path / "a.png", whole / 65535, bits=16)
    pixels = read_image(tmp_path / "a.png", keep_alpha=True).pixels
    np.testing.assert_array_equal(np.rint(pixels * 65535.0), whole)


def test_a_picture_without_alpha_gets_none(tmp_path, rng):
    write_image(tmp_path / "a.png", rng.random((5, 6, 3)))
    assert read_image(tmp_path / "a.png", keep_alpha=True).pixels.shape == (5, 6, 3)


def test_alpha_is_refused_where_the_format_has_none(tmp_path, rng):
    with pytest.raises(DeconvnetError, match="cannot hold an alpha channel"):
        write_image(tmp_path / "a.jpg", rng.random((5, 6, 4)))
    assert not list(tmp_path.iterdir())


def test_palettes_and_cmyk_are_read_as_colour(tmp_path):
    picture = Image.new("RGB", (8, 8), (255, 0, 0))
    picture.quantize(4).save(tmp_path / "a.png")
    picture.convert("CMYK").save(tmp_path / "b.jpg")
    for name in ("a.png", "b.jpg"):
        np.testing.assert_allclose(read_image(tmp_path / name).pixels[4, 4], [1, 0, 0], atol=0.02)


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("no\npicture")
    write_image(tmp_path / "whole.png", np.random.default_rng(0).random((64, 64)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:600])
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    iio.imwrite(tmp_path / "float.tif", np.full((4, 4), 7.5, dtype=np.float32))
    for name in ("text.png", "cut.png", "text.tif", "empty.jpg", "float.tif", "missing.png", "."):
        with pytest.raises(DeconvnetError) as refusal:
            read_image(tmp_path / name)
        assert "\n" not in str(refusal.value) and str(tmp_path) in str(refusal.value)


def test_a_folder_is_listed_by_name_without_strangers(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "c.part"):
        (tmp_path / name).touch()
    assert [f.name for f in list_pictures(tmp_path)] == ["a.png", "b.JPG"]
    (tmp_path / "inner").mkdir()
    with pytest.raises(DeconvnetError, match="no pictures in"):
        list_pictures(tmp_path / "inner")
    with pytest.raises(DeconvnetError, match="cannot be read"):
        list_pictures(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "bits", "message"),
    [
        ("a.gif", 8, "must end in"),
        ("a", 8, "must end in"),
        ("a.jpg", 16, "cannot hold 16 bits"),
        ("nowhere/a.png", 8, "make it first"),
        ("folder.png", 8, "is a folder"),
        ("file/a.png", 8, "no folder"),
    ],
)
def test_names_that_cannot_be_written_are_refused_beforehand(tmp_path, name, bits, message):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DeconvnetError, match=message):
        check_writable(tmp_path / name, bits)


def test_a_folder_that_refuses_files_is_told(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pictures.Path, "touch", refuse)
    with pytest.raises(DeconvnetError, match="cannot be written: Permission denied"):
        check_writable(tmp_path / "a.png")


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_picture_and_leaves_nothing_behind(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((4, 4)))
    before = (tmp_path / "a.png").read_bytes()

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.Path, "write_bytes", full)
    with pytest.raises(DeconvnetError, match="No space left"):
        write_image(tmp_path / "a.png", np.ones((4, 4)))
    with pytest.raises(DeconvnetError, match="not finite"):
        write_image(tmp_path / "a.png", np.full((4, 4), np.nan))
    assert (tmp_path / "a.png").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]
