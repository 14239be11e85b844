"""`python -m train.burst` as a user runs it: what it leaves, how it resumes, what it refuses."""

import csv
import json
import os
import signal

import numpy as np
import pytest

from deconvnet.backend import gpu_available
from deconvnet.networks.io import load_network, save_arrays
from tests.train.commands import ROOT, assert_complete, run, same_checkpoints, start, steps_done
from train import burst
from train.recipes import BURST

PROGRAM = "train.burst"
SHORT = ["--batch", "2", "--frames", "2-3", "--validation", "3", "--validate-every", "3", "--checkpoint-every", "2"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_model_loads_and_restores(finished, rng):
    network = load_network(finished[0] / "model.safetensors", kind="burst")
    prediction, _ = network.forward(rng.random((1, 4, 129, 129), dtype=np.float32))
    assert np.isfinite(prediction).all()
    assert network.training["steps"] == 8


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(images, finished, tmp_path):
    out = tmp_path / "killed"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert steps_done(out) < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])
    assert (out / "metrics.csv").read_text().count("\n") == 4


@pytest.mark.slow
def test_sigterm_saves_and_resumes_bit_for_bit(images, finished, tmp_path):
    out = tmp_path / "interrupted"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "--resume" in stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["steps"] < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])


@pytest.mark.slow
def test_non_finite_loss_stops_and_keeps_the_checkpoint(images, finished, tmp_path):
    out = tmp_path / "diverged"
    failed = run(PROGRAM, images, out, "--steps", "40", "--lr", "1e30", "--clip", "1e30", *SHORT, check=False)
    assert failed.returncode == 2
    assert "not finite at step" in failed.stderr
    assert "Traceback" not in failed.stderr


REFUSALS = {
    "another run in --out": ([], "already holds a run"),
    "other settings on resume": (["--resume", "--lr", "0.5"], "--lr differs"),
    "no GPU": (["--device", "cuda"], "cuda"),
    "one frame": (["--frames", "1"], "at least two frames"),
    "no steps": (["--steps", "0"], "at least 1"),
    "even PSF": (["--psf-size", "16"], "odd"),
    "noise that is no number": (["--noise", "nan"], "--noise"),
    "negative seed": (["--seed", "-1"], "--seed"),
    "fusion of a network that has none": (["--fusion", "eq6", "--out", "NEW"], "--network"),
    "unknown recipe": (["--recipe", "mine"], "--recipe"),
    **{f"rate {text}": (["--lr", text], "--lr") for text in ("nan", "inf", "-0.1", "0", "fast")},
    **{f"{option} nan": ([option, "nan"], option) for option in ("--clip", "--psf-loss")},
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Folder of a run that stands at its first checkpoint, with the default settings."""
    out = tmp_path_factory.mktemp("begun")
    save_arrays(out / "checkpoint.safetensors", {"network/weight": np.zeros(2)}, {"settings": burst.DEFAULTS})
    return out


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_one_line_and_harm_nothing(name, begun, tmp_path, capsys):
    options, message = REFUSALS[name]
    if name == "no GPU" and gpu_available():
        pytest.skip("there is a GPU")
    before = (begun / "checkpoint.safetensors").read_bytes()
    options = [str(tmp_path / "new") if option == "NEW" else option for option in options]
    try:
        status = burst.main(["--out", str(begun), "--quiet", *options])
    except SystemExit as refused:  # argparse's own
        status = refused.code
    assert status == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert (begun / "checkpoint.safetensors").read_bytes() == before


def test_recipes_are_defaults_that_options_win_over():
    fresh = burst._fresh_settings
    assert fresh({}) == {**burst.DEFAULTS}
    paper = fresh({"recipe": "paper"})
    assert (paper["optimizer"], paper["lr"], paper["lr_schedule"], paper["loss"]) == ("sgd", 2.0, "step", "mse")
    assert (paper["network"], paper["blur"], paper["frames"], paper["psf_loss"]) == ("paper", "plain", [14, 14], 0.0)
    own = fresh({"recipe": "paper", "network": "compact", "lr": 0.5, "frames": [2, 8]})
    assert own == {**paper, "network": "compact", "lr": 0.5, "frames": [2, 8], "parts": burst.DEFAULTS["parts"]}
    assert paper["parts"] <= 2  # each has gradients of its own, and the paper's network is large
    for recipe in BURST.values():
        assert set(recipe) <= set(burst.DEFAULTS)


def test_an_empty_folder_and_nothing_to_resume_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert burst.main(["--images", str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "no photographs" in capsys.readouterr().err
    assert burst.main(["--out", str(tmp_path / "nothing"), "--resume"]) == 2
    message = capsys.readouterr().err
    assert "no checkpoint" in message and message.count("\n") == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_papers_recipe_trains_its_network(images, tmp_path):
    options = ["--recipe", "paper", "--network", "compact", "--fusion", "eq6", "--lr", "2e-5"]
    run(PROGRAM, images, tmp_path / "run", *options, "--batch", "2", "--steps", "2", "--validation", "2")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    said = {"recipe": "paper", "network": "compact", "fusion": "eq6", "lr": 2e-5}
    said |= {"batch": 2, "steps": 2, "validation": 2}
    wanted = {**burst.DEFAULTS, **BURST["paper"], **said}
    assert {**summary["settings"], "images": None} == wanted
    assert load_network(tmp_path / "run" / "model.safetensors").fusion.fusion == "eq6"
