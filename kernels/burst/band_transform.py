"""Frequency bands of 65×65 patches: selected DFT coefficients of three centred windows of each patch, as reals.

Which they are, and in what order, see `deconvnet.layers.bands`. On the CPU sixteen patches are transformed at a time,
and coefficients that are not wanted are not computed.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.simd.pairs import PAIR
from deconvnet.kernels.simd.pruned_dft import (
    GROUPS,
    flat_patches,
    forward_column,
    forward_rows,
    forward_tables,
    lane_starts,
    padded,
    store_lanes,
    workspace,
)
from deconvnet.kernels.simd.vector import LANES

__all__ = [
    "BAND_SIZES",
    "BAND_SLICES",
    "COLUMNS",
    "DC",
    "PATCH",
    "REACH",
    "TOTAL",
    "WINDOWS",
    "band_parts",
    "band_transform",
    "centred_window",
    "dft_factors",
    "kept_coefficients",
]

PATCH = 65  # side of the patches, pixels
REACH = 8  # largest |z| kept
COLUMNS = REACH + 1  # z_x = 0..8
LOW = 4  # largest |z| of the low-pass band
DC = REACH * COLUMNS  # index of z = 0 in the flattened (z_y, z_x) grid
BAND_SIZES = {"b4": 81, "b3": 208, "b2": 208, "b1": 208}
TOTAL = sum(BAND_SIZES.values())
_ENDS = np.cumsum(list(BAND_SIZES.values())).tolist()
BAND_SLICES = {name: slice(end - size, end) for (name, size), end in zip(BAND_SIZES.items(), _ENDS)}
WINDOWS = {65: ("b4", "b3"), 33: ("b2",), 17: ("b1",)}


@functools.cache
def kept_coefficients(name: str) -> np.ndarray:
    """Indices of a band's coefficients, the DC left out, in the flattened grid z_y = −8..8, z_x = 0..8."""
    z_y, z_x = np.mgrid[-REACH : REACH + 1, 0:COLUMNS]
    size = np.maximum(abs(z_y), z_x)
    one_of_pair = (z_x > 0) | (z_y > 0)
    wanted = size <= LOW if name == "b4" else size > LOW
    return np.flatnonzero(one_of_pair & wanted)


