"""What JPEG does to the brightness of a picture: 8×8 cosine transform, quantisation, and back."""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks

__all__ = ["jpeg_degradation", "jpeg_frame"]

#: Luminance quantisation table of ITU-T T.81, Annex K.1, for quality 50.
LUMINANCE_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)


def _cosine_matrix():
    """Orthonormal 8-point DCT-II: row = frequency, column = sample."""
    k, n = np.mgrid[:8, :8]
    matrix = 0.5 * np.cos(math.pi * k * (2 * n + 1) / 16)
    matrix[0] = math.sqrt(1 / 8)
    return matrix


_COSINES = _cosine_matrix()


def _reference(images: Array, quality: Array, offset: Array) -> Array:
    """JPEG's loss on grey images, without the entropy coding, which loses nothing.

    Parameters
    ----------
    images : array (M, H, W)
        In [0, 1]; rounded to 8 bits before and after, like a file.
    quality : array (M,)
        1 to 100 by the Independent JPEG Group's scale; 0 leaves the image alone.
    offset : int array (M, 2)
        Where the image lies in the grid of 8×8 blocks, 0 to 7 down and right (a crop seldom starts on a block).
        Incomplete blocks are filled with the border's values.

    Returns
    -------
    array (M, H, W)
        In [0, 1], dtype of `images`.
    """
    xp = array_module(images, quality, offset)
    count, height, width = images.shape
    dtype = images.dtype

    def padded_positions(length, start):
        blocks = (length + 14) // 8
        return xp.clip(xp.arange(8 * blocks)[None, :] - start[:, None], 0, length - 1), blocks

    rows, vertical = padded_positions(height, offset[:, 0])
    columns, horizontal = padded_positions(width, offset[:, 1])
    image_index = xp.arange(count)[:, None, None]
    levels = xp.floor(images[image_index, rows[:, :, None], columns[:, None, :]] * 255 + 0.5) - 128
    blocks = levels.reshape(count, vertical, 8, horizontal, 8).transpose(0, 1, 3, 2, 4)

    cosines = xp.asarray(_COSINES, dtype=dtype)
    whole = xp.floor(xp.clip(quality, 1, 100))
    percent = xp.where(whole < 50, xp.floor(5000 / whole), 200 - 2 * whole)
    table = xp.asarray(LUMINANCE_TABLE)[None] * percent[:, None, None]
    table = xp.clip(xp.floor((table + 50) / 100), 1, 255).astype(dtype)[:, None, None]

    coefficients = cosines @ blocks @ cosines.T
    coefficients = xp.floor(coefficients / table + 0.5) * table
    decoded = cosines.T @ coefficients @ cosines
    decoded = xp.clip(xp.floor(decoded + 0.5) + 128, 0, 255) / 255
    decoded = decoded.transpose(0, 1, 3, 2, 4).reshape(count, 8 * vertical, 8 * horizontal)
    back_rows = xp.arange(height)[None, :] + offset[:, :1]
    back_columns = xp.arange(width)[None, :] + offset[:, 1:]
    result = decoded[image_index, back_rows[:, :, None], back_columns[:, None, :]].astype(dtype)
    return xp.where((quality > 0)[:, None, None], result, images)


@compiled(fastmath={"contract"})
def _mix_rows(matrix, source, out):
    """``out = matrix @ source`` for an 8×8 matrix and 8 rows."""
    for i in range(8):
        m0, m1, m2, m3 = matrix[i, 0], matrix[i, 1], matrix[i, 2], matrix[i, 3]
        m4, m5, m6, m7 = matrix[i, 4], matrix[i, 5], matrix[i, 6], matrix[i, 7]
        row = out[i]
        for x in range(row.size):
            row[x] = (
                m0 * source[0, x]
                + m1 * source[1, x]
                + m2 * source[2, x]
                + m3 * source[3, x]
                + m4 * source[4, x]
                + m5 * source[5, x]
                + m6 * source[6, x]
                + m7 * source[7, x]
            )


