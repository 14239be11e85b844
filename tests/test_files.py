"""Files take the place of others whole or not at all."""

import os
import threading
import time

import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.files import STALE, locked, part_name, replacing


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("error", "seen"), [(OSError(28, "disk full"), DeconvnetError), (KeyboardInterrupt, None)])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, error, seen):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        pytest.raises(seen or error, match="a.txt cannot be written: disk full" if seen else None),
        replacing(path) as part,
    ):
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(DeconvnetError, match="cannot be written"), replacing(tmp_path / "none" / "a.txt") as part:
        part.write_text("x")


def test_a_folder_is_one_programs_at_a_time(tmp_path):
    with locked(tmp_path, "taken"), pytest.raises(DeconvnetError, match="taken"), locked(tmp_path, "taken"):
        pass
    with locked(tmp_path, "taken"):
        assert not list(tmp_path.iterdir())


def test_two_programs_may_write_one_file(tmp_path):
    """In two threads here, of which each has its own part."""
    path, both, failed = tmp_path / "a.txt", threading.Barrier(2), []

    def write(text):
        try:
            with replacing(path) as part:
                part.write_text(text)
                both.wait(timeout=10)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(text * 1000,)) for text in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and path.read_text() in ("x" * 1000, "y" * 1000) and list(tmp_path.iterdir()) == [path]


def test_what_killed_programs_left_is_deleted_after_a_day(tmp_path):
    path = tmp_path / "a [1].txt"
    old, new = (part_name(path).with_suffix(f".{age}.part") for age in ("old", "new"))
    for part in (old, new):
        part.touch()
    os.utime(old, (time.time() - 2 * STALE,) * 2)
    with replacing(path) as part:
        part.write_text("x")
    assert sorted(tmp_path.iterdir()) == sorted([new, path])
