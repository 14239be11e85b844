"""The training loop: steps, validation, what a signal does, curve and summary.

What is trained is a `Task`; how it is trained, interrupted and recorded is here, once. What a run continues from is in
`train.checkpoint`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from deconvnet._version import __version__
from deconvnet.files import replacing, save_figure
from deconvnet.networks.io import save_network

from .checkpoint import MODEL, Progress, load_checkpoint, save_checkpoint
from .optimisers import SGD, Adadelta, Adam, MovingAverage, gradient_norm, make_schedule
from .processes import AgreedError, LocalProcesses, Processes

__all__ = ["METRICS", "SUMMARY", "Schedule", "SharedTask", "Task", "say", "train"]

METRICS, CURVE, PICTURE, SUMMARY = "metrics.csv", "curve.png", "validation.png", "summary.json"
OPTIMISERS = {"adam": Adam, "sgd": SGD, "adadelta": Adadelta}
AVERAGE_EVERY = 10  # steps between two updates of the moving average: it reads every weight


class Task(Protocol):
    """What the loop needs to know of a network and its data."""

    network: Any
    unit: str  # of the scores, with a space before it

    def trainable(self, step: int) -> set[str] | None:
        """Names of the parameters that this step (from 0) may change, as a set; None for all."""

    def accumulate(self, rng: np.random.Generator, step: int, running: float | None) -> tuple[float, float]:
        """Draw a batch, add its gradients to the parameters; returns ``(loss, seconds of synthesis)``.

        ``running`` is the running mean of the losses so far, None before the first.
        """

    def resume(self, step: int) -> None:
        """Bring what weights do not say about the network to where ``step`` steps left it."""

    def validate(self) -> dict[str, float]:
        """Scores on the fixed validation data, ``{name: float}``; the first is shown while training."""

    def reference_scores(self) -> dict[str, dict[str, float]]:
        """What needs no network, by validation score: ``{score: {name: value}}``, drawn as lines in the curve."""

    def picture(self, path: Path) -> None:
        """Draw validation examples."""

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` should say beyond the scores."""


@runtime_checkable
class SharedTask(Task, Protocol):
    """One that several processes can train.

    Each ``accumulate`` learns from its process's share of the batch: summed over the processes, losses and gradients
    are those of the batch.
    """

    processes: Processes


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


class _Metrics:
    """Rows of ``metrics.csv``, rewritten whole so that a kill leaves the old file or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def load(self, up_to_step: int) -> None:
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= up_to_step]

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        names = list(dict.fromkeys(name for r in self.rows for name in r))
        lines = [",".join(names)]
        lines += [",".join("" if n not in r else f"{r[n]:.6g}" for n in names) for r in self.rows]
        with replacing(self.path) as part:
            part.write_text("\n".join(lines) + "\n")


def _draw_curve(path: Path, rows: list[dict[str, float]], references: dict[str, dict[str, float]]) -> None:
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
def _interrupt_flag() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set a flag that the loop reads between steps: an update is never left half-done.

    A second signal interrupts at once.
    """
    flag = threading.Event()

    def handler(signum: int, frame: Any) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {which: signal.signal(which, handler) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for which, former in before.items():
            signal.signal(which, former)


def say(line: str) -> None:
    """A line on standard error; where that is closed or full, training is worth more than the line."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr)


def _progress_bar(steps: int, step: int, quiet: bool) -> tqdm:
    """A bar on a terminal, and nothing anywhere else."""
    shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
    return tqdm(total=steps, initial=step, disable=not shown, unit="step", dynamic_ncols=True, smoothing=0.05)


def train(
    task: Task,
    schedule: Schedule,
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    *,
    resume: bool = False,
    quiet: bool = False,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Train until ``schedule.steps``, or until Ctrl-C or SIGTERM, which saves and returns.

    Parameters
    ----------
    task : Task
    schedule : Schedule
    out : path-like
        Folder claimed with `train.checkpoint.claim_folder`. Receives ``model.safetensors`` (moving average of the
        weights), ``checkpoint.safetensors``, ``metrics.csv``, ``curve.png``, ``validation.png`` and
        ``summary.json``.
    settings : dict
        What the run was started with: kept in the checkpoint and in the summary.
    resume : bool
        Continue from the checkpoint. Every step draws its data from ``(seed, step)``, so the result
        equals that of an uninterrupted run bit for bit.
    quiet : bool
        No progress bar; there is none either where standard error is no terminal.
    processes : Processes, optional
        Of this training; all of them call this function. By default it is this one alone.

    Returns
    -------
    dict
        The summary; nothing in it in other processes than the first.

    Raises
    ------
    AgreedError
        If the loss or a gradient is not finite; the last checkpoint stays.
    """
    out = Path(out)
    processes = processes or LocalProcesses()
    first = processes.rank == 0  # which alone validates, writes and shows
    parameters = task.network.parameters()
    optimiser = OPTIMISERS[schedule.optimizer](parameters, clip=schedule.clip)
    average = MovingAverage(parameters)
    rate_at = make_schedule(schedule.lr_schedule, schedule.lr, schedule.steps)
    metrics = _Metrics(out / METRICS)
    step, seconds, running = Progress()
    if resume:
        step, seconds, running = load_checkpoint(out, task.network, optimiser, average, processes)
        task.resume(step)
        metrics.load(step)
    references = task.reference_scores()
    stop = False
    scores: dict[str, float] = {}

    def save() -> None:
        save_checkpoint(out, task.network, optimiser, average, Progress(step, seconds, running), settings)
        with average.applied():
            training = {"steps": step, "seconds": round(seconds), "scores": scores, "settings": settings}
            save_network(out / MODEL, task.network, training=training)

    begun = time.perf_counter() - seconds
    synthesis = spent = 0.0
    with _interrupt_flag() as interrupted, _progress_bar(schedule.steps, step, quiet or not first) as bar:
        while step < schedule.steps and not stop:
            started = time.perf_counter()
            task.network.zero_grad()
            loss, synthesis_seconds = task.accumulate(np.random.default_rng((schedule.seed, step)), step, running)
            processes.sum_gradients(parameters)
            loss, stops = processes.total([loss, interrupted.is_set()])  # all stop after the same step
            norm, stop = gradient_norm(parameters), stops > 0
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise AgreedError(
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
            stopping = step == schedule.steps or stop
            if first and (step % schedule.validate_every == 0 or stopping):
                with average.applied():
                    scores = task.validate()
                row = {"step": step, "seconds": seconds, "loss": running, "rate": rate_at(step - 1)}
                metrics.add({**row, "gradient_norm": norm, "synthesis_share": synthesis / spent, **scores})
                _draw_curve(out / CURVE, metrics.rows, references)
                synthesis = spent = 0.0
            if first and (step % schedule.checkpoint_every == 0 or stopping):
                save()
            bar.update()
            shown = "".join(f", {name} {value:.2f}{task.unit}" for name, value in list(scores.items())[:1])
            bar.set_postfix_str(f"loss {running:.4f}{shown}", refresh=False)
        stopped_early = step < schedule.steps
    if not first:
        return {}
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
