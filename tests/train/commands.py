"""Runs of `python -m train.…` in a process of their own, and what to look at in what they leave."""

import json
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from deconvnet.networks.io import load_arrays

ROOT = Path(__file__).resolve().parents[2]


def _command(program, images, out, options):
    source = [] if "--resume" in options else ["--images", str(images)]
    return [sys.executable, "-m", program, "--out", str(out), "--quiet", *source, *options]


def run(program, images, out, *options, check=True):
    """Run a program to its end; with ``check`` it must succeed."""
    found = subprocess.run(_command(program, images, out, options), capture_output=True, text=True, cwd=ROOT)
    if check:
        assert found.returncode == 0, found.stderr
    return found


def start(program, images, out, *options, seconds=120):
    """Start a program, and return its process as soon as its first checkpoint is there."""
    process = subprocess.Popen(
        _command(program, images, out, options), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + seconds
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"no checkpoint in {out}"
        time.sleep(0.01)
    return process


def steps_done(out):
    """Steps that the checkpoint of a run stands at."""
    return load_arrays(out / "checkpoint.safetensors")[1]["step"]


def assert_complete(out, done, steps):
    """Check that a finished run left everything a user looks for and nothing else; returns its summary."""
    for name in ("model.safetensors", "checkpoint.safetensors", "metrics.csv", "curve.png", "validation.png"):
        assert (out / name).stat().st_size > 100
    assert iio.imread(out / "validation.png").shape[0] > 300
    assert not list(out.glob("*.part*")) + list(out.glob(".*.part*"))
    assert "notes.jpg" in done.stderr  # the file that is no photograph
    summary = json.loads((out / "summary.json").read_text())
    assert summary["steps"] == steps
    return summary


def same_checkpoints(first, second):
    """Whether two runs stand at the same step with the same arrays, bit for bit."""
    mine, theirs = (load_arrays(out / "checkpoint.safetensors")[0] for out in (first, second))
    if steps_done(first) != steps_done(second) or set(mine) != set(theirs):
        return False
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)
