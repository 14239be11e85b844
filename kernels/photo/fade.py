"""Images times a separable window, laid into a larger grid of zeros, and the adjoint: one pass over memory each.

It stands before every transform of the single-photo network, where four passes (window, scale, pad, copy) would cost
as much as the transform.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["fade_crop", "fade_pad"]


def _pad_reference(images: Array, down: Array, across: Array, grid: tuple[int, int]) -> Array:
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


def _crop_reference(grids: Array, down: Array, across: Array) -> Array:
    """Adjoint of `fade_pad`: ``out[m, i, j] = grids[m, i, j] · down[i] · across[j]``, the image's part of the grid.

    Parameters
    ----------
    grids : real array (M, gh, gw)
    down : real array (H,)
    across : real array (W,)

    Returns
    -------
    array (M, H, W)
    """
    xp = array_module(grids, down, across)
    return xp.ascontiguousarray(grids[:, : len(down), : len(across)] * (down[:, None] * across))


@compiled
def _fade_pad(images, down, across, out, begin, end):
    _, height, width = images.shape
    below = out.shape[1]
    for n in range(begin, end):
        m, i = n // below, n % below
        row = out[m, i]
        if i < height:
            source, factor = images[m, i], down[i]
            for j in range(width):
                row[j] = source[j] * (factor * across[j])
            row[width:] = 0
        else:
            row[:] = 0


def _pad_numba(images, down, across, grid):
    """Row after row."""
    out = np.empty((len(images), *grid), images.dtype)
    arguments = np.ascontiguousarray(images), down, across, out
    in_chunks(_fade_pad, arguments, len(images) * grid[0], light(grid[1]))
    return out


@compiled
def _fade_crop(grids, down, across, out, begin, end):
    _, height, width = out.shape
    for n in range(begin, end):
        m, i = n // height, n % height
        row, source, factor = out[m, i], grids[m, i], down[i]
        for j in range(width):
            row[j] = source[j] * (factor * across[j])


def _crop_numba(grids, down, across):
    """Row after row."""
    out = np.empty((len(grids), len(down), len(across)), grids.dtype)
    arguments = np.ascontiguousarray(grids), down, across, out
    in_chunks(_fade_crop, arguments, len(grids) * len(down), light(len(across)))
    return out


def _pad_cuda(images, down, across, grid):
    """One thread per element of the grid."""
    xp = array_module(images, down, across)
    images, down, across = (xp.ascontiguousarray(a) for a in (images, down, across))
    count, height, width = images.shape
    cuda.expect(down=(down, (height,)), across=(across, (width,)))
    out = xp.empty((count, *grid), images.dtype)
    blocks = (cuda.blocks(grid[0] * grid[1], 256), min(count, 65535))
    arguments = [images, down, across, count, height, width, grid[0], grid[1], out]
    cuda.launch("photo/fade", "fade_pad", blocks, 256, arguments, real=images.dtype)
    return out


def _crop_cuda(grids, down, across):
    """One thread per pixel."""
    xp = array_module(grids, down, across)
    grids, down, across = (xp.ascontiguousarray(a) for a in (grids, down, across))
    count, below, beside = grids.shape
    out = xp.empty((count, len(down), len(across)), grids.dtype)
    blocks = (cuda.blocks(len(down) * len(across), 256), min(count, 65535))
    arguments = [grids, down, across, count, len(down), len(across), below, beside, out]
    cuda.launch("photo/fade", "fade_crop", blocks, 256, arguments, real=grids.dtype)
    return out


fade_crop = Kernel("fade_crop", reference=_crop_reference, cpu=_crop_numba, cuda=_crop_cuda)
fade_pad = Kernel("fade_pad", reference=_pad_reference, cpu=_pad_numba, cuda=_pad_cuda, adjoint=fade_crop)
