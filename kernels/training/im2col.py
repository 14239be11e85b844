"""Convolution as a matrix product: a block of image rows unrolled into columns, and the adjoint of it.

A block is a few rows high, so that its columns stay in the processor's cache between the copy and the product.
"""

from __future__ import annotations

import numba
import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = [
    "fold_add",
    "fold_add_cuda",
    "fold_add_numba",
    "fold_add_reference",
    "unfold",
    "unfold_cuda",
    "unfold_numba",
    "unfold_reference",
]


def unfold_reference(image, size, top, rows):
    """Every ``kh × kw`` neighbourhood of a block of rows as a column.

    Parameters
    ----------
    image : real array (C, H, W)
    size : (int, int)
        Height and width of the neighbourhood, kh and kw.
    top, rows : int
        The block starts at this row and has this many positions below each other, ``top + rows + kh − 1 ≤ H``.

    Returns
    -------
    array (C · kh · kw, rows · (W − kw + 1))
        ``columns[(c, u, v), (i, j)] = image[c, top + i + u, j + v]``.
    """
    xp = array_module(image)
    kh, kw = size
    channels, _, width = image.shape
    across = width - kw + 1
    columns = xp.empty((channels, kh, kw, rows, across), dtype=image.dtype)
    for u in range(kh):
        for v in range(kw):
            columns[:, u, v] = image[:, top + u : top + u + rows, v : v + across]
    return columns.reshape(channels * kh * kw, rows * across)


def fold_add_reference(columns, size, top, image):
    """Adjoint of `unfold_reference`: adds every column back to where it came from, in place on ``image``."""
    kh, kw = size
    channels, _, width = image.shape
    across = width - kw + 1
    parts = columns.reshape(channels, kh, kw, -1, across)
    rows = parts.shape[3]
    for u in range(kh):
        for v in range(kw):
            image[:, top + u : top + u + rows, v : v + across] += parts[:, u, v]


@numba.njit(parallel=True, cache=True)
def _unfold(image, kh, kw, top, rows, columns):
    channels, _, width = image.shape
    across = width - kw + 1
    for n in numba.prange(channels * kh * kw):
        c, u, v = n // (kh * kw), n // kw % kh, n % kw
        for i in range(rows):
            for j in range(across):
                columns[n, i * across + j] = image[c, top + i + u, j + v]


def unfold_numba(image, size, top, rows):
    """CPU twin of `unfold_reference`; parallel over the rows of the result."""
    kh, kw = size
    columns = np.empty((image.shape[0] * kh * kw, rows * (image.shape[2] - kw + 1)), dtype=image.dtype)
    _unfold(image, kh, kw, top, rows, columns)
    return columns


@numba.njit(parallel=True, cache=True)
def _fold_add(columns, kh, kw, top, rows, image):
    channels, _, width = image.shape
    across = width - kw + 1
    below = rows + kh - 1
    for n in numba.prange(channels * below):
        c, line = n // below, n % below
        target = image[c, top + line]
        for u in range(max(0, line - rows + 1), min(kh, line + 1)):
            for v in range(kw):
                source = columns[(c * kh + u) * kw + v]
                first = (line - u) * across
                for j in range(across):
                    target[j + v] += source[first + j]


def fold_add_numba(columns, size, top, image):
    """CPU twin of `fold_add_reference`; parallel over the image's rows, each gathers what it gets."""
    rows = columns.shape[1] // (image.shape[2] - size[1] + 1)
    _fold_add(columns, size[0], size[1], top, rows, image)


def unfold_cuda(image, size, top, rows):
    """GPU twin of `unfold_reference`: one thread per element."""
    xp = array_module(image)
    image = xp.ascontiguousarray(image)
    channels, height, width = image.shape
    kh, kw = size
    if top < 0 or top + rows + kh - 1 > height:
        raise ValueError(f"the block of {rows} rows at {top} leads off an image of height {height}")
    length = rows * (width - kw + 1)
    columns = xp.empty((channels * kh * kw, length), dtype=image.dtype)
    arguments = [image, len(columns), height, width, kh, kw, top, rows, columns]
    grid = (cuda.blocks(length, 256), min(len(columns), 65535))
    cuda.launch("training/im2col", "unfold", grid, 256, arguments, real=image.dtype)
    return columns


def fold_add_cuda(columns, size, top, image):
    """GPU twin of `fold_add_reference`: one thread per pixel; ``image`` must be contiguous."""
    xp = array_module(columns, image)
    channels, height, width = image.shape
    kh, kw = size
    rows = columns.shape[1] // (width - kw + 1)
    if top < 0 or top + rows + kh - 1 > height:
        raise ValueError(f"the block of {rows} rows at {top} leads off an image of height {height}")
    cuda.expect(columns=(columns, (channels * kh * kw, rows * (width - kw + 1))))
    arguments = [xp.ascontiguousarray(columns), channels, height, width, kh, kw, top, rows, image]
    grid = (cuda.blocks((rows + kh - 1) * width, 256), min(channels, 65535))
    cuda.launch("training/im2col", "fold_add", grid, 256, arguments, real=image.dtype)


def unfold(image, size, top, rows):
    """Production form for the array's device; see `unfold_reference`."""
    return (unfold_numba if array_module(image) is np else unfold_cuda)(image, size, top, rows)


def fold_add(columns, size, top, image):
    """Production form for the arrays' device; see `fold_add_reference`."""
    (fold_add_numba if array_module(columns, image) is np else fold_add_cuda)(columns, size, top, image)
