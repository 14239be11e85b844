"""Pruned Fourier transforms of sixteen patches at a time, one patch per vector lane (see `vector.py`).

The origin of a patch (of odd side) is its middle pixel. The transform of a line is then the product of its even part
with cosines plus that of its odd part with sines: half the multiplications of a plain product, only for the frequencies
or pixels that are wanted. For sides like 65 that beats a fast transform, and a small PSF on a large grid or the centre
of an inverse transform cost as little as they should.

A *line* is a sequence of pairs of vectors, real and imaginary parts or two rows of pixels; a pair has `PAIR` reals.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.simd.pairs import (
    LONG,
    PAIR,
    SHORT,
    fold,
    product_long,
    product_short,
    rejoin,
    transpose_block,
    unfold,
)
from deconvnet.kernels.simd.vector import LANES

__all__ = [
    "FEW",
    "GROUPS",
    "fade_weights",
    "flat_patches",
    "forward_column",
    "forward_rows",
    "forward_tables",
    "inverse_centre",
    "inverse_tables",
    "lane_means",
    "lane_starts",
    "load_lanes",
    "padded",
    "products",
    "store_lanes",
    "workspace",
]

#: Groups of sixteen patches that share their working memory: a chunk of work.
GROUPS = 4
#: Outputs of a short table at most.
FEW = 18


def padded(outputs: int) -> int:
    """How many outputs a product writes where ``outputs`` are wanted: whole blocks."""
    block = SHORT if outputs <= FEW else LONG
    return -(-outputs // block) * block


def _table(matrix, dtype):
    """A matrix (inputs, outputs) in the order in which `products` reads it, with zeros for the padding."""
    inputs, outputs = matrix.shape
    full = np.zeros((inputs, padded(outputs)), dtype)
    full[:, :outputs] = matrix
    block = SHORT if outputs <= FEW else LONG
    return np.ascontiguousarray(full.reshape(inputs, padded(outputs) // block, block).swapaxes(0, 1)).reshape(-1)


@functools.cache
def forward_tables(side: int, period: int, reach: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Tables ``(cos, −sin)`` of a line of ``side`` pixels (odd) at the frequencies z / period, z = 0..reach."""
    angle = 2 * np.pi * np.outer(np.arange(side // 2 + 1), np.arange(reach + 1)) / period
    return _table(np.cos(angle), dtype), _table(-np.sin(angle[1:]), dtype)


@functools.cache
def inverse_tables(period: int, centre: int, dtype: str) -> tuple[np.ndarray, ...]:
    """Tables of the inverse transform of ``period``² frequencies that keeps the ``centre``² pixels in the middle.

    Returns
    -------
    cos, sin, row_cos, row_sin : real array
        For columns, with frequencies of both signs, and for rows, with those from 0 up and the factor 1/period².
    """
    half = period // 2
    angle = 2 * np.pi * np.outer(np.arange(half + 1), np.arange(centre // 2 + 1)) / period
    weight = np.full((half + 1, 1), 2 / period**2)
    weight[0] /= 2
    matrices = np.cos(angle), -np.sin(angle[1:]), weight * np.cos(angle), weight[1:] * np.sin(angle[1:])
    return tuple(_table(matrix, dtype) for matrix in matrices)


@compiled
def products(table, count, outputs, src, s, stride, src_second, dst, d, pitch, dst_second):
    """Product of a table (count, outputs) with pairs, see `product_long`; as many as `padded` says are written.

    ``dst[d + r·pitch + {0, dst_second}] = Σ_j table[j, r] · src[s + j·stride + {0, src_second}]`` for all r < outputs.
    """
    if outputs > FEW:
        for r in range(0, outputs, LONG):
            product_long(table, r * count, count, src, s, stride, src_second, dst, d + r * pitch, pitch, dst_second)
    else:
        for r in range(0, outputs, SHORT):
            product_short(table, r * count, count, src, s, stride, src_second, dst, d + r * pitch, pitch, dst_second)


@compiled
def workspace(side, like):
    """Scratch memory for the transforms of lines of up to ``side`` pixels, in the dtype of ``like``."""
    return np.empty((4, (side + 16) * PAIR), like.dtype)


@compiled
def lane_starts(group, count, frames, steps, starts):
    """First number of the patches 16·group.. of ``count`` in the order (burst, frame); the last one fills the lanes."""
    for lane in range(LANES):
        patch = min(group * LANES + lane, count - 1)
        starts[lane] = patch // frames * steps[0] + patch % frames * steps[1]


@compiled
def load_lanes(src, starts, offset, count, dst, d, stride):
    """``count`` numbers from each of 16 places: ``dst[d + i·stride + l] = src[starts[l] + offset + i]``."""
    here = np.zeros(LANES, np.int64)
    done = 0
    while count - done >= LANES:
        transpose_block(src, starts, offset + done, 0, dst, here, d + done * stride, stride)
        done += LANES
        if count >= LANES and 4 < count - done < LANES:
            done = count - LANES  # some twice, which is cheaper than one by one
    for i in range(done, count):
        for lane in range(LANES):
            dst[d + i * stride + lane] = src[starts[lane] + offset + i]


@compiled
def store_lanes(src, s, count, dst, starts, offset, lanes):
    """``dst[starts[l] + offset + i] = src[s + i · LANES + l]`` for the first ``lanes`` lanes and i < count."""
    here = np.zeros(LANES, np.int64)
    done = 0
    if lanes == LANES:
        while count - done >= LANES:
            transpose_block(src, here, s + done * LANES, LANES, dst, starts, offset + done, 0)
            done += LANES
            if 4 < count - done < LANES:
                done = count - LANES
    for lane in range(lanes):
        for i in range(done, count):
            dst[starts[lane] + offset + i] = src[s + i * LANES + lane]


@compiled(fastmath={"reassoc", "contract", "nsz"})
def lane_means(src, starts, row_step, side, mean):
    """Means of 16 patches of ``side``² pixels."""
    for lane in range(LANES):
        sums = np.zeros(side, src.dtype)  # by columns: vectors without sums across them
        for i in range(side):
            start = starts[lane] + i * row_step
            row = src[start : start + side]
            for j in range(side):
                sums[j] += row[j]
        mean[lane] = sums.sum() / mean.dtype.type(side * side)


@compiled
def forward_rows(src, starts, row_step, side, rows, weights, mean, cos, sin, reach, half, scratch):
    """Row transforms of 16 patches at the frequencies z_x = 0..reach.

    Parameters
    ----------
    src : real array
    starts : int array (16,)
        First pixel of each patch.
    row_step : int
        Distance of the rows in ``src``.
    side, rows : int
        Columns and rows of a patch.
    weights : real array (pairs of rows, side // 2 + 1, 2)
        Window: of column ``middle ± j`` in the two rows of a pair, flat.
    mean : real array (16,)
        Taken off every pixel.
    cos, sin, reach
        From `forward_tables`.
    half : real array
        Receives pairs ``half[(k · (rows + 1) + i) · PAIR]`` for row i, `padded` frequencies k.
    scratch : real array
        From `workspace`.
    """
    middle = side // 2
    even, odd, line = scratch[0], scratch[1], scratch[2]
    for i in range(0, rows, 2):
        below = min(i + 1, rows - 1)
        load_lanes(src, starts, i * row_step, side, line, 0, PAIR)
        load_lanes(src, starts, below * row_step, side, line, LANES, PAIR)
        at = i * (middle + 1)
        for j in range(middle + 1):
            p, q = (middle + j) * PAIR, (middle - j) * PAIR
            fold(line, p, line, q, even, j * PAIR, odd, j * PAIR, weights, at + 2 * j, mean, 0)
        for v in range(PAIR):
            even[v] *= even.dtype.type(0.5)  # the middle was counted twice
        products(cos, middle + 1, reach + 1, even, 0, PAIR, LANES, half, i * PAIR, (rows + 1) * PAIR, PAIR)
        start = i * PAIR + LANES
        products(sin, middle, reach + 1, odd, PAIR, PAIR, LANES, half, start, (rows + 1) * PAIR, PAIR)


@compiled
def forward_column(half, start, rows, weights, cos, sin, reach, column, scratch):
    """Transform of one column at z_y = −reach..reach: pairs ``column[(z_y + reach) · PAIR]``.

    Parameters
    ----------
    half : real array
    start : int
        Of the column's ``rows`` pairs in ``half``.
    weights : real array (rows // 2 + 1, 2)
        Window of row ``middle ± j``, each number twice, flat.
    cos, sin, reach
        From `forward_tables`.
    column : real array
    scratch : real array
        From `workspace`.
    """
    middle = rows // 2
    nothing = np.zeros(LANES, half.dtype)
    even, odd, cosines, sines = scratch[0], scratch[1], scratch[2], scratch[3]
    for j in range(middle + 1):
        p, q = start + (middle + j) * PAIR, start + (middle - j) * PAIR
        fold(half, p, half, q, even, j * PAIR, odd, j * PAIR, weights, 2 * j, nothing, 0)
    for v in range(PAIR):
        even[v] *= even.dtype.type(0.5)
    products(cos, middle + 1, reach + 1, even, 0, PAIR, LANES, cosines, 0, PAIR, LANES)
    products(sin, middle, reach + 1, odd, PAIR, PAIR, LANES, sines, 0, PAIR, LANES)
    for z in range(reach + 1):
        plus, minus = (reach + z) * PAIR, (reach - z) * PAIR
        rejoin(cosines, z * PAIR, sines, z * PAIR, column, plus, column, minus)


@compiled
def inverse_centre(spectrum, period, centre, cos, sin, row_cos, row_sin, half, picture, scratch):
    """The middle ``centre``² pixels of the inverse transform of 16 half spectra.

    Parameters
    ----------
    spectrum : real array
        Pairs ``spectrum[(k · period + z_y + period // 2) · PAIR]`` for z_x = k.
    period, centre : int
    cos, sin, row_cos, row_sin
        From `inverse_tables`.
    half : real array (at least (period // 2 + 1) · (centre + 1) pairs)
    picture : real array
        Receives vectors ``picture[(i · centre + j) · LANES]``.
    scratch : real array
    """
    middle, reach = period // 2, centre // 2
    ones = np.ones(2 * (middle + 1), spectrum.dtype)
    column = np.empty(centre * PAIR, spectrum.dtype)
    for k in range(middle + 1):
        # The same sums as forwards, with −y for y.
        forward_column(spectrum, k * period * PAIR, period, ones, cos, sin, reach, column, scratch)
        for i in range(centre):
            for v in range(PAIR):
                half[(k * (centre + 1) + i) * PAIR + v] = column[(centre - 1 - i) * PAIR + v]
    even, odd = scratch[0], scratch[1]
    step = (centre + 1) * PAIR
    for i in range(0, centre, 2):
        products(row_cos, middle + 1, reach + 1, half, i * PAIR, step, PAIR, even, 0, PAIR, LANES)
        products(row_sin, middle, reach + 1, half, step + i * PAIR + LANES, step, PAIR, odd, 0, PAIR, LANES)
        for j in range(reach + 1):
            p, q = (reach + j) * PAIR, (reach - j) * PAIR
            unfold(even, j * PAIR, odd, j * PAIR, column, p, column, q)
        for row in range(i, min(i + 2, centre)):
            for j in range(centre):
                for lane in range(LANES):
                    picture[(row * centre + j) * LANES + lane] = column[j * PAIR + (row - i) * LANES + lane]


@functools.cache
def fade_weights(profile: tuple[float, ...], dtype: str) -> np.ndarray:
    """The window of `forward_rows` that is the outer product of a symmetric profile, a tuple, with itself."""
    profile = np.array(profile)
    rows = profile[np.minimum(np.arange(0, len(profile) + 1, 2)[:, None] + [0, 1], len(profile) - 1)]  # (pairs, 2)
    return (rows[:, None] * profile[len(profile) // 2 :][None, :, None]).astype(dtype).reshape(-1)


def flat_patches(patches: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Patches (..., h, w) as the flat memory that they lie in, without copies where rows are contiguous.

    Parameters
    ----------
    patches : real array (..., h, w)
        Any strides; overlapping windows into one picture stay so.

    Returns
    -------
    flat : real array
    steps : tuple of int
        Distance, in numbers, of neighbours along each axis but the last.
    """
    size = patches.itemsize
    if patches.strides[-1] != size or any(s < 0 or s % size for s in patches.strides):
        patches = np.ascontiguousarray(patches)
    steps = tuple(s // size for s in patches.strides[:-1])
    extent = patches.shape[-1] + sum((n - 1) * s for n, s in zip(patches.shape[:-1], steps))
    flat = np.lib.stride_tricks.as_strided(patches, (extent,), (size,), writeable=False)
    return flat, steps
