"""The training loop: progress, validation, checkpoints that resume bit for bit, curve and summary.

What is trained is a `Task`; how it is trained, interrupted, resumed and recorded is here, once.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import platform
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from deconvnet._version import __version__
from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
from deconvnet.files import replacing, save_figure
from deconvnet.networks.io import load_arrays, save_arrays, save_network
from train.optimisers import SGD, Adadelta, Adam, MovingAverage, gradient_norm, make_schedule

__all__ = ["Schedule", "Task", "claim_folder", "read_settings", "train"]

CHECKPOINT, MODEL, METRICS, CURVE, PICTURE, SUMMARY = (
    "checkpoint.safetensors",
    "model.safetensors",
    "metrics.csv",
    "curve.png",
    "validation.png",
    "summary.json",
)
OPTIMISERS = {"adam": Adam, "sgd": SGD, "adadelta": Adadelta}
AVERAGE_EVERY = 10  # steps between two updates of the moving average: it reads every weight


class Task(Protocol):
    """What the loop needs to know of a network and its data."""

    network: object
    unit: str  # of the scores, with a space before it

    def trainable(self, step):
        """Names of the parameters that this step (from 0) may change, as a set; None for all."""

    def accumulate(self, rng, step, running):
        """Draw a batch, add its gradients to the parameters; returns ``(loss, seconds of synthesis)``.

        ``running`` is the running mean of the losses so far, None before the first.
        """

    def validate(self):
        """Scores on the fixed validation data, ``{name: float}``; the first is shown while training."""

    def reference_scores(self):
        """What needs no network, by validation score: ``{score: {name: value}}``, drawn as lines in the curve."""

    def picture(self, path):
        """Draw validation examples."""

    def summary(self):
        """What ``summary.json`` should say beyond the scores."""


class Schedule(NamedTuple):
    """How long, how fast, and how often to look."""

    steps: int
    optimizer: str
    lr: float
    lr_schedule: str
    clip: float
    seed: int
    validate_every: int
    checkpoint_every: int


def claim_folder(out, resume):
    """Make ``out`` ready for a new run, or check that it holds one to resume.

    Raises
    ------
    DeconvnetError
        If a new run would overwrite another, or there is nothing to resume, or it cannot be written.
    """
    out = Path(out)
    holds_run = (out / CHECKPOINT).exists() or (out / MODEL).exists()
    if holds_run and not resume:
        raise DeconvnetError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    if resume and not (out / CHECKPOINT).exists():
        raise DeconvnetError(f"{out} holds no checkpoint to resume: leave --resume away to start a new run")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DeconvnetError(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    return out


def read_settings(out):
    """The settings that the run in ``out`` was started with."""
    return load_arrays(Path(out) / CHECKPOINT)[1]["settings"]


class _Metrics:
    """Rows of ``metrics.csv``, rewritten whole so that a kill leaves the old file or the new one."""

    def __init__(self, path):
        self.path = path
        self.rows = []

    def load(self, up_to_step):
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= up_to_step]

    def add(self, row):
        self.rows.append(row)
        names = list(dict.fromkeys(name for r in self.rows for name in r))
        lines = [",".join(names)]
        lines += [",".join("" if n not in r else f"{r[n]:.6g}" for n in names) for r in self.rows]
        with replacing(self.path) as part:
            part.write_text("\n".join(lines) + "\n")


def _draw_curve(path, rows, references):
    """Training loss, and one panel per validation score with the references beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(references)
    figure = Figure(figsize=(4.2 * (1 + len(names)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    first, *others = figure.subplots(1, 1 + len(names))
    steps = [row["step"] for row in rows]
    first.plot(steps, [row["loss"] for row in rows], color="0.3")
    first.set_title("training loss")
    first.set_xlabel("step")
    for ax, name in zip(others, names):
        shown = [(row["step"], row[name]) for row in rows if name in row]
        ax.plot(*zip(*shown), color="C0", label="network")
        for i, (line, value) in enumerate(references[name].items()):
            ax.axhline(value, color=f"C{1 + i}", linestyle="--", linewidth=1, label=line)
        ax.set_title(f"validation: {name}")
        ax.set_xlabel("step")
        ax.legend(fontsize=7)
    save_figure(path, figure, dpi=100)


@contextlib.contextmanager
def _interrupt_flag():
    """Ctrl-C sets a flag that the loop reads between steps: an update is never left half-done.

    A second Ctrl-C interrupts at once.
    """
    flag = threading.Event()

    def handler(signum, frame):
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def train(task, schedule, out, settings, *, resume=False, quiet=False):
    """Train until ``schedule.steps``, or until Ctrl-C, which saves and returns.

    Parameters
    ----------
    task : Task
    schedule : Schedule
    out : path-like
        Folder claimed with `claim_folder`. Receives ``model.safetensors`` (moving average of the
        weights), ``checkpoint.safetensors``, ``metrics.csv``, ``curve.png``, ``validation.png`` and
        ``summary.json``.
    settings : dict
        What the run was started with: kept in the checkpoint and in the summary.
    resume : bool
        Continue from the checkpoint. Every step draws its data from ``(seed, step)``, so the result
        equals that of an uninterrupted run bit for bit.
    quiet : bool
        No progress bar.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    DeconvnetError
        If the loss or a gradient is not finite; the last checkpoint stays.
    """
    out = Path(out)
    parameters = task.network.parameters()
    optimiser = OPTIMISERS[schedule.optimizer](parameters, clip=schedule.clip)
    average = MovingAverage(parameters)
    rate_at = make_schedule(schedule.lr_schedule, schedule.lr, schedule.steps)
    metrics = _Metrics(out / METRICS)
    step, seconds, running = 0, 0.0, None
    if resume:
        arrays, record = load_arrays(out / CHECKPOINT)
        task.network.load_state({k[len("network/") :]: v for k, v in arrays.items() if k.startswith("network/")})
        optimiser.load_state({k[len("optimiser/") :]: v for k, v in arrays.items() if k.startswith("optimiser/")})
        for name, kept in average.average.items():
            kept[...] = array_module(kept).asarray(arrays[f"average/{name}"])
        average.updates = record["average_updates"]
        step, seconds, running = record["step"], record["seconds"], record["running_loss"]
        metrics.load(step)
    references = task.reference_scores()
    scores = {}

    def save():
        arrays = {f"network/{k}": v for k, v in task.network.state().items()}
        arrays.update({f"optimiser/{k}": v for k, v in optimiser.state().items()})
        arrays.update({f"average/{k}": v for k, v in average.average.items()})
        record = {
            "step": step,
            "seconds": seconds,
            "running_loss": running,
            "average_updates": average.updates,
            "settings": settings,
        }
        save_arrays(out / CHECKPOINT, arrays, record)
        with average.applied():
            training = {"steps": step, "seconds": round(seconds), "scores": scores, "settings": settings}
            save_network(out / MODEL, task.network, training=training)

    begun = time.perf_counter() - seconds
    synthesis = spent = 0.0
    bar = tqdm(total=schedule.steps, initial=step, disable=quiet, unit="step", dynamic_ncols=True, smoothing=0.05)
    with _interrupt_flag() as interrupted, bar:
        while step < schedule.steps and not interrupted.is_set():
            started = time.perf_counter()
            task.network.zero_grad()
            loss, synthesis_seconds = task.accumulate(np.random.default_rng((schedule.seed, step)), step, running)
            norm = gradient_norm(parameters)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DeconvnetError(
                    f"the loss or its gradient is not finite at step {step + 1}: start again with a lower --lr "
                    f"(the last good checkpoint stays in {out})"
                )
            optimiser.step(rate_at(step), step + 1, norm, only=task.trainable(step))
            if step and task.trainable(step) != task.trainable(step - 1):
                average.restart(task.trainable(step) or parameters)  # what is trained from now on is another thing
            step += 1
            if step % AVERAGE_EVERY == 0:
                average.update()
            running = loss if running is None else 0.98 * running + 0.02 * loss
            synthesis += synthesis_seconds
            spent += time.perf_counter() - started
            seconds = time.perf_counter() - begun
            stopping = step == schedule.steps or interrupted.is_set()
            if step % schedule.validate_every == 0 or stopping:
                with average.applied():
                    scores = task.validate()
                row = {"step": step, "seconds": seconds, "loss": running, "rate": rate_at(step - 1)}
                metrics.add({**row, "gradient_norm": norm, "synthesis_share": synthesis / spent, **scores})
                _draw_curve(out / CURVE, metrics.rows, references)
                synthesis = spent = 0.0
            if step % schedule.checkpoint_every == 0 or stopping:
                save()
            bar.update()
            shown = "".join(f", {name} {value:.2f}{task.unit}" for name, value in list(scores.items())[:1])
            bar.set_postfix_str(f"loss {running:.4f}{shown}", refresh=False)
        stopped_early = step < schedule.steps
    with average.applied():
        if not scores:
            scores = task.validate()
        task.picture(out / PICTURE)
        described = task.summary()
    shares = [row["synthesis_share"] for row in metrics.rows if "synthesis_share" in row]
    summary = {
        **described,
        "validation": scores,
        "steps": step,
        "seconds": round(seconds, 1),
        "synthesis_share": round(float(np.median(shares)), 4) if shares else None,
        "seed": schedule.seed,
        "interrupted": stopped_early,
        "settings": settings,
        "versions": {"deconvnet": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    with replacing(out / SUMMARY) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n")
    return summary
