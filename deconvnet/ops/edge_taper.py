"""Edge taper: the borders of an image fade to zero, so that its DFT does not see a step there."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.fade import fade_crop, fade_pad
from deconvnet.ops.window import bartlett_hann

__all__ = ["edge_taper", "edge_taper_backward", "edge_taper_factors"]


@functools.lru_cache(maxsize=64)
def _profile(length: int, width: int) -> np.ndarray:
    """1 inside and the halves of a Bartlett-Hann window of ``2·width`` px at the ends, (length,), float64."""
    ramp = bartlett_hann(2 * width)[:width]
    profile = np.ones(length)
    profile[:width], profile[length - width :] = ramp, ramp[::-1]
    return profile


def edge_taper_factors(shape: tuple[int, int], width: int, *, scale: float = 1.0, like: Array) -> tuple[Array, Array]:
    """The window of `edge_taper` as two factors, the scale in the first.

    Parameters
    ----------
    shape : (int, int)
        Height H and width W of the images.
    width : int
        Pixels over which each border fades; at most half of the shorter side is used.
    scale : float
        Factor on all pixels.
    like : real array
        Its dtype and device are those of the factors.

    Returns
    -------
    down : real array (H,)
    across : real array (W,)
    """
    xp = array_module(like)
    width = min(width, *(n // 2 for n in shape))
    down, across = (_profile(n, width) for n in shape)
    return xp.asarray((scale * down).astype(like.dtype)), xp.asarray(across.astype(like.dtype))


def edge_taper(x: Array, width: int, *, scale: float = 1.0, grid: Sequence[int] | None = None) -> Array:
    """Images whose borders fade to zero like a Bartlett-Hann window.

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
    real array (..., H, W), or (..., H', W') of the grid
        Dtype of ``x``.

    Notes
    -----
    The window is 1 inside and half of a `bartlett_hann` window at each end, along rows and columns (Schuler et al.
    2015, Sec. 3.1.2, doi:10.1109/TPAMI.2015.2481418).

    Examples
    --------
    >>> import numpy as np
    >>> edge_taper(np.ones((1, 5)), 2).round(3)  # a side of one pixel has no room to fade
    array([[1., 1., 1., 1., 1.]])
    >>> edge_taper(np.ones((4, 5)), 2)[1].round(2).tolist()
    [0.14, 0.69, 0.83, 0.69, 0.14]
    """
    shape = x.shape[-2:]
    out = shape if grid is None else tuple(grid)
    down, across = edge_taper_factors(shape, width, scale=scale, like=x)
    return fade_pad(x.reshape(-1, *shape), down, across, out).reshape(*x.shape[:-2], *out)


def edge_taper_backward(dy: Array, shape: tuple[int, int], width: int, *, scale: float = 1.0) -> Array:
    """Adjoint of `edge_taper`.

    Parameters
    ----------
    dy : real array (..., H, W), or (..., H', W') of the grid
    shape : (int, int)
        Height H and width W of the images.
    width, scale
        As in `edge_taper`.

    Returns
    -------
    real array (..., H, W)
    """
    down, across = edge_taper_factors(shape, width, scale=scale, like=dy)
    return fade_crop(dy.reshape(-1, *dy.shape[-2:]), down, across).reshape(*dy.shape[:-2], *shape)
