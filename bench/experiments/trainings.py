"""Short trainings for the experiments: a folder each, continued if interrupted, not repeated when finished."""

from __future__ import annotations

import csv
import functools
import json

from bench.experiments.common import Sizes
from deconvnet.backend import resolve_device
from deconvnet.errors import DeconvnetError
from train import photo
from train.checkpoint import CHECKPOINT, MODEL, claim_folder, read_settings
from train.loop import METRICS, SUMMARY, Schedule, train

__all__ = ["PHOTO_TRAINING", "looks", "model_of", "read_metrics", "train_once", "train_photo"]

#: Options of all experiments that train a photo network. PSFs of 9 px, since a short training learns little about the
#: paper's 17; the network is otherwise the published one.
PHOTO_TRAINING = {
    "images": None,
    "psf_size": Sizes(9, 5),
    "steps": Sizes(2000, 12),
    "batch": Sizes(4, 2),
    "filters": Sizes(32, 4),
    "crop": Sizes(128, 32),
    "validation": Sizes(32, 4),
    "validation_crop": Sizes(256, 40),
}


def looks(steps, quick):
    """Settings of a training that say how often it is validated and saved."""
    return {"validate_every": max(1, steps // (2 if quick else 10)), "checkpoint_every": max(1, steps // 4)}


def train_once(folder, settings, make_task, options):
    """Train, or continue, or find it done.

    Parameters
    ----------
    folder : Path
        Of this training.
    settings : dict
        Of the run, with all that `train.loop.Schedule` wants.
    make_task : callable
        ``make_task(settings, device)`` gives the task.
    options : Namespace
        With ``device`` and ``quiet``.

    Returns
    -------
    dict
        The summary that `train.loop.train` made.

    Raises
    ------
    DeconvnetError
        If the folder holds a training with other settings.
    KeyboardInterrupt
        If the training was interrupted; what it learned is kept for the next call.
    """
    resume = (folder / CHECKPOINT).exists()
    if resume:
        before = read_settings(folder)
        differing = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
        if differing:
            raise DeconvnetError(
                f"{folder} holds a training with other settings ({', '.join(differing)}): choose another --out"
            )
        if (folder / SUMMARY).exists():
            summary = json.loads((folder / SUMMARY).read_text())
            if not summary["interrupted"]:
                return summary
    with claim_folder(folder, resume):
        task = make_task(settings, resolve_device(options.device))
        schedule = Schedule(**{name: settings[name] for name in Schedule._fields})
        summary = train(task, schedule, folder, settings, resume=resume, quiet=options.quiet)
    if summary["interrupted"]:
        raise KeyboardInterrupt
    return summary


def train_photo(folder, options, **changes):
    """Train a photo network, or find it trained.

    Parameters
    ----------
    folder : Path
        Of this training.
    options : Namespace
        With the options of `PHOTO_TRAINING`, ``seed``, ``device``, ``quick`` and ``quiet``.
    **changes
        Settings of `train.photo` that differ from the options and its defaults.

    Returns
    -------
    dict
        As of `train_once`.
    """
    settings = {
        **photo.DEFAULTS,
        **{name: getattr(options, name) for name in PHOTO_TRAINING},
        **looks(options.steps, options.quick),
        "stages": 1,
        "filter_size": options.psf_size,
        "frozen_steps": options.steps // 10,
        "seed": options.seed,
        **changes,
    }
    if settings["lr"] is None:
        settings["lr"] = photo.RATES[settings["optimizer"]]
    if settings["stage_steps"] is None:
        settings["stage_steps"] = max(1, settings["steps"] // settings["stages"])

    return train_once(folder, settings, functools.partial(photo.make_task, quiet=True), options)


def read_metrics(folder, score):
    """Steps, and a validation score at these steps, of a training."""
    with (folder / METRICS).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[score]]
    return [int(float(row["step"])) for row in rows], [float(row[score]) for row in rows]


def model_of(folder):
    """The trained network's file."""
    return folder / MODEL
