"""`python -m train.photo`: what it leaves, how stages and scales are added, how it resumes, what it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from deconvnet.layers.gradient_targets import GradientTargets
from deconvnet.networks.io import load_arrays, load_network, save_arrays, save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from tests.train.commands import ROOT, assert_complete, run, same_checkpoints, start, steps_done
from train import photo
from train.command import _resumed
from train.photo import PhotoTask
from train.recipes import PHOTO

PROGRAM = "train.photo"
SHORT = ["--psf-size", "5", "--filters", "4", "--filter-size", "3", "--crop", "32", "--validation-crop", "40"]
SHORT += ["--batch", "2", "--validation", "3", "--validate-every", "3", "--checkpoint-every", "2", "--stages", "2"]
SHORT += ["--stage-steps", "3", "--frozen-steps", "2"]


@pytest.mark.slow
def test_a_run_leaves_everything_a_user_looks_for(finished):
    out, done = finished
    summary = assert_complete(out, done, steps=8)
    assert summary["stages"] == 2
    assert list(summary["psf_error"]) == ["mean PSF", "5 px, stage 1", "5 px, stage 2"]
    assert all(0 < error < 30 for error in summary["psf_error"].values())
    assert summary["psnr"]["true PSF"] > summary["psnr"]["blurry"]
    assert "relative PSF error" in done.stdout
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(float(row["step"])) for row in rows] == [3, 6, 8]
    assert [bool(row["stage 1"]) for row in rows] == [False, True, True]  # one stage at first, then two


@pytest.mark.slow
def test_the_model_loads_and_estimates(finished, rng):
    network = load_network(finished[0] / "model.safetensors", kind="photo")
    psf = network.estimate_psf(rng.random((1, 50, 41), dtype=np.float32))[-1][-1]
    assert psf.shape == (1, 5, 5)
    assert network.training["steps"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_resumes_bit_for_bit(how, images, finished, tmp_path):
    out = tmp_path / "stopped"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    os.kill(process.pid, how)
    assert "Traceback" not in process.communicate()[1]
    assert steps_done(out) < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])


@pytest.mark.slow
def test_a_scale_is_put_on_a_trained_one_and_leaves_it_as_it_is(images, finished, tmp_path):
    model = finished[0] / "model.safetensors"
    options = [*SHORT, "--psf-size", "9", "--stages", "1", "--steps", "3", "--from", str(model)]
    done = run(PROGRAM, images, tmp_path / "finer", *options)
    assert "PSFs of 5, 9 px, 3 stages, 2 of them trained" in done.stderr
    old, new = load_network(model), load_network(tmp_path / "finer" / "model.safetensors")
    assert new.psf_sizes == [5, 9]
    assert new.depth == 3
    for name, p in old.parameters().items():
        assert np.array_equal(p.value, new.parameters()[name].value), name


@pytest.mark.slow
def test_a_model_is_trained_on_and_gets_another_stage(images, finished, tmp_path):
    model = finished[0] / "model.safetensors"
    options = [*SHORT, "--stages", "3", "--steps", "4", "--frozen-steps", "0", "--optimizer", "adadelta"]
    run(PROGRAM, images, tmp_path / "more", *options, "--from", str(model))
    assert load_network(tmp_path / "more" / "model.safetensors").depth == 3
    name = "scales.0.stages.0.features.out.weight"  # the model's average is not yet moved after four steps
    now = load_arrays(tmp_path / "more" / "checkpoint.safetensors")[0][f"network/{name}"]
    assert not np.array_equal(load_network(model).parameters()[name].value, now)


def test_a_scale_on_an_unfinished_model_is_refused(images, tmp_path, capsys):
    network = Pyramid(scales=[scale_config(5, 3, filters=3, filter_size=3)])
    network.grow(2)
    save_network(tmp_path / "unfinished.safetensors", network)
    options = ["--from", str(tmp_path / "unfinished.safetensors"), "--psf-size", "9", "--out", str(tmp_path / "out")]
    assert photo.main(["--images", str(images), *options, "--quiet"]) == 2
    assert "--resume" in capsys.readouterr().err


class _Synthesizer:
    """Hands out one batch again and again."""

    def __init__(self, frames, psfs):
        self.frames, self.psfs = frames, psfs

    def batch(self, rng, batch, frames, *, device="cpu"):
        return self


def _task(rng, **settings):
    psfs = rng.random((3, 1, 5, 5)).astype(np.float32)
    psfs /= psfs.sum(axis=(2, 3), keepdims=True)
    synthesizer = _Synthesizer(rng.random((3, 1, 24, 24), dtype=np.float32), psfs)
    network = Pyramid(scales=[scale_config(5, 3, filters=3, filter_size=3)], rng=rng)
    plain = {"batch": 3, "stage_steps": 10, "frozen_steps": 4, "stage_loss": 0.0, "train_coarse": False}
    settings = {**plain, "loss": "relative", "beta": "learned", **settings}
    return PhotoTask(network, settings, synthesizer, None, "cpu", 0)


def _stages_with_gradient(task):
    names = [name for name, p in task.network.parameters().items() if p.grad.any()]
    return [i for i, start in enumerate(task.network.stage_prefixes()) if any(n.startswith(start) for n in names)]


@pytest.mark.parametrize(
    ("step", "depth", "trained"),
    [(0, 1, [0]), (9, 1, [0]), (10, 2, [1]), (13, 2, [1]), (14, 2, [0, 1]), (20, 3, [2]), (24, 3, [0, 1, 2])],
)
def test_a_new_stage_is_trained_alone_first(step, depth, trained, rng):
    task = _task(rng)
    for at in range(0, step, 10):
        task.accumulate(rng, at, None)
    task.network.zero_grad()
    task.accumulate(rng, step, None)
    assert task.network.depth == depth
    assert _stages_with_gradient(task) == trained
    prefixes = task.network.stage_prefixes()
    assert {p for p in prefixes if any(n.startswith(p) for n in task.trainable(step))} == {prefixes[i] for i in trained}


def test_outliers_are_not_propagated_back(rng):
    task = _task(rng)
    synthesizer = task.training
    loss, _ = task.accumulate(rng, 0, None)
    without = {name: p.grad.copy() for name, p in task.network.parameters().items()}
    # A PSF of one dark pixel in the wrong place makes a relative error far beyond ten times a mean of 0.5.
    truth = np.full((1, 5, 5), 1e-3, np.float32)
    synthesizer.psfs = np.concatenate([synthesizer.psfs, truth[None]])
    synthesizer.frames = np.concatenate([synthesizer.frames, synthesizer.frames[:1]])
    task.network.zero_grad()
    again, _ = task.accumulate(rng, 1, 0.5)
    assert again == pytest.approx(loss, rel=1e-6)
    for name, p in task.network.parameters().items():
        assert np.allclose(p.grad, without[name], rtol=1e-4, atol=1e-7), name
    task.network.zero_grad()
    assert task.accumulate(rng, 2, 1e-9)[0] == 1e-9  # all of them are outliers: nothing happens
    assert not _stages_with_gradient(task)


REFUSALS = {
    "another run in --out": ([], "already holds a run"),
    "other settings on resume": (["--resume", "--lr", "0.5"], "--lr differs"),
    "even PSF": (["--psf-size", "16"], "odd"),
    "crop too small": (["--crop", "20", "--psf-size", "17", "--out", "NEW"], "use 34"),
    "negative noise": (["--noise", "-1"], "at least 0"),
    "smallest too large": (["--smallest", "19", "--out", "NEW"], "--smallest 19"),
    "features for other stages": (["--features", "2,2", "--out", "NEW"], "name as many"),
    "more pairs than gradients": (["--targets", "gradients", "--features", "2,2,4", "--out", "NEW"], "two gradients"),
    "a smaller size than the model's": (["--psf-size", "3", "--from", "MODEL", "--out", "NEW"], "already"),
    "fewer stages than the model": (["--psf-size", "5", "--stages", "1", "--from", "MODEL", "--out", "NEW"], "or more"),
    "no such model": (["--from", "nowhere.safetensors", "--out", "NEW"], "no model"),
    "negative seed": (["--seed", "-1"], "--seed"),
    "negative frozen steps": (["--frozen-steps", "-1"], "--frozen-steps"),
    **{f"rate {text}": (["--lr", text], "--lr") for text in ("nan", "inf", "-0.1", "0", "fast")},
    **{f"{option} nan": ([option, "nan"], option) for option in ("--clip", "--stage-loss", "--noise")},
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Folder of a run that stands at its first checkpoint, with the default settings and a model of two stages."""
    out = tmp_path_factory.mktemp("begun")
    settings = {**photo.DEFAULTS, "lr": 3e-3}
    save_arrays(out / "checkpoint.safetensors", {"network/weight": np.zeros(2)}, {"settings": settings})
    save_network(out / "model.safetensors", Pyramid(scales=[scale_config(5, 2, filters=3, filter_size=3)]))
    return out


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_one_line_and_harm_nothing(name, images, begun, tmp_path, capsys):
    options, message = REFUSALS[name]
    out, model = str(tmp_path / "new"), str(begun / "model.safetensors")
    options = [{"NEW": out, "MODEL": model}.get(o, o) for o in options]
    before = (begun / "checkpoint.safetensors").read_bytes()
    where = [] if "--out" in options else ["--out", str(begun)]
    source = [] if "--resume" in options else ["--images", str(images)]
    try:
        status = photo.main([*source, *where, *options, "--quiet"])
    except SystemExit as refused:  # argparse's own
        status = refused.code
    assert status == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert (begun / "checkpoint.safetensors").read_bytes() == before


