"""Differences between neighbouring pixels of images whose borders are periodic, their adjoint, and their spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module

__all__ = ["differences", "differences_adjoint", "differences_power"]


def differences(x: Array) -> tuple[Array, Array]:
    """Differences to the next pixel down and to the next across.

    Parameters
    ----------
    x : real array (..., H, W)
        Borders are periodic.

    Returns
    -------
    down, across : real array (..., H, W)

    Examples
    --------
    >>> import numpy as np
    >>> down, across = differences(np.array([[0.0, 1.0], [3.0, 7.0]]))
    >>> down.tolist(), across.tolist()
    ([[3.0, 6.0], [-3.0, -6.0]], [[1.0, -1.0], [4.0, -4.0]])
    """
    xp = array_module(x)
    return xp.roll(x, -1, axis=-2) - x, xp.roll(x, -1, axis=-1) - x


def differences_adjoint(down: Array, across: Array) -> Array:
    """Adjoint of `differences`: two real arrays (..., H, W) to one."""
    xp = array_module(down, across)
    return xp.roll(down, 1, axis=-2) - down + xp.roll(across, 1, axis=-1) - across


def differences_power(xp: Any, shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """Half spectrum of ``DᵀD``, D being `differences`.

    Parameters
    ----------
    xp : module
        `numpy` or `cupy`.
    shape : (int, int)
        Height H and width W of the images.
    dtype : numpy dtype

    Returns
    -------
    real array (H, W//2 + 1)
        ``4 sin²(π z_y / H) + 4 sin²(π z_x / W)``.
    """
    rows = 2 - 2 * np.cos(2 * np.pi * np.arange(shape[0]) / shape[0])
    columns = 2 - 2 * np.cos(2 * np.pi * np.arange(shape[1] // 2 + 1) / shape[1])
    return xp.asarray(rows[:, None] + columns, dtype=dtype)
