"""Images times a separable window, laid into a larger grid of zeros, and the adjoint: one pass over memory each.

It stands before every transform of the single-photo network, where four passes (window, scale, pad, copy) would cost
as much as the transform.
"""

from __future__ import annotations

import numba
import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = [
    "fade_crop",
    "fade_crop_cuda",
    "fade_crop_numba",
    "fade_crop_reference",
    "fade_pad",
    "fade_pad_cuda",
    "fade_pad_numba",
    "fade_pad_reference",
]


def fade_pad_reference(images, down, across, grid):
    """``out[m, i, j] = images[m, i, j] · down[i] · across[j]``, zero where the grid is larger than the image.

    Parameters
    ----------
    images : real array (M, H, W)
    down : real array (H,)
    across : real array (W,)
    grid : (int, int)
        gh ≥ H and gw ≥ W.

    Returns
    -------
    array (M, gh, gw)
    """
    xp = array_module(images, down, across)
    count, height, width = images.shape
    out = xp.zeros((count, *grid), images.dtype)
    out[:, :height, :width] = images * (down[:, None] * across)
    return out


def fade_crop_reference(grids, down, across):
    """Adjoint of `fade_pad_reference`: ``grids[m, i, j] · down[i] · across[j]``, (M, gh, gw) to (M, H, W)."""
    xp = array_module(grids, down, across)
    return xp.ascontiguousarray(grids[:, : len(down), : len(across)] * (down[:, None] * across))


@numba.njit(parallel=True, cache=True)
def _fade_pad(images, down, across, out):
    count, height, width = images.shape
    below = out.shape[1]
    for n in numba.prange(count * below):
        m, i = n // below, n % below
        row = out[m, i]
        if i < height:
            source, factor = images[m, i], down[i]
            for j in range(width):
                row[j] = source[j] * (factor * across[j])
            row[width:] = 0
        else:
            row[:] = 0


def fade_pad_numba(images, down, across, grid):
    """CPU twin of `fade_pad_reference`; parallel over the rows."""
    out = np.empty((len(images), *grid), images.dtype)
    _fade_pad(np.ascontiguousarray(images), down, across, out)
    return out


@numba.njit(parallel=True, cache=True)
def _fade_crop(grids, down, across, out):
    count, height, width = out.shape
    for n in numba.prange(count * height):
        m, i = n // height, n % height
        row, source, factor = out[m, i], grids[m, i], down[i]
        for j in range(width):
            row[j] = source[j] * (factor * across[j])


def fade_crop_numba(grids, down, across):
    """CPU twin of `fade_crop_reference`; parallel over the rows."""
    out = np.empty((len(grids), len(down), len(across)), grids.dtype)
    _fade_crop(np.ascontiguousarray(grids), down, across, out)
    return out


def fade_pad_cuda(images, down, across, grid):
    """GPU twin of `fade_pad_reference`: one thread per element of the grid."""
    xp = array_module(images, down, across)
    images, down, across = (xp.ascontiguousarray(a) for a in (images, down, across))
    count, height, width = images.shape
    cuda.expect(down=(down, (height,)), across=(across, (width,)))
    out = xp.empty((count, *grid), images.dtype)
    blocks = (cuda.blocks(grid[0] * grid[1], 256), min(count, 65535))
    arguments = [images, down, across, count, height, width, grid[0], grid[1], out]
    cuda.launch("photo/fade", "fade_pad", blocks, 256, arguments, real=images.dtype)
    return out


def fade_crop_cuda(grids, down, across):
    """GPU twin of `fade_crop_reference`: one thread per pixel."""
    xp = array_module(grids, down, across)
    grids, down, across = (xp.ascontiguousarray(a) for a in (grids, down, across))
    count, below, beside = grids.shape
    out = xp.empty((count, len(down), len(across)), grids.dtype)
    blocks = (cuda.blocks(len(down) * len(across), 256), min(count, 65535))
    arguments = [grids, down, across, count, len(down), len(across), below, beside, out]
    cuda.launch("photo/fade", "fade_crop", blocks, 256, arguments, real=grids.dtype)
    return out


def fade_pad(images, down, across, grid):
    """Production form for the arrays' device; see `fade_pad_reference`."""
    chosen = fade_pad_numba if array_module(images, down, across) is np else fade_pad_cuda
    return chosen(images, down, across, grid)


def fade_crop(grids, down, across):
    """Production form for the arrays' device; see `fade_crop_reference`."""
    return (fade_crop_numba if array_module(grids, down, across) is np else fade_crop_cuda)(grids, down, across)