def test_a_run_older_than_an_option_resumes_with_its_default(begun, tmp_path):
    arrays, record = load_arrays(begun / "checkpoint.safetensors")
    older = {name: value for name, value in record["settings"].items() if name not in ("recipe", "beta", "loss")}
    save_arrays(tmp_path / "checkpoint.safetensors", arrays, {"settings": {**older, "filters": 7}})
    settings = _resumed({"steps": 99}, tmp_path, photo.DEFAULTS)
    assert settings == {**record["settings"], "filters": 7, "steps": 99}


def test_the_former_name_is_the_same_program():
    from train import single

    assert single.main is photo.main


def test_recipes_are_defaults_that_options_win_over():
    fresh = photo._fresh_settings
    assert fresh({}) == {**photo.DEFAULTS, "lr": photo.RATES["adam"]}
    paper = fresh({"recipe": "paper"})
    assert (paper["optimizer"], paper["lr"], paper["clip"]) == ("adadelta", 0.01, 0.0)
    assert (paper["crop"], paper["loss"], paper["beta"], paper["stage_loss"]) == (256, "squared", "fixed", 0.0)
    assert fresh({"recipe": "paper", "crop": 128, "beta": "learned"}) == {**paper, "crop": 128, "beta": "learned"}
    for recipe in PHOTO.values():
        assert set(recipe) <= set(photo.DEFAULTS)


