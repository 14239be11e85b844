"""Weighted sums of gathered rows or columns of images: separable resampling in one pass over memory per axis.

In plain array code every tap of the interpolation copies the whole image. A GPU has no kernel of its own here: CuPy
takes the plain form, a small part of what is done there.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from deconvnet.backend import array_module

__all__ = ["gather_sum", "gather_sum_numba", "gather_sum_reference"]


def gather_sum_reference(x, indices, weights, axis):
    """``y[.., i, ..] = Σ_t weights[t, i] · x[.., indices[t, i], ..]`` along one axis.

    Parameters
    ----------
    x : real array (M, H, W)
    indices : int array (T, n)
    weights : real array (T, n)
    axis : {-2, -1}
        Rows or columns.

    Returns
    -------
    array (M, n, W) or (M, H, n)
    """
    xp = array_module(x)
    y = 0
    for place, weight in zip(indices, weights):
        factor = xp.asarray(weight.astype(x.dtype))
        y = y + xp.take(x, xp.asarray(place), axis=axis) * (factor if axis == -1 else factor[:, None])
    return y


@njit(cache=True, parallel=True)
def _columns(x, indices, weights, y):
    count, height, width = y.shape
    for n in prange(count * height):
        source, row = x[n // height, n % height], y[n // height, n % height]
        row[:] = 0
        for t in range(indices.shape[0]):
            place, weight = indices[t], weights[t]
            for j in range(width):
                row[j] += weight[j] * source[place[j]]


@njit(cache=True, parallel=True)
def _rows(x, indices, weights, y):
    count, height, width = y.shape
    for n in prange(count * height):
        image, i, row = x[n // height], n % height, y[n // height, n % height]
        row[:] = 0
        for t in range(indices.shape[0]):
            source, weight = image[indices[t, i]], weights[t, i]
            for j in range(width):
                row[j] += weight * source[j]


def gather_sum_numba(x, indices, weights, axis):
    """CPU twin of `gather_sum_reference`; parallel over the rows of the result."""
    count, height, width = x.shape
    size = indices.shape[1]
    y = np.empty((count, height, size) if axis == -1 else (count, size, width), x.dtype)
    (_columns if axis == -1 else _rows)(np.ascontiguousarray(x), indices, weights.astype(x.dtype), y)
    return y


def gather_sum(x, indices, weights, axis):
    """Production form for the arrays' device; see `gather_sum_reference`."""
    implementation = gather_sum_numba if array_module(x) is np else gather_sum_reference
    return implementation(x, indices, weights, axis)
