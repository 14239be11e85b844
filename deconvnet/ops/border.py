"""Smooth periodic extension of images, so that the circular model of a DFT finds no step at the borders."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module

__all__ = ["extend_periodically", "extend_periodically_backward", "extended_shape"]


def extended_shape(shape: tuple[int, int], margin: int) -> tuple[int, int]:
    """The smallest sizes with fast DFTs that add at least ``margin`` pixels to height and width.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images.
    margin : int
        Pixels to add at least, as far as the images are that large: neither side is more than doubled.

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> extended_shape((255, 101), 34)
    (300, 135)
    """
    height, width = (min(scipy.fft.next_fast_len(n + min(margin, n), real=True), 2 * n) for n in shape)
    return height, width


def _blend(length: int, dtype: DTypeLike) -> np.ndarray:
    """Weights of the mirrored end in the gap, from nearly 1 to nearly 0, (length,)."""
    return (np.cos(0.5 * np.pi * (np.arange(length) + 0.5) / length) ** 2).astype(dtype)


def _extend_last(x: Array, size: int) -> Array:
    xp = array_module(x)
    length = x.shape[-1]
    gap = size - length
    weight = xp.asarray(_blend(gap, x.dtype))
    mirrored_end = x[..., length - gap :][..., ::-1]
    mirrored_start = x[..., :gap][..., ::-1]
    return xp.concatenate([x, weight * mirrored_end + (1 - weight) * mirrored_start], axis=-1)


def _extend_last_backward(dy: Array, length: int) -> Array:
    xp = array_module(dy)
    gap = dy.shape[-1] - length
    weight = xp.asarray(_blend(gap, dy.dtype))
    dx = dy[..., :length].copy()
    dgap = dy[..., length:]
    dx[..., length - gap :] += (weight * dgap)[..., ::-1]
    dx[..., :gap] += ((1 - weight) * dgap)[..., ::-1]
    return dx


def extend_periodically(x: Array, shape: tuple[int, int]) -> Array:
    """Continue images below and to the right, so that they are smooth when repeated.

    Parameters
    ----------
    x : real array (..., H, W)
    shape : (int, int)
        Height H' and width W' of the result, at most twice those of ``x``; see `extended_shape`.

    Returns
    -------
    real array (..., H', W')
        ``x`` is its top left part.

    Raises
    ------
    ValueError
        If the shape is smaller than the images or more than twice as large.

    Notes
    -----
    Between the last pixel and the first of the next repetition, the image mirrored at its end is faded into the image
    mirrored at its start with a raised cosine; first along rows, then along columns. It is linear; the backward is the
    adjoint.

    Examples
    --------
    >>> import numpy as np
    >>> extend_periodically(np.arange(4.0)[None], (2, 8))[0].round(2).tolist()
    [0.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 0.0]
    """
    height, width = x.shape[-2:]
    if not (height <= shape[0] <= 2 * height and width <= shape[1] <= 2 * width):
        raise ValueError(f"images of {height}×{width} cannot be extended to {shape[0]}×{shape[1]}")
    wide = _extend_last(x, shape[1])
    xp = array_module(x)
    return xp.ascontiguousarray(_extend_last(wide.swapaxes(-2, -1), shape[0]).swapaxes(-2, -1))


def extend_periodically_backward(dy: Array, shape: tuple[int, int]) -> Array:
    """Adjoint of `extend_periodically`: gradient (..., H, W) of images of that height and width."""
    xp = array_module(dy)
    wide = _extend_last_backward(dy.swapaxes(-2, -1), shape[0]).swapaxes(-2, -1)
    return xp.ascontiguousarray(_extend_last_backward(wide, shape[1]))
