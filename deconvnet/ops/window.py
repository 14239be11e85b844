"""Windows that fade the borders of a patch, so that its DFT does not see a step there."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels.photo.fade import fade_crop, fade_pad
from deconvnet.layers.base import Layer

__all__ = ["BarthannBorder", "barthann_border", "barthann_border_backward", "border_fade", "hann_window"]


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


def _profiles(xp, shape, width, scale, dtype):
    """The window's two factors for an image, the scale in the first."""
    width = min(width, *(n // 2 for n in shape))
    down, across = (_barthann_profile(n, width) for n in shape)
    return xp.asarray((scale * down).astype(dtype)), xp.asarray(across.astype(dtype))


def barthann_border(x, width, *, scale=1.0, grid=None):
    """Images whose borders fade to zero like a Bartlett-Hann window (Schuler et al. 2015, Sec. 3.1.2).

    Parameters
    ----------
    x : real array (..., H, W)
    width : int
        Pixels over which each border fades; at most half of the shorter side is used.
    scale : float
        Factor on all pixels.
    grid : (int, int), optional
        Height and width of the result, zero beyond the image; the image's own by default.

    Returns
    -------
    array (..., H, W), or (..., *grid)

    Notes
    -----
    The window is ``w(t) = 0.62 − 0.48 |t| + 0.38 cos 2πt`` for t in (−½, ½), and 1 between its halves.
    """
    xp = array_module(x)
    shape = x.shape[-2:]
    grid = shape if grid is None else tuple(grid)
    down, across = _profiles(xp, shape, width, scale, x.dtype)
    return fade_pad(x.reshape(-1, *shape), down, across, grid).reshape(*x.shape[:-2], *grid)


def barthann_border_backward(dy, shape, width, *, scale=1.0):
    """Gradient (..., H, W) of the images of `barthann_border`, of the given shape (H, W)."""
    down, across = _profiles(array_module(dy), shape, width, scale, dy.dtype)
    return fade_crop(dy.reshape(-1, *dy.shape[-2:]), down, across).reshape(*dy.shape[:-2], *shape)


class BarthannBorder(Layer):
    """`barthann_border` as a layer.

    Parameters
    ----------
    width : int
        Pixels over which each border fades.
    """

    def __init__(self, width):
        self.width = width

    def forward(self, x, *, scale=1.0, grid=None, train=False):
        return barthann_border(x, self.width, scale=scale, grid=grid), ((x.shape[-2:], scale) if train else None)

    def factors(self, shape, *, like, scale=1.0):
        """The window's two factors (H,) and (W,), with the scale in the first, on the device of ``like``."""
        return _profiles(array_module(like), shape, self.width, scale, like.dtype)

    def backward(self, dy, cache):
        shape, scale = cache
        return barthann_border_backward(dy, shape, self.width, scale=scale)
