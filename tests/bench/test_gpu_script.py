"""bench/gpu.sh: which parts run, when it stops, and that what a run leaves comes back whole."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "gpu.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# Stands for Python: notes what is run, and leaves a run of 40 MB like one that was interrupted.
STUB = """#!/bin/bash
echo "$*" >> "$CALLS"
case "$*" in
    *"-m pytest"*) echo "$TESTS"; [[ $TESTS != *failed* ]] ;;
    *train.burst*)
        mkdir -p "$RUNS/burst" && cd "$RUNS/burst" || exit 1
        cp "$CHECKPOINT" checkpoint.safetensors
        echo weights > model.safetensors
        echo '{"steps": 7, "seconds": 1.5}' > summary.json
        exit 130 ;;
    -c*) exec python3 "$@" ;;
esac
"""


@pytest.fixture
def script(tmp_path):
    stub, checkpoint = tmp_path / "python", tmp_path / "checkpoint"
    stub.write_text(STUB)
    stub.chmod(0o755)
    checkpoint.write_bytes(np.random.default_rng(0).bytes(40_000_000))
    calls = tmp_path / "calls"
    calls.touch()

    def run(*arguments, **variables):
        environment = {
            **os.environ,
            **{"OUT": str(tmp_path / "out"), "RUNS": str(tmp_path / "runs"), "PYTHON": str(stub)},
            **{"CALLS": str(calls), "CHECKPOINT": str(checkpoint), "TESTS": "5 passed in 1 s"},
            **variables,
        }
        done = subprocess.run(["bash", SCRIPT, *arguments], env=environment, capture_output=True, text=True)
        return done, calls.read_text().splitlines()

    return run


def test_without_arguments_it_installs_tests_and_measures(script):
    done, calls = script()
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[-3:]] == [
        ["install", "ok"],
        ["tests", "ok"],
        ["runtime", "ok"],
    ]
    ran = " ".join(calls)
    assert (
        ran.index("--no-deps --no-build-isolation") < ran.index("-m gpu") < ran.index("bench/runtime.py --device cuda")
    )
    assert "5 passed" in done.stdout


def test_nothing_follows_failed_tests(script):
    done, calls = script("tests", "runtime", TESTS="1 failed, 4 passed in 1 s")
    assert done.returncode == 1
    assert len(calls) == 1 and done.stdout.splitlines()[-1].startswith("tests         failed (1)")


def test_options_go_to_the_part_they_follow(script):
    done, calls = script("runtime", "--quick", "train", "burst", "--steps", "9")
    assert done.returncode == 0, done.stderr
    assert calls[0].endswith("runtime.json --quick") and calls[1].endswith("--quiet --steps 9")
    assert "7 steps, 1.5 s" in done.stdout.splitlines()[-1]


def test_a_run_comes_back_in_parts_and_is_resumed_after_joining(script, tmp_path):
    script("train", "burst")
    parts = sorted((tmp_path / "out").glob("burst.tar.*"))
    assert len(parts) == 3 and max(part.stat().st_size for part in parts) <= 15 * 2**20
    shutil.rmtree(tmp_path / "runs")
    done, _ = script("join", "burst")
    assert done.returncode == 0
    assert (tmp_path / "runs/burst/checkpoint.safetensors").read_bytes() == (tmp_path / "checkpoint").read_bytes()
    _, calls = script("train", "burst")
    assert "--resume" in calls[-2] and "--resume" not in calls[0]


def test_a_checkpoint_that_is_too_large_stays_behind_and_the_model_does_not(script, tmp_path):
    script("train", "burst", KEEP="20")
    shutil.rmtree(tmp_path / "runs")
    script("join", "burst")
    assert sorted(path.name for path in (tmp_path / "runs/burst").iterdir()) == ["model.safetensors", "summary.json"]


@pytest.mark.parametrize("arguments", [["faster"], ["train"], ["train", "none"], ["join"]])
def test_wrong_arguments_show_how_to_use_it(script, arguments):
    done, calls = script(*arguments)
    assert done.returncode == 2 and "bench/gpu.sh [install]" in done.stderr and not calls
