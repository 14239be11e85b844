"""Photographs from folders and the embedded default."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.blur.photographs import Photographs, default_photographs, load_photographs, split_photographs
from deconvnet.errors import DeconvnetError


def _colours(rng, height=40, width=50):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _luma(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114])


def test_every_format_is_read_recursively_in_order_of_names(tmp_path, rng):
    rgb = _colours(rng)
    (tmp_path / "inner").mkdir()
    names = ["a.PNG", "b.tiff", "c.bmp", "d.webp", "e.JPG", "inner/f.jpeg", "inner/g.tif"]
    for name in names:
        options = {"lossless": True} if name.endswith("webp") else {"quality": 95}
        Image.fromarray(rgb).save(tmp_path / name, **options)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = load_photographs(tmp_path, min_side=32)
    assert found.names == names and not found.skipped
    for name, image in zip(found.names, found.images):
        assert image.dtype == np.uint8 and image.shape == (40, 50)
        if not name.lower().endswith(("jpg", "jpeg")):
            assert abs(image - _luma(rgb)).max() <= 0.51, name


def test_files_that_cannot_be_used_are_named_and_skipped(tmp_path, rng):
    Image.fromarray(_colours(rng)).save(tmp_path / "good.png")
    Image.fromarray(_colours(rng, 10, 60)).save(tmp_path / "small.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture at all")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="3 files skipped: broken.jpg"):
        found = load_photographs(tmp_path, min_side=32)
    assert found.names == ["good.png"]
    assert [name for name, _ in found.skipped] == ["broken.jpg", "cut.png", "small.png"]
    assert "60×10 is smaller than 32" in found.skipped[2][1]


def test_missing_empty_and_useless_folders_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"")
    for folder, words in (("missing", "no folder"), ("empty", "no photographs"), ("bad", "can be used")):
        with pytest.raises(DeconvnetError, match=words) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_photographs(tmp_path / folder)
        assert "\n" not in str(caught.value)


def test_exif_orientation_turns_the_picture_upright(tmp_path, rng):
    grey = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    Image.fromarray(grey).save(tmp_path / "turned.png", exif=exif)
    found = load_photographs(tmp_path, min_side=32)
    np.testing.assert_array_equal(found.images[0], np.rot90(grey, -1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16"])
def test_pixel_formats_come_out_as_8_bit_luminance(tmp_path, rng, mode):
    grey = np.repeat(np.repeat(rng.integers(0, 2, (10, 10)) * 255, 4, 0), 4, 1).astype(np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(grey).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    picture.save(tmp_path / ("x.tif" if mode == "CMYK" else "x.png"))
    np.testing.assert_array_equal(load_photographs(tmp_path, min_side=32).images[0], grey)


def test_transparent_parts_are_laid_on_white_and_colours_weighted(tmp_path):
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:, 20:, 3] = 255
    rgba[:, 30:, 1] = 255
    Image.fromarray(rgba).save(tmp_path / "x.png")
    image = load_photographs(tmp_path, min_side=32).images[0]
    assert image[:, [0, 25, 35]].tolist() == [[255, 0, 150]] * 40  # 0.587 of 255


def test_limit_spreads_over_the_folder(tmp_path, rng):
    for i in range(9):
        Image.fromarray(_colours(rng)).save(tmp_path / f"{i}.png")
    assert load_photographs(tmp_path, limit=3, min_side=32).names == ["0.png", "4.png", "8.png"]


def test_split_depends_on_names_alone_and_keeps_parts_apart():
    names = [f"folder/{i}.jpg" for i in range(200)]
    training, validation = split_photographs(Photographs(list(range(200)), names), 0.1)
    assert not set(training.names) & set(validation.names) and len(training) + len(validation) == 200
    assert 8 < len(validation) < 35
    moved = [name.replace("folder/", "") for name in reversed(names)][:150]
    _, again = split_photographs(Photographs(list(range(150)), moved), 0.1)
    assert set(again.names) == {n for n in moved if f"folder/{n}" in validation.names}


def test_split_leaves_something_in_both_parts():
    for share in (0.0001, 0.9999):
        training, validation = split_photographs(Photographs([1, 2, 3], ["a", "b", "c"]), share)
        assert len(training) >= 1 and len(validation) >= 1
    with pytest.raises(DeconvnetError, match="at least two"):
        split_photographs(Photographs([1], ["a"]))


def test_embedded_default_has_photographs_and_validates_on_one():
    found = default_photographs(leaves=3, leaves_size=160)
    assert len(found) >= 8 and found.names[-1] == "dead_leaves_02"
    assert all(min(image.shape) >= 155 for image in found.images)
    _, validation = split_photographs(found)
    assert not any(name.startswith("dead_leaves") for name in validation.names)


def test_dead_leaves_are_reproducible_and_full_of_edges():
    first, again = (dead_leaves(np.random.default_rng(1), 128) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (128, 128) and first.dtype == np.uint8
    steps = (abs(np.diff(first.astype(int), axis=0)) >= 13).mean()
    assert 0.1 < steps < 0.5 and first.std() > 25


def test_importing_the_blur_modules_loads_no_image_libraries():
    code = (
        "import sys, deconvnet.blur.synthesis, deconvnet.blur.photographs; "
        "print([m for m in ('skimage', 'imageio', 'PIL', 'matplotlib', 'tqdm') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
