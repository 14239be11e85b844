"""Whole images to spectra in strips and back, as compiled bodies that release the interpreter and loop on their own.

`strips` describes the form. A spectrum here has its columns transformed as well: coefficients of a strip stay in the
order in which the columns' transform left them (`StripPlan.row_frequencies`), which is what the inverse one takes.
A body works on a range of strips, or of blocks of 32 rows, and writes to places of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import in_chunks
from deconvnet.kernels.simd.apart import Apart
from deconvnet.kernels.simd.line_fft import Line, first_step, line_plan, places, second_step
from deconvnet.kernels.simd.pairs import join, transpose_block
from deconvnet.kernels.simd.refinement import swap_parts
from deconvnet.kernels.simd.strips import (
    ROWS,
    StripGrid,
    call_store_rows,
    call_transform_rows,
    image_row,
    row_memory,
)
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = [
    "StripPlan",
    "call_inverse_block",
    "column_memory",
    "forward",
    "forward_columns",
    "inverse",
    "inverse_block",
    "inverse_rows",
    "over_blocks",
    "over_strips",
    "row_block",
    "row_targets",
    "rows_to_strips",
    "strip_plan",
]

#: Pixels that one call of a body works on, about: enough that the call itself costs little.
CHUNK = 2**18


class StripPlan(NamedTuple):
    """How images of one size are transformed: all that the compiled bodies need.

    Attributes
    ----------
    height, width : int
    tall, back, wide : Line
        Plans of the columns' transforms, forward and inverse, and of the rows'.
    order, into : int array (W,)
        See `places`, for the rows.
    rows, strips : int
        Rows of a strip (with what fills up the last block), and strips.
    transform_rows, store_rows, inverse_block : int
        Addresses of the functions of these names.
    """

    height: int
    width: int
    tall: Line
    back: Line
    wide: Line
    order: np.ndarray
    into: np.ndarray
    rows: int
    strips: int
    transform_rows: int
    store_rows: int
    inverse_block: int

    @property
    def size(self) -> int:
        """Reals of a spectrum."""
        return self.rows * self.strips * COMPLEX

    def row_frequencies(self) -> np.ndarray:
        """Vertical frequency of each place of a strip, int array (H,)."""
        place = np.arange(self.height)
        return place // self.tall.across + place % self.tall.across * self.tall.down

    def column_frequencies(self) -> np.ndarray:
        """Horizontal frequency of each strip's lanes, int array (strips, 16); what lies beyond repeats the last one."""
        return np.minimum(np.arange(self.strips * LANES), self.width // 2).reshape(self.strips, LANES)

    def column_counts(self) -> np.ndarray:
        """How often a column of the half spectrum is in the whole one, float64 array (strips, 16); 0 beyond."""
        column = np.arange(self.strips * LANES)
        counts = np.where((column == 0) | (2 * column == self.width), 1.0, 2.0)
        return np.where(column > self.width // 2, 0.0, counts).reshape(self.strips, LANES)


@functools.lru_cache(maxsize=64)
def strip_plan(shape: tuple[int, int], dtype: str) -> StripPlan:
    """The plan for images (H, W), both sides `is_smooth`, dtype ``"float32"`` or ``"float64"``.

    Raises
    ------
    ValueError
        If a side is not.
    """
    return _plan(shape, dtype)._replace(inverse_block=inverse_block.address(dtype))


def _plan(shape: tuple[int, int], dtype: str) -> StripPlan:
    grid = StripGrid(shape, dtype)
    back = line_plan(grid.height, dtype, back=True)
    lines, addresses = (grid.tall, back, grid.wide), (grid.transform_rows, grid.store_rows, 0)
    return StripPlan(grid.height, grid.width, *lines, *places(grid.wide), grid.rows, grid.strips, *addresses)


def over_strips(body: Callable, plan: StripPlan, *arguments: Any) -> None:
    """``body(plan, *arguments, begin, end)`` for ranges of all strips, on the pool."""
    in_chunks(body, (plan, *arguments), plan.strips, max(1, CHUNK // (plan.height * LANES)))


def over_blocks(body: Callable, plan: StripPlan, *arguments: Any) -> None:
    """``body(plan, *arguments, begin, end)`` for ranges of all blocks of 32 rows, on the pool."""
    in_chunks(body, (plan, *arguments), plan.rows // ROWS, max(1, CHUNK // (plan.width * ROWS)))


@compiled
def column_memory(plan):
    """Working memory of the columns' transforms: two strips, a line and a buffer."""
    tall, back, real = plan.tall, plan.back, plan.tall.turns.dtype
    x = np.empty(tall.down * (tall.across + 1) * COMPLEX, real)
    y = np.empty(back.down * (back.across + 1) * COMPLEX, real)
    line = np.empty(tall.across * COMPLEX, real)
    buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, real)
    return x, y, line, buffer


@compiled
def forward_columns(plan, spectrum, begin, end):
    """Transforms of the columns of the strips ``begin`` … ``end − 1``, in place."""
    tall = plan.tall
    x, _, _, buffer = column_memory(plan)
    for g in range(begin, end):
        start = g * plan.rows * COMPLEX
        for j in range(tall.across):
            first_step(spectrum, start + j * tall.down * COMPLEX, COMPLEX, j, x, tall, buffer)
        for k in range(tall.down):
            second_step(x, k, spectrum, start + k * tall.across * COMPLEX, tall, buffer)


@compiled
def row_targets(first, plan, rows, targets):
    """Image rows of a block, and where they begin in the first strip: two int arrays (32,), filled.

    Rows that only fill up the last block get the number H.
    """
    for lane in range(ROWS):
        rows[lane] = image_row(first + lane, plan.tall)
        targets[lane] = (first + lane) * COMPLEX


@compiled(inline="always")
def row_block(block, starts, targets, weights, ones, plan, memory, spectrum):
    """Transform 32 rows ``block[starts[i]:]``, each times its weight, and lay their coefficients into all strips."""
    call_transform_rows(
        plan.transform_rows,
        block,
        starts,
        plan.width,
        ones,
        weights,
        plan.wide,
        plan.order,
        plan.into,
        memory,
        plan.strips,
        plan.rows * COMPLEX,
        spectrum,
        targets,
    )


@compiled
def rows_to_strips(plan, image, down, across, spectrum, begin, end):
    """Transforms of the rows of the blocks ``begin`` … ``end − 1``, times a window; zeros where it ends."""
    source = image.reshape(-1)
    memory = row_memory(plan.wide)
    rows, targets, starts = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    weights = np.empty(ROWS, image.dtype)
    for n in range(begin, end):
        row_targets(n * ROWS, plan, rows, targets)
        for lane in range(ROWS):
            inside = rows[lane] < down.size
            starts[lane] = rows[lane] * across.size if inside else 0
            weights[lane] = down[rows[lane]] / 2 if inside else 0
        call_transform_rows(
            plan.transform_rows,
            source,
            starts,
            across.size,
            across,
            weights,
            plan.wide,
            plan.order,
            plan.into,
            memory,
            plan.strips,
            plan.rows * COMPLEX,
            spectrum,
            targets,
        )


def forward(image, plan: StripPlan, *, scale: float = 1.0, window=None, out=None):
    """Spectrum of an image, continued with zeros to the plan's size.

    Parameters
    ----------
    image : real array (h, w)
        C-contiguous, at most as large as the plan.
    plan : StripPlan
    scale : float
        Factor on all coefficients.
    window : (real array (h,), real array (w,)), optional
        Factors on the image's rows and columns.
    out : real array (plan.size,), optional

    Returns
    -------
    real array (plan.size,)
    """
    down, across = (np.ones(n, image.dtype) for n in image.shape) if window is None else window
    out = np.empty(plan.size, image.dtype) if out is None else out
    over_blocks(rows_to_strips, plan, image, down * image.dtype.type(scale), across, out)
    over_strips(forward_columns, plan, out)
    return out


def _inverse_block(n, plan, spectrum, starts, memory, out):
    """The 32 rows of block ``n`` from a spectrum whose columns are transformed back, to ``out[starts[i]:]``.

    Real and imaginary parts of the spectrum are exchanged. ``memory`` is from `row_memory`.
    """
    wide, width, order, into = plan.wide, plan.width, plan.order, plan.into
    work, buffer, _, quad = memory
    here = np.zeros(LANES, np.int64)
    for g in range(plan.strips):
        source = (g * plan.rows + n * ROWS) * COMPLEX
        for q in range(4):
            src = source + q // 2 * LANES * COMPLEX + q % 2 * LANES
            transpose_block(spectrum, here, src, COMPLEX, quad, here, q * LANES * LANES, LANES)
        for c in range(min(LANES, width // 2 + 1 - g * LANES)):
            v = g * LANES + c
            join(quad, c * LANES, work, 0, into[v], into[(width - v) % width])
    call_store_rows(plan.store_rows, work, wide, order, width, buffer, out, starts)


def _inverse_block_kinds(real):
    reals, ints = types.Array(getattr(types, real), 1, "C"), types.Array(types.intp, 1, "C")
    return types.intp, numba.typeof(_plan((4, 4), real)), reals, ints, types.UniTuple(reals, 4), reals


inverse_block = Apart(_inverse_block, _inverse_block_kinds)
#: To be used in compiled code: ``call_inverse_block(plan.inverse_block, n, plan, …)``.
call_inverse_block = inverse_block.call


def _inverse_rows(plan, spectrum, out, begin, end):
    """Image rows of the blocks ``begin`` … ``end − 1`` from a spectrum whose columns are transformed back.

    Parameters
    ----------
    plan : StripPlan
    spectrum : real array (plan.size,)
        Real and imaginary parts exchanged.
    out : real array ((H + 32) · W,)
        What lies behind the image takes what fills up the blocks.
    begin, end : int
    """
    memory = row_memory(plan.wide)
    rows, starts = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for n in range(begin, end):
        row_targets(n * ROWS, plan, rows, starts)
        for lane in range(ROWS):
            starts[lane] = (rows[lane] + (lane if rows[lane] == plan.height else 0)) * plan.width
        call_inverse_block(plan.inverse_block, n, plan, spectrum, starts, memory, out)


def _inverse_rows_kinds(real):
    reals, plan = types.Array(getattr(types, real), 1, "C"), numba.typeof(_plan((4, 4), real))
    return plan, reals, reals, types.intp, types.intp


inverse_rows = Apart(_inverse_rows, _inverse_rows_kinds, from_python=True)


@compiled
def _inverse_columns(plan, spectrum, begin, end):
    """Strips of a spectrum to what `inverse_rows` takes, in place."""
    back, across = plan.back, plan.tall.across
    _, y, line, buffer = column_memory(plan)
    for g in range(begin, end):
        start = g * plan.rows * COMPLEX
        for k in range(plan.tall.down):
            for j in range(across):
                swap_parts(spectrum, start + (k * across + j) * COMPLEX, line, j * COMPLEX)
            first_step(line, 0, COMPLEX, k, y, back, buffer)
        for k in range(back.down):
            second_step(y, k, spectrum, start + k * back.across * COMPLEX, back, buffer)


def inverse(spectrum, plan: StripPlan):
    """Image (H, W) of a spectrum, times H · W; the spectrum is used up."""
    over_strips(_inverse_columns, plan, spectrum)
    room = np.empty((plan.height + ROWS) * plan.width, spectrum.dtype)
    over_blocks(inverse_rows, plan, spectrum, room)
    return room[: plan.height * plan.width].reshape(plan.height, plan.width)
