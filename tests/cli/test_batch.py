"""A folder of photographs and bursts: what belongs together, what is done, skipped, failed, and what a stop leaves."""

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from deconvnet.cli.main import main
from deconvnet.files import locked
from deconvnet.files.metadata import read_exif
from deconvnet.io import read_image, write_image
from deconvnet.networks.io import build_network, save_network
from deconvnet.work import grouping, items, workers
from deconvnet.work.grouping import group
from deconvnet.work.items import BurstItem, PhotoItem, run_item
from deconvnet.work.record import RECORD
from deconvnet.work.workers import attempt, attempt_all

SHAPE = (70, 80)


def _scene(seed):
    return gaussian_filter(np.random.default_rng(seed).random((SHAPE[0] + 8, SHAPE[1] + 8)), 1.5) * 3 - 1


def _frames(folder, seed, count=3, start=None, between=0.2, suffix=".jpg"):
    """Frames of one scene that moves by a pixel from one to the next; with ``start`` they say when they were taken."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        moved = np.clip(shift(_scene(seed), (number, -number), mode="mirror")[4:-4, 4:-4], 0, 1)
        image, exif = Image.fromarray(np.rint(moved * 255).astype(np.uint8)).convert("RGB"), Image.Exif()
        if start is not None:
            whole, fraction = divmod(round((start + number * between) * 100), 100)
            exif[0x8769] = {0x9003: f"2026:11:24 10:00:{whole:02d}", 0x9291: f"{fraction:02d}"}
        exif[0x013B] = "A. Author"
        image.save(folder / f"{seed}_{number}{suffix}", exif=exif, quality=95)


@pytest.fixture
def fast(monkeypatch):
    """Photos are restored by a known PSF, as no test here is about how well."""
    import deconvnet.restore.photo.deblur as photo

    plain = photo.deblur
    known = {"psf": np.outer([1, 2, 1], [1, 2, 1]) / 16, "nonblind": "wiener"}
    monkeypatch.setattr(photo, "deblur", lambda image, **options: plain(image, **{**options, **known, "model": ""}))
    return ["--method", "mean", "--quiet"]


@pytest.fixture
def source(tmp_path):
    """Three photographs, one of them in a folder inside; a burst; and a file that is no picture."""
    folder = tmp_path / "in"
    for seed, place in ((1, folder), (2, folder), (3, folder / "more")):
        place.mkdir(exist_ok=True)
        write_image(place / f"photo {seed}.png", np.clip(_scene(seed)[4:-4, 4:-4], 0, 1), 16)
    _frames(folder / "burst", 4)
    (folder / "broken.jpg").write_bytes(b"nothing of use")
    (folder / "notes.txt").write_text("no picture")
    return folder


def _run(capsys, *arguments):
    """Exit status, what was said as JSON by output's name, and what was said on standard error."""
    capsys.readouterr()
    status = main(["batch", *map(str, arguments), "--json"])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    return status, {Path(entry["output"]).name: entry for entry in found["items"]}, printed.err


def test_a_folder_is_restored_and_a_bad_file_stops_nothing(source, tmp_path, fast, capsys):
    out = tmp_path / "out"
    status, items, said = _run(capsys, source, out, *fast)
    assert status == 1 and said == ""
    assert {name: entry["status"] for name, entry in items.items()} == {
        "photo 1.png": "done",
        "photo 2.png": "done",
        "photo 3.png": "done",
        "4_0_burst.jpg": "done",
        "broken.jpg": "failed",
    }
    assert "no picture" in items["broken.jpg"]["why"] and len(items["4_0_burst.jpg"]["inputs"]) == 3
    made = sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
    results = ["burst/4_0_burst.jpg", "more/photo 3.png", "photo 1.png", "photo 2.png"]
    assert made == sorted([*results, RECORD])
    assert read_image(out / "photo 1.png").bits == 16
    assert read_exif(out / "burst" / "4_0_burst.jpg")[0x013B] == "A. Author"


def test_what_is_done_is_skipped_unless_something_changed(source, tmp_path, fast, capsys):
    (source / "broken.jpg").unlink()
    out = tmp_path / "out"
    assert _run(capsys, source, out, *fast)[0] == 0
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}
    status, items, _ = _run(capsys, source, out, *fast)
    assert status == 0 and {entry["status"] for entry in items.values()} == {"skipped"}
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.png")} == before
    write_image(source / "photo 1.png", np.clip(_scene(9)[4:-4, 4:-4], 0, 1), 16)
    (out / "photo 2.png").unlink()
    with (out / RECORD).open("a") as file:
        file.write('\n{"output": "more/phot')  # as a kill leaves it
    _, items, _ = _run(capsys, source, out, *fast)
    assert {name for name, entry in items.items() if entry["status"] == "done"} == {"photo 1.png", "photo 2.png"}
    _, items, _ = _run(capsys, source, out, *fast, "--noise", "0.02")  # which bursts do not ask for
    assert {name for name, entry in items.items() if entry["status"] == "skipped"} == {"4_0_burst.jpg"}


