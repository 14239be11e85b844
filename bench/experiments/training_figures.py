"""The photo paper's figures that compare architectures and optimisers by short trainings of one budget each.

Schuler et al. 2015, Figs. 3 to 6: stages, filters and hidden layers, feature images, ADADELTA against gradient descent.
"""

from __future__ import annotations

import re

from bench.experiments.common import Experiment
from bench.experiments.drawing import curves, empty_figure
from bench.experiments.trainings import PHOTO_TRAINING, read_metrics, train_photo

__all__ = ["EXPERIMENTS"]


def compare(options, variants, title):
    """Train every variant for the same number of steps; numbers and a figure of learning curves.

    Parameters
    ----------
    options : Namespace
    variants : dict of str to dict
        Label to settings, as `bench.experiments.trainings.train_photo` takes them.
    title : str
    """
    lines, numbers, guess = {}, {}, 0.0
    for label, settings in variants.items():
        folder = options.out / re.sub(r"[^a-z0-9.]+", "-", label)
        summary = train_photo(folder, options, **settings)
        steps, errors = read_metrics(folder, "PSF error")
        lines[label] = (steps, errors)
        guess = summary["psf_error"]["mean PSF"]  # the same for all: they are validated on the same photos
        numbers[label] = {
            "PSF error": errors[-1],
            "PSF error by step": dict(zip(steps, errors)),
            "PSNR in dB": summary["psnr"],
            "seconds": summary["seconds"],
        }
    figure = empty_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    budget = f"{options.steps} steps of {options.batch}, PSFs of {options.psf_size} px"
    references = {"mean of the true PSFs": guess}
    curves(left, lines, title=f"{title}; {budget}", x_label="step", y_label="PSF error", references=references)
    names, last = list(lines), [errors[-1] for _, errors in lines.values()]
    right.barh(names, last, color=[f"C{i}" for i in range(len(names))])
    for i, value in enumerate(last):
        right.text(value, i, f" {value:.3f}", va="center", fontsize=8)
    right.set_xlim(0, 1.15 * max([*last, guess]))
    right.axvline(guess, color="0.4", linestyle="--", linewidth=1)
    right.invert_yaxis()
    right.tick_params(axis="y", labelsize=8)
    right.set_title("PSF error at the end", fontsize=9)
    return {"PSF error of the mean of the true PSFs": guess, "trainings": numbers}, figure


def stages(options):
    """Fig. 3."""
    return compare(options, {f"{n} stage{'s' * (n > 1)}": {"stages": n} for n in (1, 2, 3)}, "stages")


def filters(options):
    """Fig. 4."""
    most = options.filters
    wishes = [(most // 4, 1), (most // 2, 1), (most, 1), (most, 2), (most, 3)]
    variants = {
        f"{n} filters, {hidden} hidden": {"filters": n, "hidden_layers": hidden} for n, hidden in wishes if n > 0
    }
    return compare(options, variants, "filters and hidden layers")


def features(options):
    """Fig. 5."""
    variants = {f"{n} pair{'s' * (n > 1)}": {"features": [n]} for n in (1, 2, 4, 8)}
    variants["2 pairs, ỹ gradients"] = {"features": [2], "targets": "gradients"}
    return compare(options, variants, "feature images")


def optimizer(options):
    """Fig. 6."""
    rates = {"adadelta": (0.01, 0.1, 1.0), "sgd": (0.001, 0.01, 0.1), "adam": (3e-3,)}
    variants = {
        f"{name} {rate:g}": {"optimizer": name, "lr": rate, "lr_schedule": "constant"}
        for name, several in rates.items()
        for rate in several
    }
    return compare(options, variants, "optimiser and its rate")


EXPERIMENTS = {
    "photo-stages": Experiment("photo paper, Fig. 3: one, two and three stages", stages, PHOTO_TRAINING),
    "photo-filters": Experiment("photo paper, Fig. 4: number of filters and of hidden layers", filters, PHOTO_TRAINING),
    "photo-features": Experiment(
        "photo paper, Fig. 5: number of feature images, and blurry ones set to the picture's gradients",
        features,
        PHOTO_TRAINING,
    ),
    "photo-optimizer": Experiment("photo paper, Fig. 6: ADADELTA, gradient descent, Adam", optimizer, PHOTO_TRAINING),
}
