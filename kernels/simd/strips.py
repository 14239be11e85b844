"""Spectra of whole images in strips of sixteen columns, the form in which the columns' transforms want them.

Transforms of large images are bound by memory, not by arithmetic. Here an image is read once, faded, continued with
zeros and transformed along its rows, 32 at a time; the coefficients of sixteen columns lie together, so that whoever
transforms the columns (`deconvnet.kernels.photo.psf_quotient`) reads memory from end to end, once, and may do all the
rest within the cache. Only for the CPU: a GPU has a transform that is limited by its memory already.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange, types
from numba.extending import intrinsic

from deconvnet.kernels.photo.fade import fade_pad_reference
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, line_plan, places, second_step
from deconvnet.kernels.simd.pairs import transpose_block
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES, Complex, Memory, load_complex, store_complex

__all__ = [
    "ROWS",
    "StripGrid",
    "image_row",
    "row_memory",
    "strip_row",
    "strip_spectra",
    "strip_spectra_reference",
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

    Raises
    ------
    ValueError
        If one of them is not.
    """

    def __init__(self, shape, dtype):
        if not all(is_smooth(n) for n in shape):
            raise ValueError(
                f"a grid of {shape[0]}×{shape[1]} has sides of one prime factor, or of prime factors above 5"
            )
        self.height, self.width = shape
        self.tall, self.wide = (line_plan(n, np.dtype(dtype).name) for n in shape)
        self.strips = (self.width // 2 + LANES) // LANES
        self.rows = -(-self.height // ROWS) * ROWS


@intrinsic
def _weighted_pair(typing_context, source, s, factors, f, weights, w, out, o):
    """``out[o] = source[s] · factors[f] · weights[w]``: a pair of vectors, a number, a pair of vectors."""
    kinds = (source, factors, weights, out)

    def codegen(context, builder, signature, arguments):
        a, b, c, d = (Memory(context, builder, k, x) for k, x in zip(kinds, arguments[::2]))
        s, f, w, o = arguments[1::2]
        factor, pair, weight = b.splat(f), load_complex(a, s), load_complex(c, w)
        store_complex(d, Complex(pair.re * (factor * weight.re), pair.im * (factor * weight.im)), o)
        return context.get_dummy_value()

    return types.void(*(t for kind in kinds for t in (kind, types.intp))), codegen


@intrinsic
def _separate(typing_context, data, p, q, out, o):
    """Twice the transforms of the real and of the imaginary parts, from coefficients v and −v at ``p`` and ``q``.

    Their four vectors go to ``out[o]`` and 16² numbers further each.
    """

    def codegen(context, builder, signature, arguments):
        a, b = (Memory(context, builder, k, arguments[i]) for k, i in ((data, 0), (out, 3)))
        here, mirror = load_complex(a, arguments[1]), load_complex(a, arguments[2])
        parts = here.re + mirror.re, here.im - mirror.im, here.im + mirror.im, mirror.re - here.re
        for i, part in enumerate(parts):
            b.store(part, arguments[4], i * LANES * LANES)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.intp, out, types.intp), codegen


@njit(cache=True)
def image_row(r, tall):
    """The image's row at row ``r`` of a strip, in the order in which the columns' first step takes them."""
    return r % tall.down * tall.across + r // tall.down if r < tall.size else tall.size


@njit(cache=True)
def strip_row(i, tall):
    """Inverse of `image_row`."""
    return i % tall.across * tall.down + i // tall.across


@njit(cache=True)
def _load_rows(source, starts, width, across, weights, into, block, work):
    """Sixteen columns at a time of 32 weighted rows; rows become lanes."""
    here = np.zeros(LANES, np.int64)
    for j in range(0, width, LANES):
        if width < LANES:
            for lane in range(LANES):
                for c in range(width):
                    block[c * COMPLEX + lane] = source[starts[lane] + c]
                    block[c * COMPLEX + LANES + lane] = source[starts[LANES + lane] + c]
        else:
            j = min(j, width - LANES)  # some columns twice, with the same result
            transpose_block(source, starts, j, 0, block, here, 0, COMPLEX)
            transpose_block(source, starts[LANES:], j, 0, block, here, LANES, COMPLEX)
        for c in range(min(LANES, width)):
            _weighted_pair(block, c * COMPLEX, across, j + c, weights, 0, work, into[j + c])


@njit(cache=True)
def row_memory(wide, like):
    """Working memory of `transform_rows`, in the dtype of ``like``: the line, a buffer, and two blocks."""
    work = np.empty(wide.down * (wide.across + 1) * COMPLEX, like.dtype)
    buffer = np.empty(2 * max(wide.down, wide.across) * COMPLEX, like.dtype)
    block, quad = np.zeros(LANES * COMPLEX, like.dtype), np.empty(4 * LANES * LANES, like.dtype)
    return work, buffer, block, quad


@njit(cache=True, inline="always")
def transform_rows(source, starts, width, across, weights, wide, order, into, memory, strips, apart, out, targets):
    """Transform 32 rows and lay their coefficients into strips.

    Parameters
    ----------
    source : real array
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
    strips, apart : int
        Strips, and their distance in ``out``.
    out : real array
    targets : int array (32,)
        Place of each row in the first strip.
    """
    work, buffer, block, quad = memory
    pitch = (wide.across + 1) * COMPLEX
    here = np.zeros(LANES, np.int64)
    for j in range(width, wide.size):
        work[into[j] : into[j] + COMPLEX] = 0
    _load_rows(source, starts, width, across, weights, into, block, work)
    for j in range(wide.across):
        first_step(work, j * COMPLEX, pitch, j, work, wide, buffer)
    for k in range(wide.down):
        second_step(work, k, work, k * pitch, wide, buffer)
    real, imaginary = targets[:LANES], targets[LANES:]
    for g in range(strips):
        for c in range(LANES):
            v = min(g * LANES + c, wide.size // 2)
            _separate(work, order[v], order[(wide.size - v) % wide.size], quad, c * LANES)
        for q in range(2):
            place = g * apart + q * LANES
            transpose_block(quad, here, q * LANES * LANES, LANES, out, real, place, 0)
            transpose_block(quad, here, (q + 2) * LANES * LANES, LANES, out, imaginary, place, 0)


@njit(cache=True, parallel=True)
def _strip_spectra(images, down, across, tall, wide, order, into, rows, strips, parts, out):
    count, height, width = images.shape
    source = images.reshape(-1)
    blocks = rows // ROWS
    for part in prange(parts):
        memory = row_memory(wide, images)
        starts, weights, targets = np.empty(ROWS, np.int64), np.empty(ROWS, images.dtype), np.empty(ROWS, np.int64)
        for n in range(part * count * blocks // parts, (part + 1) * count * blocks // parts):
            m, first = n // blocks, n % blocks * ROWS
            for lane in range(ROWS):
                i = image_row(first + lane, tall)
                inside = i < height
                starts[lane] = (m * height + (i if inside else 0)) * width
                weights[lane] = 0.5 * down[i] if inside else 0.0
                targets[lane] = (m * strips * rows + first + lane) * COMPLEX
            apart = rows * COMPLEX
            transform_rows(
                source, starts, width, across, weights, wide, order, into, memory, strips, apart, out, targets
            )


def strip_spectra_reference(images, down, across, grid):
    """Row transforms of images times a separable window, continued with zeros, in strips.

    Parameters
    ----------
    images : real array (M, H, W)
    down : real array (H,)
    across : real array (W,)
    grid : StripGrid
        At least as large as the images.

    Returns
    -------
    real array (M · strips · rows · 32,)
        Row j₁ n₂ + j₂ of the images is row j₂ n₁ + j₁ of a strip (n₁ and n₂ of `Line`, for the columns), zeros behind:
        16 real parts, 16 imaginary ones. What would be columns above ``width // 2`` repeats that one.
    """
    spectra = np.fft.rfft(fade_pad_reference(images, down, across, (grid.height, grid.width)))
    rows = [image_row(r, grid.tall) for r in range(grid.height)]
    columns = np.minimum(np.arange(grid.strips * LANES), grid.width // 2)
    strips = spectra[:, rows][:, :, columns].reshape(len(images), grid.height, grid.strips, LANES).swapaxes(1, 2)
    out = np.zeros((len(images), grid.strips, grid.rows, COMPLEX), images.dtype)
    out[:, :, : grid.height, :LANES], out[:, :, : grid.height, LANES:] = strips.real, strips.imag
    return out.reshape(-1)


def strip_spectra(images, down, across, grid):
    """`strip_spectra_reference`, 32 rows at a time; the same bits for any number of threads."""
    order, into = places(grid.wide)
    out = np.empty(len(images) * grid.strips * grid.rows * COMPLEX, images.dtype)
    images = np.ascontiguousarray(images)
    _strip_spectra(
        images, down, across, grid.tall, grid.wide, order, into, grid.rows, grid.strips, get_num_threads(), out
    )
    return out
