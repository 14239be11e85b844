"""Painting dead leaves: overlapping shapes from front to back, each pixel written once.

There is no CUDA source: the pictures are painted once, before a training, and go to a GPU as photographs do.
"""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel

__all__ = ["FIELDS", "paint_leaves"]

#: Columns of the table of leaves: place and half axes in pixels, orientation, shape (0 ellipse, 1 rectangle, 3 to 7
#: corners of a regular polygon), grey, slope of the grey across the leaf (down, right), and a grating: amplitude,
#: wave vector in radians a pixel (down, right), phase.
FIELDS = ("y", "x", "a", "b", "turn", "shape", "grey", "slope_y", "slope_x", "amplitude", "wave_y", "wave_x", "phase")


def _reference(leaves: Array, size: int) -> Array:
    """Paint leaves, the first one on top.

    Parameters
    ----------
    leaves : float64 array (M, 13)
        Columns as in `FIELDS`.
    size : int
        Side of the picture.

    Returns
    -------
    image : float64 array (size, size)
        Grey, not clipped; 0.5 where no leaf lies.
    """
    xp = array_module(leaves)
    image = xp.full((size, size), 0.5)
    free = xp.ones((size, size), bool)
    rows, columns = xp.arange(size)[:, None], xp.arange(size)
    for y, x, a, b, turn, shape, grey, slope_y, slope_x, amplitude, wave_y, wave_x, phase in leaves.tolist():
        dy, dx = rows - y, columns - x
        u = (math.cos(turn) * dx + math.sin(turn) * dy) / a
        v = (math.cos(turn) * dy - math.sin(turn) * dx) / b
        if shape == 0:
            inside = u * u + v * v <= 1
        elif shape == 1:
            inside = xp.maximum(abs(u), abs(v)) <= 1
        else:
            normals = 2 * math.pi * np.arange(shape) / shape
            inside = xp.ones_like(free)
            for normal in normals:
                inside &= u * math.cos(normal) + v * math.sin(normal) <= math.cos(math.pi / shape)
        inside &= free & (abs(dy) <= 1.5 * max(a, b)) & (abs(dx) <= 1.5 * max(a, b))
        value = grey + slope_y * dy + slope_x * dx + amplitude * xp.sin(wave_y * rows + wave_x * columns + phase)
        image[inside] = value[inside]
        free &= ~inside
    return image


@compiled
def _numba(leaves, size):
    """Looks only at the square around each leaf."""
    image = np.full((size, size), 0.5)
    free = np.ones((size, size), np.bool_)
    cosines, sines = np.empty(8), np.empty(8)
    for k in range(leaves.shape[0]):
        y, x, a, b, turn = leaves[k, 0], leaves[k, 1], leaves[k, 2], leaves[k, 3], leaves[k, 4]
        shape, grey, slope_y, slope_x = int(leaves[k, 5]), leaves[k, 6], leaves[k, 7], leaves[k, 8]
        amplitude, wave_y, wave_x, phase = leaves[k, 9], leaves[k, 10], leaves[k, 11], leaves[k, 12]
        cosine, sine = math.cos(turn), math.sin(turn)
        for corner in range(shape):
            cosines[corner] = math.cos(2 * math.pi * corner / shape)
            sines[corner] = math.sin(2 * math.pi * corner / shape)
        inner = math.cos(math.pi / shape) if shape > 1 else 1.0
        reach = 1.5 * max(a, b)
        for i in range(max(0, math.ceil(y - reach)), min(size, math.floor(y + reach) + 1)):
            dy = i - y
            for j in range(max(0, math.ceil(x - reach)), min(size, math.floor(x + reach) + 1)):
                if not free[i, j]:
                    continue
                dx = j - x
                u = (cosine * dx + sine * dy) / a
                v = (cosine * dy - sine * dx) / b
                if shape == 0:
                    inside = u * u + v * v <= 1
                elif shape == 1:
                    inside = max(abs(u), abs(v)) <= 1
                else:
                    inside = True
                    for corner in range(shape):
                        if u * cosines[corner] + v * sines[corner] > inner:
                            inside = False
                            break
                if inside:
                    wave = amplitude * math.sin(wave_y * i + wave_x * j + phase) if amplitude > 0 else 0.0
                    image[i, j] = grey + slope_y * dy + slope_x * dx + wave
                    free[i, j] = False
    return image


paint_leaves = Kernel("paint_leaves", reference=_reference, cpu=_numba)
