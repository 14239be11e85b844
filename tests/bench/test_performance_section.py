"""The tables of docs/performance.md: written from results, between its markers, and nowhere else."""

import json

import pytest

from bench import runtime
from bench.performance_section import BEGIN, END, SPEED_BEGIN, SPEED_END, main
from bench.timing.end_to_end import COLUMNS
from bench.timing.table import Column, Table

TEXT = f"# Name\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


def _write(path, tables):
    """A file as `bench/runtime.py` writes it."""
    machine = {
        "processor": "A processor",
        "cores": 4,
        "threads": 2,
        "gpu": None,
        "versions": {"numpy": "2.0"},
        "commit": "abc123",
        "date": "2026-01-01 00:00 UTC",
    }
    runtime._write(path, machine, {"quick": False}, {"cpu": {"sgemm": 1.5e11}}, tables)
    return path


@pytest.fixture
def results(tmp_path):
    """A file of results with one table."""
    table = Table("photo", "PSFs", [Column("device", "device"), Column("ours", "deconvnet", "s")], "A note.")
    table.add({"device": "cpu", "ours": 0.25})
    return _write(tmp_path / "results.json", [table])


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_section_says_machine_date_versions_commit_and_figures(results, page):
    assert main([str(results), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Name\n\nBefore.\n\n") and text.endswith("\n\nAfter.\n")
    assert "old" not in text
    for part in ("A processor, 2 of 4 cores", "2026-01-01", "numpy 2.0", "abc123", "sgemm 150", "| 0.25 |", "A note."):
        assert part in text


def test_writing_twice_changes_nothing(results, page):
    main([str(results), "--page", str(page)])
    once = page.read_text(encoding="utf-8")
    main([str(results), "--page", str(page)])
    assert page.read_text(encoding="utf-8") == once
    assert sorted(p.name for p in page.parent.iterdir()) == ["performance.md", "results.json"]


def test_seconds_of_whole_commands_stand_in_the_readme_and_their_steps_on_the_page(tmp_path, page, capsys):
    table = Table("end_to_end", "From file to file", COLUMNS)
    table.add({"what": "photo", "size": "0.4 MP", "seconds": 3.25, "memory": 987e6, "gain": 4.5, "steps": "reading 1"})
    table.add({"what": "burst", "size": "12 MP", "error": "MemoryError"})
    found = _write(tmp_path / "commands.json", [table])
    readme = tmp_path / "README.md"
    readme.write_text("no markers", encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    assert main([str(found), "--page", str(page), "--readme", str(readme)]) == 2
    assert SPEED_BEGIN in capsys.readouterr().err and page.read_text(encoding="utf-8") == before
    readme.write_text(f"Top.\n{SPEED_BEGIN}\nold\n{SPEED_END}\nEnd.\n", encoding="utf-8")
    assert main([str(found), "--page", str(page), "--readme", str(readme)]) == 0
    told, rest = readme.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert told.startswith(f"Top.\n{SPEED_BEGIN}\n| command | picture |") and told.endswith(f"{SPEED_END}\nEnd.\n")
    assert "| photo | 0.4 MP | 3.25 | 987 |" in told and "burst" not in told and "old" not in told
    assert "3.25" not in rest and "987" not in rest and "reading 1" in rest and "4.50" in rest


@pytest.mark.parametrize("text", ["nothing", f"{BEGIN} alone", f"{END} before {BEGIN}", TEXT + TEXT])
def test_missing_markers_are_an_error_of_one_line(results, page, text, capsys):
    page.write_text(text, encoding="utf-8")
    assert main([str(results), "--page", str(page)]) == 2
    message = capsys.readouterr().err
    assert BEGIN in message and message.count("\n") == 1
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("content", [None, "{", json.dumps([1, 2]), json.dumps({"tables": []})])
def test_a_file_that_holds_no_results_is_an_error_of_one_line(page, content, capsys, tmp_path):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert main([str(path), "--page", str(page)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_command_writes_json_and_picture_of_the_tables_asked_for(tmp_path, capsys):
    found, picture = tmp_path / "r.json", tmp_path / "r.png"
    arguments = ["--quick", "--peers", "none", "--tables", "photo", "--json", str(found), "--plot", str(picture)]
    assert runtime.main(arguments) == 0
    record = json.loads(found.read_text(encoding="utf-8"))
    assert [table["name"] for table in record["tables"]] == ["photo"]
    assert record["tables"][0]["rows"][0]["memory"] > 0
    assert record["ceilings"]["cpu"]["sgemm"] > 0
    assert picture.stat().st_size > 1000
    assert "PSF of a single photograph" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert runtime.main(["--quick", "--json", str(tmp_path / "none" / "r.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err
