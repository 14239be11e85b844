"""EXIF and colour profiles come out as they went in, whatever the two formats are."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from deconvnet.files.metadata import Metadata, capture_time, exif_of, read_exif, written_here
from deconvnet.io import read_image, write_image

SUFFIXES = {
    ".jpg": 8,
    ".png": 8,
    ".webp": 8,
    ".tif": 8,
    ".avif": 8,
    ".heic": 8,
    "16.png": 16,
    "16.tif": 16,
    "32.tif": 32,
}
MAIN = {0x010F: "Maker", 0x0110: "Model 7", 0x0131: "camera 1.0", 0x0132: "2026:11:24 10:00:00", 0x013B: "A. Author"}
MAIN[0x8298] = "© A. Author"
INNER = {
    0x829A: IFDRational(1, 15),
    0x829D: IFDRational(28, 10),
    0x8827: 800,
    0x9003: "2026:11:24 09:59:58",
    0x9291: "37",
    0x9204: IFDRational(-1, 3),
    0x920A: IFDRational(50, 1),
    0x927C: b"a maker's note \0\1\2",
    0xA434: "Lens 50 mm",
}
PLACE = {1: "N", 2: (48.0, 31.0, 12.5), 3: "E", 4: (9.0, 3.0, 4.25), 6: IFDRational(341, 1)}


@pytest.fixture
def profile():
    """An ICC profile that can be told from sRGB's: it has another identity."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[84:100] = b"another profile!"  # its identity
    return bytes(data)


@pytest.fixture
def photograph(tmp_path, profile):
    """A JPEG file with all that a camera writes, turned by its orientation."""
    exif = Image.Exif()
    for tag, value in MAIN.items():
        exif[tag] = value.encode("latin-1")
    exif[0x0112], exif[0x8769], exif[0x8825] = 6, {**INNER, 0xA002: 40, 0xA003: 30, 0xA005: {1: "R03"}}, PLACE
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    path = tmp_path / "photograph.jpg"
    Image.fromarray(pixels).save(path, exif=exif, icc_profile=profile)
    return path


def _plain(value):
    if isinstance(value, (tuple, list)):
        return [round(float(v), 5) for v in value]
    return value if isinstance(value, (str, bytes)) else round(float(value), 5)


def _check(exif):
    assert {tag: exif.get(tag) for tag in MAIN} == MAIN
    inner, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert {tag: _plain(inner.get(tag)) for tag in INNER} == {tag: _plain(value) for tag, value in INNER.items()}
    assert {tag: _plain(place.get(tag)) for tag in PLACE} == {tag: _plain(value) for tag, value in PLACE.items()}
    assert exif.get(0x0112, 1) == 1 and 0xA002 not in inner  # upright, and of another size


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exif_and_profile_are_kept_field_by_field(tmp_path, photograph, profile, suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    picture, bits = read_image(photograph), SUFFIXES[suffix]
    assert picture.pixels.shape == (40, 30, 3)
    first, second = tmp_path / f"first{suffix}", tmp_path / "second.jpg"
    write_image(first, picture.pixels, bits, picture.metadata)
    again = read_image(first)
    assert again.bits == bits and again.metadata.profile == profile
    _check(read_exif(first))
    if "heic" not in suffix:  # what another program sees; Pillow opens no TIFF of 16 bits or floats in colour
        if bits == 8 or suffix == "16.png":
            with Image.open(first) as image:
                assert image.info["icc_profile"] == profile
                _check(image.getexif())
        elif suffix.endswith("tif"):
            with tifffile.TiffFile(first) as file:
                tags = file.pages[0].tags
                assert tags[34675].value == profile and tags[315].value == "A. Author"
                assert tags[34665].value["ExposureTime"] == (1, 15)
                assert tags[34853].value["GPSLatitudeRef"] == "N"
    write_image(second, again.pixels, 8, again.metadata)  # and back
    _check(read_exif(second))
    assert read_image(second).metadata.profile == profile
    assert read_exif(second).get_ifd(0xA005)[1] == "R03"


def test_a_profile_for_other_channels_is_left_out(tmp_path, photograph):
    metadata = read_image(photograph).metadata
    write_image(tmp_path / "grey.png", np.zeros((5, 5)), 8, metadata)
    found = read_image(tmp_path / "grey.png").metadata
    assert found.profile == b"" and exif_of(found.exif)[0x013B] == "A. Author"


def test_cmyk_becomes_srgb_by_its_profile(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image.save(tmp_path / "a.tif")
    pixels, _, metadata = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels[0, 0], [1, 0, 0], atol=0.02)
    assert metadata.profile == b""


def test_exif_that_is_too_long_for_jpeg_loses_the_makers_note_only(tmp_path, photograph):
    metadata = read_image(photograph).metadata
    exif = exif_of(metadata.exif)
    inner = dict(exif.get_ifd(0x8769))
    exif[0x8769] = {**inner, 0x927C: bytes(70000)}
    write_image(tmp_path / "a.jpg", np.zeros((5, 5, 3)), 8, Metadata(exif.tobytes()))
    found = read_exif(tmp_path / "a.jpg")
    assert found[0x013B] == "A. Author" and 0x927C not in found.get_ifd(0x8769)


def test_damaged_exif_costs_nothing_else(tmp_path, photograph):
    block = bytearray(read_image(photograph).metadata.exif)
    rng = np.random.default_rng(1)
    for _ in range(40):
        for place in rng.integers(6, len(block), 8):
            block[place] = rng.integers(256)
        memory = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(memory, "JPEG", exif=bytes(block))
        (tmp_path / "a.jpg").write_bytes(memory.getvalue())
        picture = read_image(tmp_path / "a.jpg")
        for name in ("b.jpg", "b.tif", "b.png"):
            write_image(tmp_path / name, picture.pixels, 8, picture.metadata)
            assert read_image(tmp_path / name).pixels.shape == picture.pixels.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_what_was_written_here_says_so(tmp_path, photograph, suffix):
    path = tmp_path / f"a{suffix}"
    for metadata in (Metadata(), read_image(photograph).metadata):
        write_image(path, np.zeros((5, 5, 3)), 8, metadata)
        assert not written_here(path)
        write_image(path, np.zeros((5, 5, 3)), 8, metadata.signed())
        assert written_here(path)
    assert read_exif(path)[0x0131] == "camera 1.0"  # the camera's software stays
    assert not written_here(tmp_path / "nothing.png")


def test_the_time_is_told_to_the_hundredth(tmp_path, photograph):
    exif = read_exif(photograph)
    first = capture_time(photograph)
    inner = dict(exif.get_ifd(0x8769))
    exif[0x8769] = {**inner, 0x9003: "2026:11:24 09:59:59", 0x9291: "12"}
    Image.new("RGB", (8, 8)).save(tmp_path / "later.jpg", exif=exif)
    assert capture_time(tmp_path / "later.jpg") - first == pytest.approx(0.75)
    write_image(tmp_path / "none.jpg", np.zeros((8, 8)))
    assert capture_time(tmp_path / "none.jpg") is None
