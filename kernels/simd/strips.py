"""Spectra of whole images in strips of sixteen columns, the form in which the columns' transforms want them.

Transforms of large images are bound by memory, not by arithmetic. Here an image is read once, faded, continued with
zeros and transformed along its rows, 32 at a time; the coefficients of sixteen columns lie together, so that whoever
transforms the columns (`deconvnet.kernels.photo.psf_quotient`) reads memory from end to end, once, and may do all the
rest within the cache. Only for the CPU: a GPU has a transform that is limited by its memory already.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import types
from numpy.typing import DTypeLike

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.simd.apart import Apart
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, line_plan, second_step
from deconvnet.kernels.simd.pairs import separate, transpose_block, weighted_pair
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = [
    "ROWS",
    "StripGrid",
    "call_store_rows",
    "call_transform_rows",
    "image_row",
    "row_memory",
    "store_rows",
    "strip_row",
    "transform_rows",
]

#: Rows of one row transform: the real and the imaginary parts of sixteen complex lines.
ROWS = 2 * LANES


class StripGrid:
    """A grid of strips.

    Parameters
    ----------
    shape : (int, int)
        Height and width, both `is_smooth`.
    dtype : numpy dtype

    Attributes
    ----------
    height, width : int
    tall, wide : Line
        Plans of the columns' and of the rows' transforms.
    strips : int
        Strips of the half spectrum; in the last one the columns above ``width // 2`` mean nothing.
    rows : int
        Rows of a strip: the height, and what fills up the last block.
    transform_rows, store_rows : int
        Addresses of the functions of these names.

    Raises
    ------
    ValueError
        If one of them is not.
    """

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        if not all(is_smooth(n) for n in shape):
            raise ValueError(
                f"a grid of {shape[0]}×{shape[1]} has sides of one prime factor, or of prime factors above 5"
            )
        self.height, self.width = shape
        real = np.dtype(dtype).name
        self.tall, self.wide = (line_plan(n, real) for n in shape)
        self.transform_rows, self.store_rows = transform_rows.address(real), store_rows.address(real)
        self.strips = (self.width // 2 + LANES) // LANES
        self.rows = -(-self.height // ROWS) * ROWS


@compiled
def image_row(r, tall):
    """The image's row at row ``r`` of a strip, in the order in which the columns' first step takes them."""
    return r % tall.down * tall.across + r // tall.down if r < tall.size else tall.size


@compiled
def strip_row(i, tall):
    """Inverse of `image_row`."""
    return i % tall.across * tall.down + i // tall.across


@compiled
def _load_rows(src, starts, width, across, weights, into, block, work):
    """Sixteen columns at a time of 32 weighted rows; rows become lanes."""
    here = np.zeros(LANES, np.int64)
    for j in range(0, width, LANES):
        if width < LANES:
            for lane in range(LANES):
                for c in range(width):
                    block[c * COMPLEX + lane] = src[starts[lane] + c]
                    block[c * COMPLEX + LANES + lane] = src[starts[LANES + lane] + c]
        else:
            j = min(j, width - LANES)  # some columns twice, with the same result
            transpose_block(src, starts, j, 0, block, here, 0, COMPLEX)
            transpose_block(src, starts[LANES:], j, 0, block, here, LANES, COMPLEX)
        for c in range(min(LANES, width)):
            weighted_pair(block, c * COMPLEX, across, j + c, weights, 0, work, into[j + c])


@compiled
def row_memory(wide):
    """Working memory of `transform_rows`: the line, a buffer, and two blocks."""
    real = wide.turns.dtype
    work = np.empty(wide.down * (wide.across + 1) * COMPLEX, real)
    buffer = np.empty(2 * max(wide.down, wide.across) * COMPLEX, real)
    block, quad = np.empty(LANES * COMPLEX, real), np.empty(4 * LANES * LANES, real)
    return work, buffer, block, quad


def _transform_rows(src, starts, width, across, weights, wide, order, into, memory, strips, strip_size, dst, targets):
    """Transform 32 rows and lay their coefficients into strips.

    Parameters
    ----------
    src : real array
        Flat.
    starts : int array (32,)
        First pixel of each row.
    width : int
        Pixels of a row.
    across : real array (width,)
    weights : real array (32,)
        Half of the factor of each row.
    wide, order, into
        Plan of the rows' transform and its `places`.
    memory : tuple
        From `row_memory`.
    strips, strip_size : int
        Strips, and their distance in ``dst``.
    dst : real array
    targets : int array (32,)
        Place of each row in the first strip.
    """
    work, buffer, block, quad = memory
    pitch = (wide.across + 1) * COMPLEX
    here = np.zeros(LANES, np.int64)
    for j in range(width, wide.size):
        work[into[j] : into[j] + COMPLEX] = 0
    _load_rows(src, starts, width, across, weights, into, block, work)
    for j in range(wide.across):
        first_step(work, j * COMPLEX, pitch, j, work, wide, buffer)
    for k in range(wide.down):
        second_step(work, k, work, k * pitch, wide, buffer)
    real, imaginary = targets[:LANES], targets[LANES:]
    for g in range(strips):
        for c in range(LANES):
            v = min(g * LANES + c, wide.size // 2)
            separate(work, 0, order[v], order[(wide.size - v) % wide.size], quad, c * LANES)
        for q in range(2):
            place = g * strip_size + q * LANES
            transpose_block(quad, here, q * LANES * LANES, LANES, dst, real, place, 0)
            transpose_block(quad, here, (q + 2) * LANES * LANES, LANES, dst, imaginary, place, 0)


def _store_rows(work, wide, order, width, buffer, out, starts):
    """32 rows from joined coefficients in ``work``, real and imaginary parts exchanged, to ``out[starts[i]:]``."""
    pitch = (wide.across + 1) * COMPLEX
    for j in range(wide.across):
        first_step(work, j * COMPLEX, pitch, j, work, wide, buffer)
    for k in range(wide.down):
        second_step(work, k, work, k * pitch, wide, buffer)
    for j in range(0, width, LANES):
        if width < LANES:
            for lane in range(LANES):
                for c in range(width):
                    out[starts[lane] + c] = work[order[c] + LANES + lane]
                    out[starts[LANES + lane] + c] = work[order[c] + lane]
        else:
            j = min(j, width - LANES)  # some columns twice, with the same result
            transpose_block(work, order[j:], LANES, 0, out, starts, j, 0)
            transpose_block(work, order[j:], 0, 0, out, starts[LANES:], j, 0)


def _kinds(real, store):
    reals, ints = types.Array(getattr(types, real), 1, "C"), types.Array(types.intp, 1, "C")
    line = numba.typeof(line_plan(4, real))
    if store:
        return reals, line, ints, types.intp, reals, reals, ints
    memory = types.UniTuple(reals, 4)
    head, tail = (reals, ints, types.intp, reals, reals, line, ints, ints), (types.intp, types.intp, reals, ints)
    return *head, memory, *tail


# Shuffles and joins of whole blocks: too much code for a copy in every caller.
transform_rows = Apart(_transform_rows, functools.partial(_kinds, store=False))
store_rows = Apart(_store_rows, functools.partial(_kinds, store=True))
#: To be used in compiled code: ``call_transform_rows(grid.transform_rows, src, …)``, and likewise.
call_transform_rows, call_store_rows = transform_rows.call, store_rows.call
