"""Files take the place of others whole or not at all."""

import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.files import locked, replacing


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