@functools.cache
def dft_factors(side: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Left factor (17, side) and right factor (side, 9) of the pruned DFT, the right one with √2/side."""
    pixel = np.arange(side)
    left = np.exp(-2j * np.pi * np.outer(np.arange(-REACH, REACH + 1), pixel) / side)
    right = np.exp(-2j * np.pi * np.outer(pixel, np.arange(COLUMNS)) / side) * (np.sqrt(2) / side)
    return left.astype(dtype), right.astype(dtype)


def band_parts(name: str) -> tuple[slice, slice]:
    """Slices of a band's real and of its imaginary parts in the row of 705."""
    band = BAND_SLICES[name]
    start = band.start + (name == "b4")
    middle = (start + band.stop) // 2
    return slice(start, middle), slice(middle, band.stop)


def centred_window(side: int) -> slice:
    """Rows, or columns, of the window of this side in a patch."""
    start = (PATCH - side) // 2
    return slice(start, start + side)


def _reference(patches: Array) -> Array:
    """The four bands of each patch.

    Parameters
    ----------
    patches : real array (B, N, 65, 65)
        0.5 is subtracted.

    Returns
    -------
    array (B, N, 705)

    Notes
    -----
    Two small matrix products per window: the rows' DFT for z_x = 0..8, then the columns' for z_y = −8..8.
    """
    xp = array_module(patches)
    dtype = np.result_type(patches.dtype, np.complex64)
    centred = patches.reshape(-1, PATCH, PATCH) - patches.dtype.type(0.5)
    out = xp.empty((centred.shape[0], TOTAL), dtype=patches.dtype)
    for side, names in WINDOWS.items():
        left, right = (xp.asarray(factor) for factor in dft_factors(side, dtype))
        window = centred[:, centred_window(side), centred_window(side)].reshape(-1, side)
        half = (window @ right.view(patches.dtype)).view(dtype).reshape(-1, side, COLUMNS)
        grid = xp.matmul(left, half).reshape(-1, left.shape[0] * COLUMNS)
        for name in names:
            coefficients = grid[:, xp.asarray(kept_coefficients(name))]
            real, imaginary = band_parts(name)
            out[:, real], out[:, imaginary] = coefficients.real, coefficients.imag
            if name == "b4":
                out[:, 0] = grid[:, DC].real * 0.5**0.5
    return out.reshape(*patches.shape[:-2], TOTAL)


@functools.cache
def _plan(dtype):
    """Per window: side; places of real and imaginary parts in the row, −1 where not wanted; factors; tables."""
    grid = (2 * REACH + 1) * COLUMNS
    places = np.full((len(WINDOWS), 2, grid), -1)
    factors = np.empty((len(WINDOWS), grid), np.complex128)
    z_y, z_x = np.mgrid[-REACH : REACH + 1, 0:COLUMNS]
    tables = []
    for i, (side, names) in enumerate(WINDOWS.items()):
        for name in names:
            for row, part in zip(places[i], band_parts(name)):
                row[kept_coefficients(name)] = np.arange(part.start, part.stop)
        # The lanes' origin is the middle pixel, that of the bands the first one.
        factors[i] = np.exp(-2j * np.pi * (z_y + z_x).ravel() * (side // 2) / side) * np.sqrt(2) / side
        if "b4" in names:
            places[i, 0, DC], factors[i, DC] = 0, 1 / side
        tables += forward_tables(side, side, REACH, dtype)
    return np.array(list(WINDOWS)), places, np.stack([factors.real, factors.imag], axis=1).astype(dtype), tuple(tables)


@compiled
def _band_transform(flat, steps, shape, sides, places, factors, tables, out, begin, end):
    batch, frames, width = shape
    starts, goals = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    offset = np.full(LANES, 0.5).astype(flat.dtype)
    ones = np.ones((PATCH + 1) * (PATCH // 2 + 1), flat.dtype)
    scratch = workspace(PATCH, flat)
    half = np.empty(width * (PATCH + 1) * PAIR, flat.dtype)
    column = np.empty((2 * REACH + 1) * PAIR, flat.dtype)
    row = np.empty(TOTAL * LANES, flat.dtype)
    for group in range(begin, end):
        lane_starts(group, batch * frames, frames, steps, starts)
        for i in range(len(sides)):
            side, cos, sin = sides[i], tables[2 * i], tables[2 * i + 1]
            first = starts + (PATCH - side) // 2 * (steps[2] + 1)
            forward_rows(flat, first, steps[2], side, side, ones, offset, cos, sin, REACH, half, scratch)
            for k in range(COLUMNS):
                forward_column(half, k * (side + 1) * PAIR, side, ones, cos, sin, REACH, column, scratch)
                for z in range(2 * REACH + 1):
                    f = z * COLUMNS + k
                    c, s = factors[i, 0, f], factors[i, 1, f]
                    real, imaginary = places[i, 0, f] * LANES, places[i, 1, f] * LANES
                    for lane in range(z * PAIR, z * PAIR + LANES):
                        if real >= 0:
                            row[real + lane - z * PAIR] = c * column[lane] - s * column[lane + LANES]
                        if imaginary >= 0:
                            row[imaginary + lane - z * PAIR] = s * column[lane] + c * column[lane + LANES]
        for lane in range(LANES):
            goals[lane] = (group * LANES + lane) * TOTAL
        store_lanes(row, 0, TOTAL, out, goals, 0, min(LANES, batch * frames - group * LANES))


def _numba(patches):
    """Sixteen patches at a time."""
    batch, frames = patches.shape[:2]
    flat, steps = flat_patches(patches)
    out = np.empty((batch, frames, TOTAL), patches.dtype)
    arguments = (flat, steps, (batch, frames, padded(COLUMNS)), *_plan(patches.dtype.name), out.reshape(-1))
    in_chunks(_band_transform, arguments, -(-batch * frames // LANES), GROUPS)
    return out


@functools.cache
def _joint_factors(dtype):
    """Factors of all windows side by side, zero outside of each, and where the numbers of the result come from.

    Returns
    -------
    rows : complex array (65, 27)
    columns : complex array (52, 65)
        The last row is for the mean.
    sources : int32 array (705, 3)
        Row of ``columns``, column of ``rows``, and 0 for the real or 1 for the imaginary part of the coefficient.
    """
    lines = 2 * REACH + 1
    rows = np.zeros((PATCH, len(WINDOWS) * COLUMNS), dtype)
    columns = np.zeros((len(WINDOWS) * lines + 1, PATCH), dtype)
    sources = np.empty((TOTAL, 3), np.int32)
    for i, (side, names) in enumerate(WINDOWS.items()):
        inside, (left, right) = centred_window(side), dft_factors(side, dtype)
        rows[inside, i * COLUMNS : (i + 1) * COLUMNS] = right
        columns[i * lines : (i + 1) * lines, inside] = left
        for name in names:
            z_y, z_x = np.divmod(kept_coefficients(name), COLUMNS)
            for part, numbers in enumerate(band_parts(name)):
                sources[numbers] = np.stack([i * lines + z_y, i * COLUMNS + z_x, np.full_like(z_x, part)], axis=1)
        if "b4" in names:
            columns[-1, inside] = 0.5**0.5
            sources[0] = len(columns) - 1, i * COLUMNS, 0
    return rows, columns, sources


def _cuda(patches):
    """One block per patch."""
    xp = array_module(patches)
    patches = xp.ascontiguousarray(patches)
    batch, frames = patches.shape[:2]
    cuda.expect(patches=(patches, (batch, frames, PATCH, PATCH)))
    dtype = np.result_type(patches.dtype, np.complex64)
    rows, columns, sources = (xp.asarray(table) for table in _joint_factors(dtype))
    width = rows.shape[1]
    by_rows = xp.empty((batch, frames, PATCH, width), dtype=dtype)
    out = xp.empty((batch, frames, TOTAL), dtype=patches.dtype)
    arguments = [patches, PATCH, width, rows, columns, TOTAL, sources, by_rows, out]
    cuda.launch("burst/band_transform", "band_transform", batch * frames, 256, arguments, real=patches.dtype)
    return out


band_transform = Kernel("band_transform", reference=_reference, cpu=_numba, cuda=_cuda)
