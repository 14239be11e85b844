"""What the commands keep of files: metadata, depth, alpha; parts of them, previews, and what is said as JSON."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from deconvnet.blur.convolve import convolve
from deconvnet.cli.main import main
from deconvnet.files.metadata import read_exif, written_here
from deconvnet.io import read_image, write_image
from deconvnet.work.items import PhotoItem, _same_part, run_item


@pytest.fixture
def known(tmp_path):
    """Options that make a photo's restoration quick: a known PSF of 3×3 pixels and Wiener deconvolution."""
    write_image(tmp_path / "psf.png", np.outer([1, 2, 1], [1, 2, 1]) / 4)
    return ["--psf", str(tmp_path / "psf.png"), "--nonblind", "wiener", "--quiet"]


def _photo(path, rng, shape=(60, 70, 3), **options):
    pixels = Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8))
    exif = Image.Exif()
    exif[0x013B], exif[0x8298], exif[0x0112] = "A. Author", "(c) A. Author", 6
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[84:100] = b"another profile!"
    pixels.save(path, exif=exif, icc_profile=bytes(profile), **options)
    return bytes(profile)


@pytest.mark.parametrize("name", ["out.jpg", "out.png", "out.tif", "out.webp"])
def test_a_photo_keeps_author_rights_and_profile_and_is_upright(tmp_path, rng, known, name):
    profile = _photo(tmp_path / "in.jpg", rng)
    assert main(["photo", str(tmp_path / "in.jpg"), "-o", str(tmp_path / name), *known]) == 0
    picture, exif = read_image(tmp_path / name), read_exif(tmp_path / name)
    assert picture.pixels.shape == (70, 60, 3) and picture.metadata.profile == profile
    assert (exif[0x013B], exif[0x8298], exif.get(0x0112, 1)) == ("A. Author", "(c) A. Author", 1)
    assert written_here(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "bits", "output", "expected"),
    [
        ("in.png", 16, "out.png", 16),
        ("in.tif", 16, "out.jpg", 8),
        ("in.tif", 32, "out.tif", 32),
        ("in.tif", 32, "out.png", 16),
        ("in.png", 8, "out.tif", 8),
    ],
)
def test_the_depth_of_a_photo_follows_the_input(tmp_path, rng, known, source, bits, output, expected):
    write_image(tmp_path / source, rng.random((60, 70, 3)), bits)
    assert main(["photo", str(tmp_path / source), "-o", str(tmp_path / output), *known]) == 0
    picture = read_image(tmp_path / output)
    assert picture.bits == expected
    assert len(np.unique(picture.pixels)) > 256 or expected == 8
    assert main(["photo", str(tmp_path / source), "-o", str(tmp_path / "b.png"), "--bits", "8", *known]) == 0
    assert read_image(tmp_path / "b.png").bits == 8


def test_a_burst_keeps_depth_author_and_profile(tmp_path, rng):
    scene = rng.integers(0, 65536, (70, 80, 3)).astype(np.uint16)
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(2):
        tags = [(0x013B, 2, 10, b"A. Author\0", True)]
        tifffile.imwrite(frames / f"{number}.tif", scene, photometric="rgb", extratags=tags)
    arguments = ["burst", str(frames), "--method", "mean", "--quiet", "-o"]
    assert main([*arguments, str(tmp_path / "out.tif")]) == main([*arguments, str(tmp_path / "out.png")]) == 0
    for name in ("out.tif", "out.png"):
        picture = read_image(tmp_path / name)
        np.testing.assert_array_equal(np.rint(picture.pixels * 65535), scene)
        assert read_exif(tmp_path / name)[0x013B] == "A. Author"


def test_an_earlier_result_among_the_frames_is_no_frame(tmp_path, rng, capsys):
    for number in range(2):
        write_image(tmp_path / f"{number}.png", rng.random((70, 80)))
    arguments = ["burst", str(tmp_path), "--method", "mean", "--no-register", "--json", "-o"]
    assert main([*arguments, str(tmp_path / "sharp.png")]) == 0
    first = (tmp_path / "sharp.png").read_bytes()
    for name in ("sharp.png", "again.png"):
        capsys.readouterr()
        assert main([*arguments, str(tmp_path / name)]) == 0
        printed = capsys.readouterr()
        assert "sharp.png is left out: it is a result" in printed.err and json.loads(printed.out)["frames"] == 2
        assert (tmp_path / name).read_bytes() == first
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "1.png")]) == 2  # a frame is not replaced
    assert "is one of the frames" in capsys.readouterr().err


