"""`python -m train.photo`: what it leaves, how stages and scales are added, how it resumes, what it refuses."""

import csv
import os
import signal

import numpy as np
import pytest

from deconvnet.networks.io import load_arrays, load_network, save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from tests.train.commands import assert_complete, run, same_checkpoints, start, steps_done
from train import photo as single
from train.photo import PhotoTask

PROGRAM = "train.photo"
SHORT = ["--psf-size", "5", "--filters", "4", "--filter-size", "3", "--crop", "32", "--validation-crop", "40"]
SHORT += ["--batch", "2", "--validation", "3", "--validate-every", "3", "--checkpoint-every", "2", "--stages", "2"]
SHORT += ["--stage-steps", "3", "--frozen-steps", "2"]


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


def test_the_model_loads_and_estimates(finished, rng):
    network = load_network(finished[0] / "model.safetensors", kind="photo")
    psf = network.estimate_psf(rng.random((1, 50, 41), dtype=np.float32))[-1][-1]
    assert psf.shape == (1, 5, 5)
    assert network.training["steps"] == 8


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_resumes_bit_for_bit(how, images, finished, tmp_path):
    out = tmp_path / "stopped"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    os.kill(process.pid, how)
    assert "Traceback" not in process.communicate()[1]
    assert steps_done(out) < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])


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
    network.active[...] = 2
    save_network(tmp_path / "unfinished.safetensors", network)
    options = ["--from", str(tmp_path / "unfinished.safetensors"), "--psf-size", "9", "--out", str(tmp_path / "out")]
    assert single.main(["--images", str(images), *options, "--quiet"]) == 2
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
    settings = {"batch": 3, "stage_steps": 10, "frozen_steps": 4, "stage_loss": 0.0, "train_coarse": False, **settings}
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
    "another run in --out": (["--steps", "8"], "already holds a run"),
    "other settings on resume": (["--resume", "--lr", "0.5"], "--lr differs"),
    "even PSF": (["--psf-size", "16"], "odd"),
    "crop too small": (["--crop", "20", "--psf-size", "17", "--out", "NEW"], "use 34"),
    "negative noise": (["--noise", "-1"], "at least 0"),
    "smallest too large": (["--smallest", "19", "--out", "NEW"], "--smallest 19"),
    "features for other stages": (["--features", "2,2", "--out", "NEW"], "name as many"),
    "a smaller size than the model's": (["--psf-size", "3", "--from", "MODEL", "--out", "NEW"], "already"),
    "fewer stages than the model": (["--psf-size", "5", "--stages", "1", "--from", "MODEL", "--out", "NEW"], "or more"),
    "no such model": (["--from", "nowhere.safetensors", "--out", "NEW"], "no model"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_one_line_and_harm_nothing(name, images, finished, tmp_path, capsys):
    options, message = REFUSALS[name]
    out, model = str(tmp_path / "new"), str(finished[0] / "model.safetensors")
    options = [{"NEW": out, "MODEL": model}.get(o, o) for o in options]
    before = (finished[0] / "checkpoint.safetensors").stat().st_mtime_ns
    where = [] if "--out" in options else ["--out", str(finished[0])]
    source = [] if "--resume" in options else ["--images", str(images)]
    try:
        status = single.main([*source, *where, *options, "--quiet"])
    except SystemExit as refused:  # argparse's own
        status = refused.code
    assert status == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert (finished[0] / "checkpoint.safetensors").stat().st_mtime_ns == before
