"""What an experiment of `bench/figures.py` is: a function from options to numbers and figures; and its photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.scoring.data import sharp_photographs
from bench.scoring.panels import busiest_window
from deconvnet.colour import luminance
from deconvnet.io import read_image

__all__ = ["Experiment", "Sizes", "add_noise", "on_one_side", "read_grey", "unseen_photographs"]

PROGRAM = "figures"


class Sizes(NamedTuple):
    """Default of an option: as a rule, and with ``--quick``."""

    full: object
    quick: object


class Experiment(NamedTuple):
    """One figure of a paper.

    Attributes
    ----------
    about : str
        Which figure it is, and what it shows.
    run : callable
        ``run(options)`` returns ``(numbers, figure)``: what JSON can hold, and a matplotlib figure, or several in a
        dict by what is added to the name of the file. The options are those named below and those that all experiments
        have: ``out`` (folder of its own, which exists), ``seed``, ``device``, ``quiet`` and ``quick``.
    defaults : dict
        Option names and their defaults; those that are `Sizes` depend on ``--quick``.
    """

    about: str
    run: Callable
    defaults: dict


def unseen_photographs(folder, count, side):
    """Parts of photographs that training leaves out.

    Parameters
    ----------
    folder : path-like or None
        None for the photographs that scikit-image carries.
    count : int
        At most so many.
    side : int
        Of the parts, in pixels; photographs that are smaller are left out.

    Returns
    -------
    dict of str to float32 array (side, side)
        Luminance in [0, 1], by name: of each photograph the part with most detail.

    Raises
    ------
    DeconvnetError
        If no photograph is large enough.
    """
    found = sharp_photographs(folder, limit=count, unseen=True, least=side)
    return {name: np.ascontiguousarray(pixels[busiest_window(pixels, side)]) for name, pixels in found.items()}


def read_grey(path):
    """Luminance of a picture file, float32 (H, W) in [0, 1]."""
    return luminance(read_image(Path(path)).pixels)


def add_noise(rng, image, sigma):
    """The image with white Gaussian noise, in its dtype."""
    return image + image.dtype.type(sigma) * rng.standard_normal(image.shape, dtype=image.dtype)


def on_one_side(*psfs):
    """PSFs (..., h, w) of any sizes with zeros around them, so that all have one side and one centre; a list."""
    side = max(max(psf.shape[-2:]) for psf in psfs)
    found = []
    for psf in psfs:
        before = [side // 2 - n // 2 for n in psf.shape[-2:]]
        room = [(b, side - n - b) for b, n in zip(before, psf.shape[-2:])]
        found.append(np.pad(psf, [(0, 0)] * (psf.ndim - 2) + room))
    return found
