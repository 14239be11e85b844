"""Windows that fade the borders of a patch, so that its DFT does not see a step there."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import array_module
from deconvnet.layers.base import Layer

__all__ = ["BarthannBorder", "barthann_border", "border_fade", "hann_window"]


@functools.cache
def hann_window(side):
    """Symmetric 2-D Hann window (side, side), float64, strictly positive: sin²(π (n + ½) / side).

    Shifted copies at any step that divides the side add up to a constant.
    """
    profile = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(profile, profile)


@functools.cache
def border_fade(side, width):
    """2-D window (side, side), float64: 1 inside, a raised cosine over ``width`` px at each border."""
    ramp = np.sin(0.5 * np.pi * (np.arange(width) + 0.5) / width) ** 2
    profile = np.ones(side)
    profile[:width], profile[side - width :] = ramp, ramp[::-1]
    return np.outer(profile, profile)


@functools.cache
def _barthann_profile(length, width):
    """1 inside and the halves of a Bartlett-Hann window of ``2·width`` px at the ends, (length,), float64."""
    x = (np.arange(width) + 0.5) / (2 * width) - 0.5  # in (-1/2, 0): where the window rises
    ramp = 0.62 - 0.48 * abs(x) + 0.38 * np.cos(2 * np.pi * x)
    profile = np.ones(length)
    profile[:width], profile[length - width :] = ramp, ramp[::-1]
    return profile


def barthann_border(x, width):
    """Images whose borders fade to zero like a Bartlett-Hann window (Schuler et al. 2015, Sec. 3.1.2).

    Parameters
    ----------
    x : real array (..., H, W)
    width : int
        Pixels over which each border fades; at most half of the shorter side is used.

    Returns
    -------
    array (..., H, W)

    Notes
    -----
    The window is ``w(t) = 0.62 − 0.48 |t| + 0.38 cos 2πt`` for t in (−½, ½), and 1 between its halves.
    Multiplication by it is its own adjoint, so the backward is the same function.
    """
    xp = array_module(x)
    height, width_px = x.shape[-2:]
    width = min(width, height // 2, width_px // 2)
    rows, columns = (xp.asarray(_barthann_profile(n, width).astype(x.dtype)) for n in (height, width_px))
    return x * (rows[:, None] * columns)


class BarthannBorder(Layer):
    """`barthann_border` as a layer.

    Parameters
    ----------
    width : int
        Pixels over which each border fades.
    """

    def __init__(self, width):
        self.width = width

    def forward(self, x, *, train=False):
        return barthann_border(x, self.width), None

    def backward(self, dy, cache=None):
        return barthann_border(dy, self.width)
