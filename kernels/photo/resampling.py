"""Weighted sums of gathered rows or columns of images: separable resampling in one pass over memory per axis.

In plain array code every tap of the interpolation copies the whole image.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["gather_sum"]


def _reference(x: Array, indices: Array, weights: Array, axis: int) -> Array:
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
        factor = weight.astype(x.dtype)
        y = y + xp.take(x, place, axis=axis) * (factor if axis == -1 else factor[:, None])
    return y


@compiled
def _columns(x, indices, weights, y, begin, end):
    _, height, width = y.shape
    for n in range(begin, end):
        source, row = x[n // height, n % height], y[n // height, n % height]
        row[:] = 0
        for t in range(indices.shape[0]):
            place, weight = indices[t], weights[t]
            for j in range(width):
                row[j] += weight[j] * source[place[j]]


@compiled
def _rows(x, indices, weights, y, begin, end):
    _, height, width = y.shape
    for n in range(begin, end):
        image, i, row = x[n // height], n % height, y[n // height, n % height]
        row[:] = 0
        for t in range(indices.shape[0]):
            source, weight = image[indices[t, i]], weights[t, i]
            for j in range(width):
                row[j] += weight * source[j]


def _numba(x, indices, weights, axis):
    """Row of the result after row."""
    count, height, width = x.shape
    size = indices.shape[1]
    y = np.empty((count, height, size) if axis == -1 else (count, size, width), x.dtype)
    arguments = np.ascontiguousarray(x), indices, weights.astype(x.dtype), y
    body = _columns if axis == -1 else _rows
    in_chunks(body, arguments, count * y.shape[1], light(y.shape[2] * len(indices)))
    return y


def _cuda(x, indices, weights, axis):
    """One thread per pixel of the result."""
    xp = array_module(x, indices, weights)
    x, indices, weights = (
        xp.ascontiguousarray(a, dtype=dtype) for a, dtype in ((x, x.dtype), (indices, np.int64), (weights, x.dtype))
    )
    count, height, width = x.shape
    taps, size = indices.shape
    cuda.expect(weights=(weights, indices.shape))
    if axis == -1:
        kernel, extent, y = "gathered_columns", [width], xp.empty((count, height, size), x.dtype)
    else:
        kernel, extent, y = "gathered_rows", [height, width], xp.empty((count, size, width), x.dtype)
    arguments = [x, indices, weights, taps, *extent, size, y.size, y]
    cuda.launch("photo/resampling", kernel, cuda.blocks(y.size, 256), 256, arguments, real=x.dtype)
    return y


gather_sum = Kernel("gather_sum", reference=_reference, cpu=_numba, cuda=_cuda)
