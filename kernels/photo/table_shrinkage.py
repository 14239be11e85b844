"""Gradients of an image shrunk by a function in a table, and their divergence: one pass over memory.

The step of half-quadratic splitting with a sparse prior. A table with linear interpolation takes the place of
roots and powers (Krishnan & Fergus 2009).
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks

__all__ = ["table_shrinkage"]

#: Pixels of one call of the compiled body, about.
CHUNK = 2**18


def _reference(x: Array, table: Array, scale: float, threshold: float, resolution: float) -> Array:
    """``∇ᵀ S(∇x)`` for periodic differences to the next pixel down and across.

    Parameters
    ----------
    x : real array (H, W)
    table : real array (T,)
        S(scale · u) / scale for ``u = threshold + i / resolution``, at least two entries; linear between and beyond
        them.
    scale, threshold, resolution : float
        Positive. S(v) is odd, and 0 for ``|v| < scale · threshold``.

    Returns
    -------
    real array (H, W)
    """
    xp = array_module(x, table)
    real = x.dtype.type

    def shrunk(v):
        place = (xp.abs(v) * real(1 / scale) - real(threshold)) * real(resolution)
        first = xp.clip(place.astype(np.int32), 0, len(table) - 2)
        w = table[first] + (place - first.astype(x.dtype)) * (table[first + 1] - table[first])
        return xp.where(place < 0, real(0), xp.copysign(w * real(scale), v))

    down, across = (shrunk(xp.roll(x, -1, axis=axis) - x) for axis in (0, 1))
    return xp.roll(down, 1, axis=0) - down + xp.roll(across, 1, axis=1) - across


@compiled(fastmath={"contract", "nsz"})
def _shrink(here, there, table, numbers, out):
    """``out = S(there − here)`` for two rows."""
    scale, inverse, threshold, resolution = numbers
    last = table.size - 2
    for j in range(here.size):  # most differences are small: it is worth while to look first
        v = there[j] - here[j]
        place = (abs(v) * inverse - threshold) * resolution
        if place < 0:
            out[j] = 0
        else:
            first = min(int(place), last)
            w = (table[first] + (place - first) * (table[first + 1] - table[first])) * scale
            out[j] = w if v > 0 else -w


@compiled
def _rows(x, table, numbers, out, begin, end):
    height, width = x.shape
    over, down = np.empty(width, x.dtype), np.empty(width, x.dtype)
    across, right = np.empty(width, x.dtype), np.empty(width, x.dtype)
    _shrink(x[begin - 1 if begin else height - 1], x[begin], table, numbers, over)
    for i in range(begin, end):
        here = x[i]
        _shrink(here, x[i + 1 if i + 1 < height else 0], table, numbers, down)
        for j in range(width):
            right[j] = here[j + 1 if j + 1 < width else 0]
        _shrink(here, right, table, numbers, across)
        row = out[i]
        row[0] = over[0] - down[0] + across[width - 1] - across[0]
        for j in range(1, width):
            row[j] = over[j] - down[j] + across[j - 1] - across[j]
        over, down = down, over


def _numba(x, table, scale, threshold, resolution):
    """Row after row."""
    x, out = np.ascontiguousarray(x), np.empty_like(x)
    numbers = np.array([scale, 1 / scale, threshold, resolution], x.dtype)
    numbers = tuple(x.dtype.type(n) for n in numbers)
    in_chunks(_rows, (x, table, numbers, out), len(x), max(1, CHUNK // x.shape[1]))
    return out


def _cuda(x, table, scale, threshold, resolution):
    """One thread per pixel."""
    xp = array_module(x, table)
    x, table = xp.ascontiguousarray(x), xp.ascontiguousarray(table)
    height, width = x.shape
    out = xp.empty(x.shape, x.dtype)
    arguments = [x, height, width, table, len(table), scale, 1 / scale, threshold, resolution, out]
    cuda.launch("photo/table_shrinkage", "table_shrinkage", cuda.blocks(x.size, 256), 256, arguments, real=x.dtype)
    return out


table_shrinkage = Kernel("table_shrinkage", reference=_reference, cpu=_numba, cuda=_cuda)
