"""What only a process of its own shows: streams that are gone, poor surroundings, signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deconvnet.restore.photo.deblur
from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image

COMMAND = [sys.executable, "-m", "deconvnet"]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture
def photo(tmp_path):
    """Arguments of a quick restoration, and where its picture goes."""
    names = [str(tmp_path / name) for name in ("blurry.png", "psf.png", "out.png")]
    write_image(names[0], np.random.default_rng(0).random((60, 64), dtype=np.float32))
    write_image(names[1], np.ones((3, 3), np.float32))
    return ["photo", names[0], "--psf", names[1], "-o", names[2]], tmp_path / "out.png"


@needs_full
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&1 | head -c 0"])
def test_a_picture_that_is_computed_is_written_whatever_becomes_of_standard_error(stderr, photo):
    arguments, out = photo
    command = " ".join([*COMMAND, *arguments, stderr])
    assert subprocess.run(["sh", "-c", command], timeout=120).returncode == 0
    assert read_image(out).pixels.shape == (60, 64)


@needs_full
def test_output_that_nobody_can_read_ends_with_one_line():
    into_full = subprocess.run(
        ["sh", "-c", " ".join([*COMMAND, "models", ">/dev/full"])], capture_output=True, text=True
    )
    reader, writer = os.pipe()
    os.close(reader)
    into_nothing = subprocess.run([*COMMAND, "models"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    for run, reason in ((into_full, "No space left"), (into_nothing, "Broken pipe")):
        assert run.returncode == 2 and run.stderr.count("\n") == 1
        assert run.stderr.startswith("deconvnet: standard output cannot be written") and reason in run.stderr


def test_help_in_the_c_locale():
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    run = subprocess.run([*COMMAND, "photo", "--help"], env={**os.environ, **poor}, capture_output=True)
    assert run.returncode == 0 and run.stdout.startswith(b"usage: deconvnet photo") and run.stderr == b""


def test_without_home_and_cache_it_runs_and_says_so_in_one_line(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.random.default_rng(0).random((70, 70), dtype=np.float32))
    out = tmp_path / "out.tif"
    arguments = ["burst", str(tmp_path), "-o", str(out), "--method", "mean", "--no-register", "--quiet"]
    code = (  # and a function is compiled all the same
        "import sys; from deconvnet.cli.main import main; status = main(sys.argv[1:]); "
        "from deconvnet.kernels.compiled import compiled; sys.exit(status or compiled(lambda x: x - 1)(1))"
    )
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name and name != "HOME"}
    environment |= {"HOME": "/proc/nobody", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and read_image(out).pixels.shape == (70, 70)
    assert run.stderr.count("\n") == 1 and "kernels are compiled anew every time" in run.stderr


def test_sigterm_ends_with_one_line_and_leaves_nothing(photo, monkeypatch, capsys):
    arguments, out = photo
    before = sorted(out.parent.iterdir())

    def terminated(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(deconvnet.restore.photo.deblur, "deblur", terminated)
    handler = signal.getsignal(signal.SIGTERM)
    assert main(arguments) == 143
    assert capsys.readouterr().err == "deconvnet: interrupted, nothing written\n"
    assert sorted(out.parent.iterdir()) == before and signal.getsignal(signal.SIGTERM) == handler