def test_a_fixed_regulariser_stays_where_the_paper_sets_it(rng):
    task = _task(rng, beta="fixed")
    for step in (0, 10, 20):
        task.accumulate(rng, step, None)
        assert not any(name.endswith("quotient.log_beta") for name in task.trainable(step))
    betas = [float(np.exp(stage.quotient.log_beta.value)) for stage in task.network.all_stages()]
    assert betas == pytest.approx([1e-4] * 3)
    assert any(name.endswith("quotient.log_beta") for name in _task(rng).trainable(0))


def test_the_squared_loss_is_the_energy_of_the_difference(rng):
    task = _task(rng, loss="squared")
    loss, _ = task.accumulate(rng, 0, None)
    psfs = task.network.forward(task.training.frames[:, 0])[0][-1]
    expected = ((psfs - task.training.psfs[:, 0]) ** 2).sum(axis=(1, 2)).mean()
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["learned", "gradients"])
def test_the_papers_recipe_trains_all_stages(targets, images, tmp_path):
    small = ["--psf-size", "5", "--filters", "4", "--crop", "40", "--validation-crop", "40", "--validation", "2"]
    options = ["--recipe", "paper", "--targets", targets, "--batch", "2", "--steps", "6", "--frozen-steps", "1"]
    run(PROGRAM, images, tmp_path / "run", *options, *small)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["settings"]["recipe"], summary["settings"]["loss"]) == ("paper", "squared")
    assert summary["settings"]["targets"] == targets
    network = load_network(tmp_path / "run" / "model.safetensors", kind="photo")
    assert network.depth == 3
    assert network.config["scales"][0]["features"] == [2, 2, 2 if targets == "gradients" else 4]
    assert all(stage.quotient.log_beta.value == np.float32(np.log(1e-4)) for stage in network.all_stages())
    assert isinstance(network.all_stages()[2].features, GradientTargets) == (targets == "gradients")


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&1 | head -c 5"])
def test_a_standard_error_that_is_gone_costs_no_model(stderr, images, tmp_path):
    options = f"--images {images} --out {tmp_path / 'run'} --steps 2 {' '.join(SHORT)}"
    subprocess.run(["bash", "-c", f"{sys.executable} -m {PROGRAM} {options} {stderr}"], cwd=ROOT, capture_output=True)
    assert load_network(tmp_path / "run" / "model.safetensors", kind="photo").training["steps"] == 2
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2


@pytest.mark.slow
def test_two_trainings_do_not_share_a_folder(images, tmp_path):
    out = tmp_path / "run"
    first = start(PROGRAM, images, out, "--steps", "4000", *SHORT)
    second = run(PROGRAM, images, out, "--resume", check=False)
    first.send_signal(signal.SIGTERM)
    assert "Traceback" not in first.communicate()[1]
    assert second.returncode == 2
    assert "another training" in second.stderr and second.stderr.count("\n") == 1
    assert first.returncode == 130 and json.loads((out / "summary.json").read_text())["interrupted"]
