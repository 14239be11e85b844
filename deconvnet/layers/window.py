"""Windows that fade the borders of a patch, so that its DFT does not see a step there."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["border_fade", "hann_window"]


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
