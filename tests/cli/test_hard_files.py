"""Files that are damaged, tiny, huge, or not what they say: one clear line each, or a picture, and no harm is done."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image

FORMATS = (".avif", ".bmp", ".heic", ".jpg", ".png", ".tif", ".webp", "16.png", "16.tif", "32.tif")


def _pixels(seed=0, shape=(48, 56, 3)):
    return np.random.default_rng(seed).random(shape)


def _bytes(tmp_path, suffix):
    """A picture file of this kind."""
    path = tmp_path / f"whole{suffix}"
    bits = int(suffix.split(".")[0] or 8)
    write_image(path, _pixels(), bits)
    whole = path.read_bytes()
    path.unlink()
    return whole


@pytest.fixture
def tried(tmp_path, capfd):
    """Restore a file; returns the exit status and the line that was said, having seen that nothing else happened."""
    psf = tmp_path / "psf.png"
    write_image(psf, np.ones((3, 3)))
    out = tmp_path / "out.png"

    def run(path, *options):
        before = path.read_bytes() if path.is_file() else None
        capfd.readouterr()
        arguments = ["photo", "--psf", str(psf), "--nonblind", "wiener", "--quiet", "-o", str(out), *options]
        status = main([*arguments, "--", str(path)])
        printed = capfd.readouterr()
        lines = printed.err.splitlines()
        assert printed.out == "" and all(line.startswith("deconvnet: ") for line in lines)
        assert status in (0, 2) and out.is_file() == (status == 0) and len(lines) <= (1 if status else 2)
        assert status == 0 or path.name in lines[-1] or "the photo" in lines[-1]
        assert before == (path.read_bytes() if path.is_file() else None)
        out.unlink(missing_ok=True)
        assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
        return status, lines[-1] if lines else ""

    return run


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_cut_off(tmp_path, tried, suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    whole = _bytes(tmp_path, suffix)
    path = tmp_path / f"cut{suffix[-5:].lstrip('0123456789')}"
    for share in (0.0, 0.001, 0.01, 0.05, 0.3, 0.7):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert tried(path)[0] == 2, share


@pytest.mark.parametrize("suffix", FORMATS)
def test_bytes_that_are_wrong(tmp_path, tried, suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    whole, rng = _bytes(tmp_path, suffix), np.random.default_rng(7)
    path = tmp_path / f"wrong{suffix[-5:].lstrip('0123456789')}"
    for trial in range(12):
        changed = bytearray(whole)
        upto = len(changed) if trial % 2 else min(len(changed), 300)  # headers are worth more trials
        for place in rng.integers(0, upto, 1 + trial):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        tried(path, "--only", "0,0,24,24")  # as a header may promise a large picture


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".avif", ".heic", ".dng", ".nef", ".cr3"])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"text\n" * 50, b"%PDF-1.7\n", b"PK\3\4" + b"\0" * 200])
def test_a_file_that_is_something_else(tmp_path, tried, suffix, content):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    status, line = tried(path)
    assert status == 2 and ("is empty" in line) == (content == b"")


def test_odd_kinds_of_files(tmp_path, tried):
    assert "there is no file" in tried(tmp_path / "none.png")[1]
    (tmp_path / "folder.png").mkdir()
    assert tried(tmp_path / "folder.png")[0] == 2
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "there is no file" in tried(tmp_path / "loop.png")[1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 300), (300, 1, 3), (5, 5, 3), (6, 6)])
def test_pictures_that_are_tiny(tmp_path, tried, shape):
    write_image(tmp_path / "tiny.png", _pixels(shape=shape))
    assert tried(tmp_path / "tiny.png")[0] == (0 if min(shape[:2]) >= 6 else 2)


def test_a_picture_that_is_wide(tmp_path, tried):
    write_image(tmp_path / "wide.png", _pixels(shape=(8, 65535)))
    assert tried(tmp_path / "wide.png")[0] == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_pictures_without_anything_in_them(tmp_path, tried, value):
    write_image(tmp_path / "flat.png", np.full((40, 40, 3), value))
    status, line = tried(tmp_path / "flat.png")
    assert status == 2 and "constant" in line


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0, -1.0])
def test_floats_that_are_no_pixels(tmp_path, tried, value):
    array = _pixels().astype(np.float32)
    array[3, 4, 1] = value
    tifffile.imwrite(tmp_path / "float.tif", array, photometric="rgb")
    assert tried(tmp_path / "float.tif")[0] == 2


def test_a_header_that_promises_too_much(tmp_path, tried):
    memory = io.BytesIO()
    Image.new("L", (64, 64)).save(memory, "BMP")
    changed = bytearray(memory.getvalue())
    changed[18:26] = np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes()
    (tmp_path / "bomb.bmp").write_bytes(changed)
    assert tried(tmp_path / "bomb.bmp")[0] == 2
    for dtype in (np.uint16, np.float32):
        tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((8, 8), dtype), metadata=None)
        with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+b") as file:
            for tag in ("ImageWidth", "ImageLength"):
                file.pages[0].tags[tag].overwrite(60000)
        assert "too large (60000×60000 pixels)" in tried(tmp_path / "bomb.tif")[1]
        tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((8, 8), dtype), metadata=None)
        with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+b") as file:
            file.pages[0].tags["SamplesPerPixel"].overwrite(60000)
        assert "60000 channels" in tried(tmp_path / "bomb.tif")[1]


def test_noise_is_a_picture(tmp_path, tried):
    write_image(tmp_path / "noise.png", _pixels())
    assert tried(tmp_path / "noise.png") == (0, "")
    assert read_image(tmp_path / "noise.png").pixels.shape == (48, 56, 3)


@pytest.fixture
def accumulated(tmp_path, capfd):
    """Accumulate frames, given as arrays; returns the exit status and the lines that were said."""
    folder = tmp_path / "frames"
    folder.mkdir()

    def run(*frames, method="fba"):
        for file in folder.iterdir():
            file.unlink()
        for number, frame in enumerate(frames):
            write_image(folder / f"{number}.png", frame)
        capfd.readouterr()
        status = main(["burst", str(folder), "-o", str(tmp_path / "out.png"), "--method", method, "--quiet"])
        printed = capfd.readouterr()
        assert printed.out == "" and all(line.startswith("deconvnet: ") for line in printed.err.splitlines())
        return status, printed.err.splitlines()

    return run


def test_bursts_of_odd_frames(accumulated):
    scene, other = (gaussian_filter(_pixels(seed, (70, 80, 3)), (2, 2, 0)) for seed in (1, 2))
    assert accumulated(scene, scene, scene) == (0, [])
    assert accumulated(scene, scene, 0.6 * scene)[0] == 0  # another exposure
    status, lines = accumulated(scene, scene, other)
    assert status == 0 and len(lines) == 1 and "frame 3 (2.png) is left out" in lines[0]
    status, lines = accumulated(scene, scene[..., 0])
    assert status == 2 and "frame 2 (1.png) and frame 1 (0.png) are not both grey or both colour" in lines[0]
    status, lines = accumulated(scene, other)
    assert status == 2 and "do they show the same" in lines[-1]
    for value in (0.0, 1.0):
        assert accumulated(np.full((70, 80, 3), value), np.full((70, 80, 3), value))[0] in (0, 2)