@compiled
def _transpose_blocks(source, out):
    """Transpose each 8×8 block of a strip of 8 rows."""
    for block in range(0, source.shape[1], 8):
        for i in range(8):
            for j in range(8):
                out[j, block + i] = source[i, block + j]


@compiled(fastmath={"contract"})
def jpeg_frame(image, quality, offset_y, offset_x):
    """One image (H, W) through `jpeg_degradation`, in place."""
    height, width = image.shape
    dtype = image.dtype
    whole = np.floor(min(max(quality, 1.0), 100.0))
    percent = np.floor(5000 / whole) if whole < 50 else 200 - 2 * whole
    horizontal = (offset_x + width + 7) // 8
    forward = _COSINES.astype(dtype)
    inverse = np.ascontiguousarray(forward.T)
    # The horizontal transform runs on transposed blocks, so the table is transposed too.
    step = np.empty((8, 8 * horizontal), dtype)
    for i in range(8):
        for x in range(8 * horizontal):
            step[i, x] = min(max(np.floor((LUMINANCE_TABLE[x % 8, i] * percent + 50) / 100), 1.0), 255.0)
    inverse_step = 1 / step
    a = np.empty((8, 8 * horizontal), dtype)
    b = np.empty((8, 8 * horizontal), dtype)
    half, low, high = dtype.type(0.5), dtype.type(0), dtype.type(255)
    for strip in range((offset_y + height + 7) // 8):
        top = 8 * strip - offset_y
        for i in range(8):
            source = image[min(max(top + i, 0), height - 1)]
            row = a[i]
            for x in range(width):
                row[offset_x + x] = np.floor(source[x] * high + half) - dtype.type(128)
            row[:offset_x] = row[offset_x]
            row[offset_x + width :] = row[offset_x + width - 1]
        _mix_rows(forward, a, b)
        _transpose_blocks(b, a)
        _mix_rows(forward, a, b)
        for i in range(8):
            for x in range(8 * horizontal):
                b[i, x] = np.floor(b[i, x] * inverse_step[i, x] + half) * step[i, x]
        _mix_rows(inverse, b, a)
        _transpose_blocks(a, b)
        _mix_rows(inverse, b, a)
        for i in range(max(0, -top), min(8, height - top)):
            target = image[top + i]
            row = a[i]
            for x in range(width):
                value = np.floor(row[offset_x + x] + half) + dtype.type(128)
                target[x] = min(max(value, low), high) * dtype.type(1 / 255)


@compiled
def _jpeg_frames(images, quality, offset, begin, end):
    for i in range(begin, end):
        if quality[i] > 0:
            jpeg_frame(images[i], quality[i], offset[i, 0], offset[i, 1])


def _numba(images, quality, offset):
    """Image after image."""
    out = np.array(images, order="C")
    arguments = out, np.asarray(quality, np.float64), np.asarray(offset, np.int64)
    in_chunks(_jpeg_frames, arguments, len(out), 1)
    return out


def _cuda(images, quality, offset, out=None):
    """Into ``out`` if given, which may be ``images``: 64 threads per block of the grid."""
    xp = array_module(images, quality, offset)
    images = xp.ascontiguousarray(images)
    quality = xp.ascontiguousarray(quality, dtype=np.float64)
    offset = xp.ascontiguousarray(offset, dtype=np.int64)
    count, height, width = images.shape
    out = xp.empty(images.shape, dtype=images.dtype) if out is None else out
    cuda.expect(quality=(quality, (count,)), offset=(offset, (count, 2)), out=(out, images.shape))
    strips, columns = (height + 14) // 8, (width + 14) // 8
    arguments = [images, quality, offset, count, height, width, strips, columns, out]
    grid = cuda.blocks(count * strips * columns, 4)
    cuda.launch("synthesis/jpeg", "jpeg_blocks", grid, (8, 8, 4), arguments, real=images.dtype)
    return out


jpeg_degradation = Kernel("jpeg_degradation", reference=_reference, cpu=_numba, cuda=_cuda)