def test_frames_that_do_not_belong_are_named_and_left_out(tmp_path, rng, capsys):
    folder = tmp_path / "frames"
    folder.mkdir()
    scene = rng.random((70, 80))
    for number in range(3):
        write_image(folder / f"{number}.png", scene)
    (folder / "3.jpg").write_bytes(b"nothing of use")
    write_image(folder / "4.png", scene.T)  # turned, and its EXIF does not say so
    (folder / "5.png").touch()
    upright = Image.fromarray(np.rint(np.rot90(scene) * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned, and its EXIF says so
    upright.save(folder / "6.png", exif=exif)
    arguments = ["burst", str(folder), "-o", str(tmp_path / "out.png"), "--method", "mean", "--quiet", "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["frames"] == 4 and len(result["warnings"]) == 3 == printed.err.count("\n")
    for name, reason in (("3.jpg", "it is no picture"), ("4.png", "it is 70×80 pixels"), ("5.png", "it is empty")):
        assert any(name in line and reason in line for line in result["warnings"])
    assert np.abs(read_image(tmp_path / "out.png").pixels - scene).max() < 1 / 100


def test_only_a_part_is_restored(tmp_path, rng, known, capsys):
    write_image(tmp_path / "in.png", rng.random((60, 70, 3)))
    arguments = ["photo", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), *known]
    assert main([*arguments, "--only", "10,20,40,30"]) == 0
    assert read_image(tmp_path / "out.png").pixels.shape == (30, 40, 3)
    assert main([*arguments, "--only", "10,20,40,30", "--preview"]) == 0
    shown = read_image(tmp_path / "out.png").pixels
    assert shown.shape == (30, 88, 3)
    before = read_image(tmp_path / "in.png").pixels[20:50, 10:50]
    np.testing.assert_array_equal(shown[:, :40], before)
    assert not np.array_equal(shown[:, 48:], before)
    assert main([*arguments, "--only", "40,20,40,30"]) == 2
    assert "reaches beyond" in capsys.readouterr().err
    for wrong in ("1,2,3", "a,b,c,d", "-1,0,5,5", "0,0,0,5"):
        with pytest.raises(SystemExit):
            main([*arguments, f"--only={wrong}"])


def test_a_preview_without_a_part_shows_the_middle(tmp_path, rng, known):
    write_image(tmp_path / "in.png", rng.random((60, 700)))
    assert main(["photo", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--preview", *known]) == 0
    assert read_image(tmp_path / "out.png").pixels.shape == (60, 2 * 512 + 8)


def test_a_burst_is_previewed(tmp_path, rng):
    scene = rng.random((80, 100))
    for number in range(2):
        write_image(tmp_path / f"{number}.png", scene)
    out = tmp_path / "out.png"
    arguments = ["burst", str(tmp_path), "-o", str(out), "--method", "mean", "--quiet", "--preview"]
    assert main([*arguments, "--only", "5,5,70,66"]) == 0
    shown = read_image(out).pixels
    assert shown.shape == (66, 148)
    np.testing.assert_array_equal(shown[:, :70], shown[:, 78:])


def test_what_was_done_is_said_as_json(tmp_path, rng, known, capsys):
    write_image(tmp_path / "in.png", rng.random((60, 70, 3)), 16)
    arguments = ["photo", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), *known, "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert printed.err == ""
    assert {name: result[name] for name in ("output", "width", "height", "bits", "psf_size", "warnings")} == {
        "output": str(tmp_path / "out.png"),
        "width": 70,
        "height": 60,
        "bits": 16,
        "psf_size": [3, 3],
        "warnings": [],
    }
    assert result["inputs"][0] == str(tmp_path / "in.png") and result["seconds"]["deconvolving"] >= 0
    assert main([arguments[0], str(tmp_path / "none.png"), *arguments[2:]]) == 2
    printed = capsys.readouterr()
    assert "there is no file" in json.loads(printed.out)["error"] and printed.err.count("\n") == 1


def test_a_name_that_begins_with_a_dash_is_explained(tmp_path, rng, known, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image("-dash.png", rng.random((60, 70)))
    with pytest.raises(SystemExit) as end:
        main(["photo", "-dash.png", "-o", "out.png", *known])
    assert end.value.code == 2 and "behind --, or as ./-dash.png" in capsys.readouterr().err
    assert main(["photo", "-o", "out.png", *known, "--", "-dash.png"]) == 0
    assert main(["photo", "-o", "./-out.png", *known, "./-dash.png"]) == 0


def test_odd_names(tmp_path, rng, known):
    for name in ("with space.png", "Größe ✓.png", "a'b\"c.png", "a#1%20.png"):
        write_image(tmp_path / name, rng.random((60, 70)))
        assert main(["photo", str(tmp_path / name), "-o", str(tmp_path / f"out {name}"), *known]) == 0
        assert read_image(tmp_path / f"out {name}").pixels.shape == (60, 70)


def test_the_part_of_a_picture_that_a_cropped_one_shows_is_found(astronaut):
    blurry = convolve(np.moveaxis(astronaut, -1, 0), np.full((1, 5), 0.2, np.float32), border="valid")
    blurry = np.moveaxis(blurry, 0, -1)  # 160×176 pixels, the first of them the third of the sharp one
    for top, left in ((0, 0), (3, 11), (10, 4)):
        sharp = astronaut[top : top + 150, left + 2 : left + 2 + 160]
        assert np.array_equal(_same_part(blurry, sharp), blurry[top : top + 150, left : left + 160])


def test_what_it_was_before_is_written_beside(tmp_path, rng, known):
    picture = rng.random((70, 80, 3), dtype=np.float32)
    write_image(tmp_path / "in.png", picture)
    names = {name: str(tmp_path / f"{name}.png") for name in ("output", "before_out")}
    run_item(PhotoItem(**names, photo=str(tmp_path / "in.png"), psf=known[1], only=(10, 5, 40, 60)))
    assert np.abs(read_image(tmp_path / "before_out.png").pixels - picture[5:65, 10:50]).max() < 0.51 / 255
