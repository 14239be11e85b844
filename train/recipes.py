"""Recipes: named sets of settings for `train.photo` and `train.burst`, chosen with ``--recipe``.

A recipe changes defaults; an option that is given on the command line wins over it. The name and all settings stand in
``summary.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BURST", "PHOTO", "with_recipe"]

#: Of the photo network. "default" is what `train.photo.DEFAULTS` says.
#:
#: "paper" is Schuler et al. 2015, "Learning to Deblur", Secs. 3.1 to 3.3 (doi:10.1109/TPAMI.2015.2481418): 32 filters,
#: 2, 2 and 4 pairs of feature images in three stages, crops of 256 px, 1 % noise, ADADELTA with a rate of 0.01 and a
#: decay of 0.95, the squared error of the PSF, β_k fixed at 1e-4, examples above ten times the running mean left out,
#: 1000 steps in which a new stage is trained alone, later stages judged by the last PSF only. The paper trains each
#: stage for a million steps: give --steps 3000000, or as many as there is time for. What it leaves open (filter side,
#: one hidden layer, examples a step) is as in "default".
PHOTO: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "filters": 32,
        "stages": 3,
        "features": None,  # 2, 2, 4; two in every stage with --targets gradients
        "targets": "learned",
        "beta": "fixed",
        "crop": 256,
        "noise": 0.01,
        "loss": "squared",
        "stage_loss": 0.0,
        "frozen_steps": 1000,
        "optimizer": "adadelta",
        "lr": 0.01,
        "lr_schedule": "constant",
        "clip": 0.0,
    },
}

#: Of the burst networks. "default" is what `train.burst.DEFAULTS` says.
#:
#: "paper" is Wieschollek et al. 2016, "End-to-End Learning for Image Burst Deblurring", Secs. 3 and 4
#: (doi:10.1007/978-3-319-54190-7_3): the full width (--network compact for the small one), 14 frames blurred by 17 and
#: 7 px on the stored values, squared error, gradient descent with momentum 0.9, 32 bursts a step, a rate of 2 that
#: falls to 0.8 of itself every 5000 steps. Filters start as the identity and the fusion as Fourier burst accumulation,
#: so that training starts exactly there.
#:
#: The paper does not say what its loss is summed over. A rate of 2 goes with the *mean* over all pixels of the batch,
#: values in [0, 1], as it is here: with the sum over a patch of 33×33 px the same step would be a rate of 0.0018.
#: It goes with the fusion by softmax. With --fusion eq6, Eq. (6) as printed, the weights multiply spectra without any
#: bound, and training diverges unless --lr is 2e-5 (train/LOG.md).
#: Nor can the paper's "noise of variance 0.1" be meant on [0, 1]: --noise is 0.01 unless it is given.
BURST: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "network": "paper",
        "fusion": "softmax",
        "blur": "plain",
        "frames": [14, 14],
        "psf_size": 17,
        "noise": 0.01,
        "loss": "mse",
        "psf_loss": 0.0,
        "optimizer": "sgd",
        "batch": 32,
        "lr": 2.0,
        "lr_schedule": "step",
        "clip": 0.0,
    },
}


def with_recipe(
    defaults: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]], said: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings of a new run: the defaults, what the recipe changes, what was said.

    Parameters
    ----------
    defaults : dict
        With the entry ``recipe``.
    recipes : dict of dict
        `PHOTO` or `BURST`.
    said : dict
        Options that were given.

    Returns
    -------
    dict
    """
    recipe = recipes[said.get("recipe", defaults["recipe"])]
    return {**defaults, **recipe, **said}