def test_pictures_are_looked_into_once(source, tmp_path, fast, capsys, monkeypatch):
    out = tmp_path / "out"
    first = _run(capsys, source, out, *fast)[1]
    with monkeypatch.context() as patch:
        patch.setattr(grouping, "_scenes", None)  # must not be reached
        assert set(_run(capsys, source, out, *fast)[1]) == set(first)
    _frames(source / "burst", 4, 4)
    assert len(_run(capsys, source, out, *fast)[1]["4_0_burst.jpg"]["inputs"]) == 4


def test_the_table_at_the_end(source, tmp_path, fast, capsys):
    assert main(["batch", str(source), str(tmp_path / "out"), *fast]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[-1] == "4 done, 1 failed"
    assert any(line.startswith("failed") and "broken.jpg" in line and "no picture" in line for line in lines)
    assert any(line.startswith("done") and line.split("  ")[-1].endswith(" s") for line in lines)


def test_pictures_of_others_are_not_replaced(source, tmp_path, fast, capsys):
    out = tmp_path / "out"
    out.mkdir()
    write_image(out / "photo 1.png", np.zeros((5, 5)))
    _, items, _ = _run(capsys, source, out, *fast)
    assert items["photo 1.png"]["status"] == "failed" and "move it away" in items["photo 1.png"]["why"]
    assert read_image(out / "photo 1.png").pixels.shape == (5, 5)


def test_results_inside_the_folder_are_not_taken_for_pictures(source, fast, capsys):
    (source / "broken.jpg").unlink()
    for _ in range(2):
        status, items, _ = _run(capsys, source, source / "results", *fast)
        assert status == 0 and len(items) == 4
    assert len(_run(capsys, source, source / "others", *fast)[1]) == 4


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", [1] * 11),
        ("folders", [4, 3, 1, 1, 1, 1]),  # those of IN itself are photographs
        ("time", [2, 2, 3, 1, 1, 1, 1]),
        ("auto", [2, 2, 3, 1, 1, 1, 1]),
    ],
)
def test_what_belongs_together(tmp_path, mode, expected):
    source = tmp_path / "in"
    _frames(source / "walk", 1, 2, start=10)
    _frames(source / "walk", 2, 2, start=10.4)  # right after the others, of another scene
    _frames(source / "tower", 3, 3, start=20)
    _frames(source, 4, 4, start=30, between=5)
    files = sorted(source.rglob("*.jpg"))
    groups = group(files, source, mode)
    assert sorted(file for files in groups for file in files) == files
    assert sorted(map(len, groups)) == sorted(expected)
    for files in groups:
        if len(files) > 1 and mode != "folders":
            assert len({file.name.split("_")[0] for file in files}) == 1


def test_without_times_a_folder_of_one_scene_is_a_burst(tmp_path):
    source = tmp_path / "in"
    _frames(source / "one", 1, 3)
    _frames(source / "mixed", 2, 2)
    _frames(source / "mixed", 3, 1)
    (source / "mixed" / "broken.jpg").touch()
    _frames(source, 4, 2)
    groups = group(sorted(source.rglob("*.jpg")), source, "auto")
    assert sorted(map(len, groups)) == [1, 1, 1, 1, 2, 3]
    assert all(len(files) == 1 for files in groups if files[0].parent == source)
    assert sorted(map(len, group(sorted(source.rglob("*.jpg")), source, "time"))) == [1] * 9


def test_a_stranger_does_not_cut_a_burst_in_two(tmp_path):
    source = tmp_path / "in"
    _frames(source / "burst", 1, 4)
    _frames(source / "burst", 2, 1)
    (source / "burst" / "2_0.jpg").rename(source / "burst" / "1_1b.jpg")
    groups = group(sorted(source.rglob("*.jpg")), source, "auto")
    assert [len(files) for files in groups] == [4, 1]


def test_twins_in_another_format_are_no_frames(tmp_path):
    _frames(tmp_path, 1, 2, start=10)
    _frames(tmp_path, 1, 2, start=10, suffix=".webp")
    for mode in ("time", "auto"):
        groups = group(sorted(tmp_path.iterdir()), tmp_path, mode)
        assert sorted(len({file.suffix for file in files}) for files in groups) == [1, 1]


