"""The loop on a task of three numbers: signals, resuming, the lock on the folder, and messages that cannot be said."""

import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer, Parameter
from deconvnet.networks.io import load_arrays
from tests.train.commands import same_checkpoints
from train.checkpoint import CHECKPOINT, MODEL, claim_folder, read_settings
from train.loop import Schedule, say, train

SETTINGS = {"seed": 3}


class _Network(Layer):
    kind, name, config = "toy", "toy", {}

    def __init__(self):
        self.place = Parameter(np.zeros(3))


class _Task:
    """Pulls three numbers towards noise around one; ``at`` maps steps to what happens in them."""

    unit = ""

    def __init__(self, at=None):
        self.network, self.at = _Network(), at or {}

    def trainable(self, step):
        return None

    def resume(self, step):
        pass

    def accumulate(self, rng, step, running):
        self.at.get(step, lambda: None)()
        residual = self.network.place.value - 1 - 0.1 * rng.standard_normal(3)
        self.network.place.grad += residual
        return float((residual**2).mean()), 0.0

    def validate(self):
        return {"distance": float(np.abs(self.network.place.value - 1).mean())}

    def reference_scores(self):
        return {"distance": {"start": 1.0}}

    def picture(self, path):
        Path(path).write_text("a picture")

    def summary(self):
        return {"network": "toy"}


def _train(out, *, at=None, resume=False, steps=30):
    schedule = Schedule(steps, "adam", 0.1, "constant", 1.0, 3, validate_every=20, checkpoint_every=10)
    with claim_folder(out, resume):
        return train(_Task(at), schedule, out, SETTINGS, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder and summary of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("run") / "whole"
    return out, _train(out, steps=60)


def test_a_run_learns_and_leaves_everything(whole):
    out, summary = whole
    assert summary["validation"]["distance"] < 0.3  # it began with 1
    assert not summary["interrupted"]
    assert json.loads((out / "summary.json").read_text()) == summary
    names = {
        "checkpoint.safetensors",
        "model.safetensors",
        "metrics.csv",
        "curve.png",
        "validation.png",
        "summary.json",
    }
    assert {file.name for file in out.iterdir()} == names
    assert (out / "metrics.csv").read_text().count("\n") == 4
    assert read_settings(out) == SETTINGS


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_after_its_step_and_the_run_goes_on_bit_for_bit(which, whole, tmp_path):
    before = signal.getsignal(which)
    summary = _train(tmp_path, at={16: lambda: os.kill(os.getpid(), which)}, steps=60)
    assert summary["interrupted"] and summary["steps"] == 17
    assert signal.getsignal(which) is before
    assert not _train(tmp_path, resume=True, steps=60)["interrupted"]
    assert same_checkpoints(tmp_path, whole[0])


def test_a_second_signal_stops_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, at={12: twice})
    assert load_arrays(tmp_path / CHECKPOINT)[1]["step"] == 10  # the last one on schedule


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    def spoil():
        task.network.place.value[1] = np.nan

    task = _Task({12: spoil})
    schedule = Schedule(30, "sgd", 0.1, "constant", 1.0, 3, validate_every=20, checkpoint_every=10)
    with pytest.raises(DeconvnetError, match="not finite at step 13"):
        train(task, schedule, tmp_path, SETTINGS)
    arrays, record = load_arrays(tmp_path / CHECKPOINT)
    assert record["step"] == 10 and all(np.isfinite(a).all() for a in arrays.values())


def test_a_folder_belongs_to_one_training_at_a_time(tmp_path):
    def claim():
        with claim_folder(tmp_path, False):
            pass

    with claim_folder(tmp_path, False), pytest.raises(DeconvnetError, match="another training is writing"):
        claim()
    with claim_folder(tmp_path, False):
        assert not list(tmp_path.iterdir())  # the lock is no file
    _train(tmp_path)
    with pytest.raises(DeconvnetError, match="already holds a run"):
        claim()
    with claim_folder(tmp_path, True), pytest.raises(DeconvnetError, match="another training is writing"):
        _train(tmp_path, resume=True)


def test_a_folder_of_a_run_that_failed_is_free_again(tmp_path):
    with pytest.raises(RuntimeError), claim_folder(tmp_path, False):
        raise RuntimeError
    with claim_folder(tmp_path, False):
        pass


class _Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, _Full()])
def test_what_cannot_be_said_stops_no_training(stream, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    say("a line")
    assert _train(tmp_path)["steps"] == 30
    assert (tmp_path / MODEL).stat().st_size > 0


def test_there_is_no_bar_where_no_terminal_is(tmp_path, capfd, monkeypatch):
    _train(tmp_path / "pipe")
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _train(tmp_path / "terminal")
    assert "30/30" in capfd.readouterr().err
