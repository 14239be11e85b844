"""The photo paper's figures that compare architectures and optimisers by short trainings of one budget each.

Schuler et al. 2015, Figs. 3 to 6: stages, filters and hidden layers, feature images, ADADELTA against gradient descent.
"""

from __future__ import annotations

import re

import numpy as np

from bench.experiments.common import Experiment
from bench.experiments.drawing import curves, empty_figure
from bench.experiments.trainings import PHOTO_TRAINING, read_metrics, train_photo
from deconvnet.backend import array_module
from deconvnet.layers.base import Layer
from deconvnet.layers.features import Features

__all__ = ["EXPERIMENTS", "GradientTargets"]


class GradientTargets(Layer):
    """Feature images of which only the x̃_i are learned: the ỹ_i are the blurry picture's two gradients.

    Parameters
    ----------
    features : Features
        One channel in, two images out: the x̃_i.

    Notes
    -----
    ``ỹ_1[r, c] = (y[r, c + 1] − y[r, c − 1]) / 2`` and the same downwards, where the filters have all of their
    neighbourhood.
    """

    def __init__(self, features):
        self.features = features
        self.size = features.size

    def strips(self, x, window, grid):
        """No short way to the row transforms of the feature images, as `Features.strips` says it."""
        return None, None

    def forward(self, x, *, train=False):
        """Images (B, 4, H − size + 1, W − size + 1) of the picture (B, 1, H, W)."""
        xp = array_module(x)
        learned, cache = self.features.forward(x, train=train)
        reach = self.features.size // 2
        height, width = learned.shape[-2:]
        rows, columns = slice(reach, reach + height), slice(reach, reach + width)
        across = (x[:, 0, rows, reach + 1 : reach + 1 + width] - x[:, 0, rows, reach - 1 : reach - 1 + width]) / 2
        down = (x[:, 0, reach + 1 : reach + 1 + height, columns] - x[:, 0, reach - 1 : reach - 1 + height, columns]) / 2
        return xp.concatenate([learned, xp.stack([across, down], axis=1)], axis=1), cache

    def backward(self, dy, cache, *, dx_channels=None):
        """Accumulate the gradients of the learned images; the picture gets none."""
        return self.features.backward(array_module(dy).ascontiguousarray(dy[:, :2]), cache, dx_channels=dx_channels)


def _predefine_gradients(task):
    stage = task.network.all_stages()[0]
    wish = task.network.config["scales"][0]
    rng = np.random.default_rng(task.settings["seed"])
    learned = Features(1, wish["filters"], wish["filter_size"], wish["hidden_layers"], 2, rng)
    stage.features = GradientTargets(learned).to(task.device)


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
    variants["2 pairs, ỹ gradients"] = {"features": [2], "adapt": _predefine_gradients}
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