def test_names_that_meet_are_told_apart(tmp_path, fast, capsys):
    source = tmp_path / "in"
    for name in ("a.png", "a.tif", "a.bmp", "A.png"):
        source.mkdir(exist_ok=True)
        write_image(source / name, np.clip(_scene(1)[4:-4, 4:-4], 0, 1))
    _, items, _ = _run(capsys, source, tmp_path / "out", *fast, "--format", "png")
    assert len(items) == 4 and all((tmp_path / "out" / name).is_file() for name in items)


def test_a_plan_does_nothing(source, tmp_path, fast, capsys):
    assert main(["batch", str(source), str(tmp_path / "out"), *fast, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and sum(" from 3: " in line for line in lines) == 1
    assert not list((tmp_path / "out").iterdir())


def test_an_interruption_keeps_what_is_finished(source, tmp_path, fast, capsys, monkeypatch):
    done = []

    def run(item):
        if len(done) == 2:
            raise KeyboardInterrupt
        result = run_item(item)
        done.append(item)
        return result

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(workers, "run_item", run)
        status, items, said = _run(capsys, source, out, *fast)
    assert status == 130 and said.count("\n") == 1 and "goes on with the rest" in said
    assert sorted(entry["status"] for entry in items.values()) == ["done"] * 2 + ["failed"] + ["interrupted"] * 2
    _, items, _ = _run(capsys, source, out, *fast)
    assert sorted(entry["status"] for entry in items.values()) == ["done"] * 2 + ["failed"] + ["skipped"] * 2


def test_an_error_in_the_program_itself_fails_one_item_only(source, tmp_path, fast, capsys, monkeypatch):
    import deconvnet.restore.burst.deblur as burst

    monkeypatch.setattr(burst, "deblur_burst", lambda *_, **__: 1 / 0)
    status, items, _ = _run(capsys, source, tmp_path / "out", *fast)
    assert status == 1 and items["4_0_burst.jpg"]["why"] == "ZeroDivisionError: division by zero"
    assert items["photo 3.png"]["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "there is no folder nowhere"),
        (["in", "in"], "is the folder that is read"),
        (["empty", "out"], "there are no pictures"),
        (["in", "in/notes.txt"], "cannot be written"),
        (["in", "out", "--photo-model", "nobody"], "there is no model nobody"),
        (["in", "taken"], "another batch is writing"),
    ],
)
def test_what_cannot_begin_is_refused_in_one_line(source, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "taken"):
        Path(name).mkdir()
    with locked("taken", ""):
        assert main(["batch", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_items_are_plain_data(tmp_path):
    for item in (PhotoItem("out.png", photo="in.png"), BurstItem("out.png", frames=("a.png", "b.png"))):
        assert pickle.loads(pickle.dumps(item)) == item
        outcome = attempt(item)
        assert outcome.status == "failed" and "there is no file" in outcome.why
        assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_a_model_is_loaded_once_until_its_file_changes(tmp_path):
    path = tmp_path / "model.safetensors"
    save_network(path, build_network("compact", {"frames": 2, "w1": 4, "w2": 4, "g": 4, "layers": 1}))
    first = items._network(str(path), "burst", "cpu")
    assert items._network(str(path), "burst", "cpu") is first
    os.utime(path, ns=(1, 1))
    assert items._network(str(path), "burst", "cpu") is not first


@dataclass(frozen=True)
class Deadly(PhotoItem):
    """An item whose process dies."""

    @property
    def inputs(self):
        os._exit(9)


@pytest.mark.slow  # starts processes
def test_several_processes_do_the_same_and_outlive_one_that_dies(tmp_path):
    frames = tmp_path / "frames"
    _frames(frames, 1)
    names = tuple(str(file) for file in sorted(frames.iterdir()))
    work = [BurstItem(str(tmp_path / f"{n}.png"), frames=names, method="mean", register="none") for n in range(3)]
    work.insert(1, Deadly(str(tmp_path / "dead.png")))
    outcomes = {Path(outcome.item.output).name: outcome for outcome in attempt_all(work, 2)}
    assert outcomes.pop("dead.png").why == "its process died, and died again: out of memory?"
    assert [outcome.status for outcome in outcomes.values()] == ["done"] * 3 and len(outcomes) == 3
    run_item(BurstItem(str(tmp_path / "here.png"), frames=names, method="mean", register="none"))
    for name in outcomes:
        assert (tmp_path / name).read_bytes() == (tmp_path / "here.png").read_bytes()
