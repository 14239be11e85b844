"""What a command needs is compiled by several processes, and whatever becomes of them, the result is there."""

import os
import subprocess
import sys

import pytest

from bench.compiled_ahead import COMMANDS, compiled_by
from deconvnet.kernels.ahead import entries, notation

USE = """
import subprocess
import numpy as np
from deconvnet import parallel, progress
from deconvnet.kernels import ahead
from deconvnet.kernels.photo import fade

kinds = ["float32 3d C", "float32 1d C", "float32 1d C", "float32 3d C", "int64", "int64"]
both = [ahead.Entry("deconvnet.kernels.photo.fade", name, kinds, 2.0) for name in ("_fade_pad", "_fade_crop")]
ahead.entries = lambda name: both
started, words, kill, heard, threads = [], [], False, lambda told: words.append(told.words), 2

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        started.append(self)
        if kill:
            self.kill()

ahead.subprocess.Popen = Popen

def pad():
    with parallel.threads(threads), progress.watched(heard), progress.step("padding"), ahead.needs("photo"):
        image, profiles = np.ones((1, 3, 4), np.float32), (np.ones(3, np.float32), np.ones(4, np.float32))
        assert fade.fade_pad(image, *profiles, (4, 4)).sum() == 12

def counts():
    stats = fade._fade_pad.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), len(started))
    assert all(process.poll() is not None for process in started)
"""


def _run(use, folder, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    if folder is not None:
        environment["NUMBA_CACHE_DIR"] = str(folder)
    done = subprocess.run([sys.executable, "-c", USE + use], env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_all_that_is_missing_is_compiled_by_processes_that_say_so(tmp_path):
    out = _run("pad(); counts(); print(words)", tmp_path)
    assert out[0] == "1 0 2"
    assert all(f"'compiling, only this once: {done} of 2'" in out[1] for done in (0, 1, 2))
    assert out[1].rindex("padding") > out[1].rindex("compiling")
    assert len(list(tmp_path.rglob("*.nbc"))) == 2
    assert _run("pad(); counts()", tmp_path)[0] == "1 0 0"


def test_killed_processes_are_no_error(tmp_path):
    assert _run("kill = True; pad(); counts()", tmp_path)[0] == "0 1 2"


def test_stopping_stops_the_processes(tmp_path):
    stop = """
def heard(told):
    if "2" in told.words:
        raise KeyboardInterrupt
try:
    pad()
except KeyboardInterrupt:
    print("stopped")
counts()
"""
    assert _run(stop, tmp_path)[:2] == ["stopped", "0 0 2"]


def test_one_thread_starts_no_process(tmp_path):
    assert _run("threads = 1; pad(); counts()", tmp_path)[0] == "0 1 0"


def test_another_program_is_not_started(tmp_path):
    assert _run("ahead.sys.executable = '/opt/program'; pad(); counts()", tmp_path)[0] == "0 1 0"


def test_without_a_writable_folder_no_process_is_started():
    assert _run("pad(); counts()", None, HOME="/proc/none")[0] == "0 1 0"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_entry_names_a_function_and_its_types(command):
    for entry in entries(command):
        assert entry.dispatcher().py_func.__name__ == entry.name
        assert list(map(notation, entry.signature())) == entry.kinds


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_is_complete(command):
    """If not: ``python bench/compiled_ahead.py``."""
    assert compiled_by(command, ahead=True) == []
