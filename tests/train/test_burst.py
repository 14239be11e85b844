"""`python -m train.burst` as a user runs it: what it leaves, how it resumes, what it refuses."""

import csv
import json
import os
import signal

import numpy as np
import pytest

from deconvnet.networks.io import load_network
from tests.train.commands import ROOT, assert_complete, run, same_checkpoints, start, steps_done

PROGRAM = "train.burst"
SHORT = ["--batch", "2", "--frames", "2-3", "--validation", "3", "--validate-every", "3", "--checkpoint-every", "2"]


def test_a_run_leaves_everything_a_user_looks_for(finished):
    out, done = finished
    summary = assert_complete(out, done, steps=8)
    plain = summary["psnr"]["plain"]
    for name in ("typical frame", "best frame", "mean", "FBA p=11", "FBA best p", "network"):
        assert 5 < plain[name] < 60
    assert plain["best frame"] >= plain["typical frame"]
    assert plain["FBA best p"] >= plain["FBA p=11"]
    with (out / "metrics.csv").open() as file:
        assert [int(float(row["step"])) for row in csv.DictReader(file)] == [3, 6, 8]


def test_the_model_loads_and_restores(finished, rng):
    network = load_network(finished[0] / "model.safetensors", kind="burst")
    prediction, _ = network.forward(rng.random((1, 4, 129, 129), dtype=np.float32))
    assert np.isfinite(prediction).all()
    assert network.training["steps"] == 8


def test_a_killed_run_resumes_bit_for_bit(images, finished, tmp_path):
    out = tmp_path / "killed"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert steps_done(out) < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])
    assert (out / "metrics.csv").read_text().count("\n") == 4


def test_ctrl_c_saves_and_resumes_bit_for_bit(images, finished, tmp_path):
    out = tmp_path / "interrupted"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "--resume" in stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["steps"] < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])


def test_non_finite_loss_stops_and_keeps_the_checkpoint(images, finished, tmp_path):
    out = tmp_path / "diverged"
    failed = run(PROGRAM, images, out, "--steps", "40", "--lr", "1e30", "--clip", "1e30", *SHORT, check=False)
    assert failed.returncode == 2
    assert "not finite at step" in failed.stderr
    assert "Traceback" not in failed.stderr


REFUSALS = {
    "another run in --out": (["--steps", "8"], "already holds a run"),
    "other settings on resume": (["--resume", "--lr", "0.5"], "--lr differs"),
    "no GPU": (["--device", "cuda"], "cuda"),
    "one frame": (["--frames", "1"], "at least two frames"),
    "no steps": (["--steps", "0"], "at least 1"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_one_line_and_harm_nothing(name, images, finished):
    options, message = REFUSALS[name]
    if name == "no GPU":
        from deconvnet.backend import gpu_available

        if gpu_available():
            pytest.skip("there is a GPU")
    before = (finished[0] / "checkpoint.safetensors").stat().st_mtime_ns
    failed = run(PROGRAM, images, finished[0], *options, check=False)
    assert failed.returncode == 2
    assert message in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    assert (finished[0] / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_an_empty_folder_and_nothing_to_resume_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    failed = run(PROGRAM, tmp_path / "empty", tmp_path / "out", "--steps", "2", check=False)
    assert failed.returncode == 2
    assert len(failed.stderr.strip().splitlines()) == 1
    failed = run(PROGRAM, tmp_path, tmp_path / "nothing", "--resume", check=False)
    assert failed.returncode == 2
    assert "no checkpoint" in failed.stderr


def test_a_finished_run_ships_as_float16_with_a_card(finished, tmp_path, rng):
    from deconvnet.weights import shipped_models
    from train.ship import ship

    ship(finished[0], "small", "twelve pictures", "everything", folder=tmp_path)
    card = (tmp_path / "small.md").read_text()
    for said in ("twelve pictures", "everything", "8 steps", "| plain |"):
        assert said in card
    whole = load_network(finished[0] / "model.safetensors")
    half = load_network(tmp_path / "small.safetensors", kind="burst")
    burst = rng.random((1, 3, 129, 129), dtype=np.float32)
    assert np.abs(whole.forward(burst)[0] - half.forward(burst)[0]).max() < 5e-3
    assert set(shipped_models()) >= {p.stem for p in (ROOT / "deconvnet" / "weights").glob("*.safetensors")}
