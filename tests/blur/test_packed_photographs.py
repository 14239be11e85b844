"""Photographs packed into one file."""

import numpy as np
import pytest

from deconvnet.blur.packed_photographs import load_packed_photographs, pack_photographs
from deconvnet.blur.photographs import Photographs, split_photographs
from deconvnet.errors import DeconvnetError


@pytest.fixture
def photographs(rng):
    shapes = [(200, 160 + 5 * i) for i in range(12)]
    return Photographs(
        [rng.integers(0, 256, s, dtype=np.uint8) for s in shapes], [f"a/p{i:02d}.jpg" for i in range(12)]
    )


def test_photographs_come_back_as_they_were_with_the_same_split(tmp_path, photographs):
    assert pack_photographs(photographs, tmp_path / "p.npz") == 12
    found = load_packed_photographs(tmp_path / "p.npz")
    assert found.names == photographs.names and not found.skipped
    for a, b in zip(found.images, photographs.images):
        np.testing.assert_array_equal(a, b)
    assert split_photographs(found)[1].names == split_photographs(photographs)[1].names
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_size_is_kept_by_a_choice_that_is_always_the_same(tmp_path, photographs):
    counts = [pack_photographs(photographs, tmp_path / f"{i}.npz", megabytes=0.2) for i in range(2)]
    assert 3 <= counts[0] == counts[1] < 7  # noise of 32 to 43 kB each, which cannot be compressed
    files = [(tmp_path / f"{i}.npz").read_bytes() for i in range(2)]
    assert files[0] == files[1] and len(files[0]) <= 2e5
    names = load_packed_photographs(tmp_path / "0.npz").names
    assert names != photographs.names[: len(names)]


def test_small_photographs_are_left_out_and_named(tmp_path, photographs):
    pack_photographs(photographs, tmp_path / "p.npz")
    found = load_packed_photographs(tmp_path / "p.npz", min_side=170)
    assert len(found) == 10 and [name for name, _ in found.skipped] == ["a/p00.jpg", "a/p01.jpg"]
    with pytest.raises(DeconvnetError, match="none of the 12"):
        load_packed_photographs(tmp_path / "p.npz", min_side=300)


@pytest.mark.parametrize("content", [None, "text", "array", "cut", "floats"])
def test_what_is_no_packed_file_is_refused_in_one_line(tmp_path, photographs, content):
    path = tmp_path / "p.npz"
    if content == "text":
        path.write_text("no photographs")
    elif content == "array":
        with path.open("wb") as file:
            np.save(file, photographs.images[0])
    elif content == "cut":
        pack_photographs(photographs, path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif content == "floats":
        np.savez(path, a=np.zeros((200, 200)))
    with pytest.raises(DeconvnetError) as caught:
        load_packed_photographs(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "megabytes", "message"), [("p.zip", None, "npz"), ("p.npz", 0.01, "larger file")])
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, photographs, name, megabytes, message):
    with pytest.raises(DeconvnetError, match=message):
        pack_photographs(photographs, tmp_path / name, megabytes=megabytes)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DeconvnetError, match="cannot be written"):
        pack_photographs(photographs, tmp_path / "none" / "p.npz")
