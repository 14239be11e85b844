"""Convolution as a matrix product: a block of image rows unrolled into columns, and the adjoint of it.

A block is a few rows high, so that its columns stay in the processor's cache between the copy and the product.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["col2im", "im2col"]


def _reference(image: Array, size: tuple[int, int], top: int, rows: int) -> Array:
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


def _back_reference(columns: Array, size: tuple[int, int], top: int, image: Array) -> None:
    """Adjoint of `im2col`: adds every column back to where it came from.

    Parameters
    ----------
    columns : real array (C · kh · kw, rows · (W − kw + 1))
    size : (int, int)
        kh and kw.
    top : int
        First row of the block.
    image : real array (C, H, W)
        Added to, in place; C-contiguous.
    """
    kh, kw = size
    channels, _, width = image.shape
    across = width - kw + 1
    parts = columns.reshape(channels, kh, kw, -1, across)
    rows = parts.shape[3]
    for u in range(kh):
        for v in range(kw):
            image[:, top + u : top + u + rows, v : v + across] += parts[:, u, v]


@compiled
def _im2col(image, kh, kw, top, rows, columns, begin, end):
    across = image.shape[2] - kw + 1
    for n in range(begin, end):
        c, u, v = n // (kh * kw), n // kw % kh, n % kw
        for i in range(rows):
            for j in range(across):
                columns[n, i * across + j] = image[c, top + i + u, j + v]


def _numba(image, size, top, rows):
    """Row of the result after row."""
    kh, kw = size
    columns = np.empty((image.shape[0] * kh * kw, rows * (image.shape[2] - kw + 1)), dtype=image.dtype)
    in_chunks(_im2col, (image, kh, kw, top, rows, columns), len(columns), light(columns.shape[1]))
    return columns


@compiled
def _col2im(columns, kh, kw, top, rows, image, begin, end):
    across = image.shape[2] - kw + 1
    below = rows + kh - 1
    for n in range(begin, end):
        c, line = n // below, n % below
        target = image[c, top + line]
        for u in range(max(0, line - rows + 1), min(kh, line + 1)):
            for v in range(kw):
                source = columns[(c * kh + u) * kw + v]
                first = (line - u) * across
                for j in range(across):
                    target[j + v] += source[first + j]


def _back_numba(columns, size, top, image):
    """Row of the image after row, each gathers what it gets."""
    rows = columns.shape[1] // (image.shape[2] - size[1] + 1)
    arguments = columns, *size, top, rows, image
    count = len(image) * (rows + size[0] - 1)
    in_chunks(_col2im, arguments, count, light(image.shape[2] * size[0] * size[1]))


def _cuda(image, size, top, rows):
    """One thread per element."""
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
    cuda.launch("training/im2col", "im2col", grid, 256, arguments, real=image.dtype)
    return columns


def _back_cuda(columns, size, top, image):
    """One thread per pixel; ``image`` must be contiguous."""
    xp = array_module(columns, image)
    channels, height, width = image.shape
    kh, kw = size
    rows = columns.shape[1] // (width - kw + 1)
    if top < 0 or top + rows + kh - 1 > height:
        raise ValueError(f"the block of {rows} rows at {top} leads off an image of height {height}")
    cuda.expect(columns=(columns, (channels * kh * kw, rows * (width - kw + 1))))
    arguments = [xp.ascontiguousarray(columns), channels, height, width, kh, kw, top, rows, image]
    grid = (cuda.blocks((rows + kh - 1) * width, 256), min(channels, 65535))
    cuda.launch("training/im2col", "col2im", grid, 256, arguments, real=image.dtype)


col2im = Kernel("col2im", reference=_back_reference, cpu=_back_numba, cuda=_back_cuda)
im2col = Kernel("im2col", reference=_reference, cpu=_numba, cuda=_cuda, adjoint=col2im)
