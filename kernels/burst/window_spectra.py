"""Low-frequency spectra of windows on a grid of places in images, without transforming what is not wanted.

On the CPU, sixteen images at a time: the rows are transformed once for all windows in the same columns.
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
    lane_means,
    lane_starts,
    padded,
    store_lanes,
    workspace,
)
from deconvnet.kernels.simd.vector import LANES

__all__ = ["half_plane", "window_spectra"]


@functools.cache
def half_plane(reach: int) -> np.ndarray:
    """Flat indices into the grid z_y = −reach..reach, z_x = 0..reach of one of each conjugate pair, without DC."""
    z_y, z_x = np.mgrid[-reach : reach + 1, 0 : reach + 1]
    return np.flatnonzero(((z_x > 0) | (z_y > 0)).ravel())


@functools.cache
def _windowed_dft(profile, reach, dtype):
    """1-D windowed DFT factors: rows (window, reach + 1) for z ≥ 0, columns (2·reach + 1, window)."""
    profile = np.array(profile)
    place = np.arange(len(profile)) - len(profile) // 2
    rows = profile[:, None] * np.exp(-2j * np.pi * np.outer(place, np.arange(reach + 1)) / len(profile))
    columns = profile * np.exp(-2j * np.pi * np.outer(np.arange(-reach, reach + 1), place) / len(profile))
    return rows.astype(dtype), columns.astype(dtype)


def _reference(images: Array, profile: tuple[float, ...], steps: tuple[int, ...], reach: int) -> Array:
    """Spectra of windows on a grid of places in each image.

    Parameters
    ----------
    images : real array (B, N, S, S)
        Their means are removed.
    profile : tuple of float
        Window along rows and columns, of odd length and symmetric; its middle is the origin of the transforms.
    steps : tuple of int
        Row and column offsets of the windows (all pairs are taken).
    reach : int
        Frequencies ``max(|z_y|, |z_x|) <= reach`` are kept.

    Returns
    -------
    complex array (B, N, len(steps)², F)
        One of each conjugate pair, without DC, sorted by z_y from −reach, then by z_x: ``F = 2·reach·(reach + 1)``.

    Notes
    -----
    Pruned DFTs as small matrix products: rows first (shared by all windows in the same columns), then columns; far
    fewer operations than the full FFT of each window.
    """
    xp = array_module(images)
    dtype = np.result_type(images.dtype, np.complex64)
    rows, columns = (xp.asarray(a) for a in _windowed_dft(profile, reach, dtype))
    side, count, width, window = images.shape[-1], len(steps), reach + 1, len(profile)
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    # Row factors of all column offsets side by side: one real product on interleaved parts.
    factor = xp.zeros((side, count, width), dtype=dtype)
    for i, step in enumerate(steps):
        factor[step : step + window, i] = rows
    flat = factor.reshape(side, -1).view(images.dtype)
    by_rows = (centred.reshape(-1, side) @ flat).view(dtype).reshape(-1, side, count * width)
    spectra = xp.empty((by_rows.shape[0], count, count, 2 * reach + 1, width), dtype=dtype)
    for i, step in enumerate(steps):
        part = xp.matmul(columns, by_rows[:, step : step + window])  # (images, 2·reach+1, count·width)
        spectra[:, i] = part.reshape(-1, 2 * reach + 1, count, width).transpose(0, 2, 1, 3)
    spectra = spectra.reshape(-1, count * count, (2 * reach + 1) * width)
    return spectra[..., xp.asarray(half_plane(reach))].reshape(*images.shape[:-2], count * count, -1)


@functools.cache
def _plan(profile, side, steps, reach, dtype):
    """Windows for rows and columns, the places of coefficients, and the offsets, as the loop below reads them."""
    right = np.repeat(np.array(profile)[len(profile) // 2 :], 2).astype(dtype)
    grid = (2 * reach + 1) * (reach + 1)
    places = np.full(grid, -1)
    places[half_plane(reach)] = np.arange(2 * reach * (reach + 1))
    return np.tile(right, (side + 1) // 2), right, places, np.array(steps)


@compiled
def _window_spectra(flat, image_steps, shape, plan, tables, reach, out, begin, end):
    batch, frames, side, window, width = shape
    row_weights, weights, places, steps = plan
    count, kept = len(steps), 2 * reach * (reach + 1)
    starts, goals = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    mean = np.empty(LANES, flat.dtype)
    scratch = workspace(window, flat)
    half = np.empty(width * (side + 1) * PAIR, flat.dtype)
    column = np.empty((2 * reach + 1) * PAIR, flat.dtype)
    found = np.empty((count, kept * PAIR), flat.dtype)
    for group in range(begin, end):
        lanes = min(LANES, batch * frames - group * LANES)
        lane_starts(group, batch * frames, frames, image_steps, starts)
        lane_means(flat, starts, image_steps[2], side, mean)
        for across in range(count):
            lane_starts(group, batch * frames, frames, image_steps, starts)
            starts += steps[across]
            forward_rows(
                flat,
                starts,
                image_steps[2],
                window,
                side,
                row_weights,
                mean,
                tables[0],
                tables[1],
                reach,
                half,
                scratch,
            )
            for down in range(count):
                for k in range(reach + 1):
                    first = (k * (side + 1) + steps[down]) * PAIR
                    forward_column(half, first, window, weights, tables[0], tables[1], reach, column, scratch)
                    for z in range(2 * reach + 1):
                        place = places[z * (reach + 1) + k]
                        if place >= 0:
                            for v in range(PAIR):
                                found[down, place * PAIR + v] = column[z * PAIR + v]
            for down in range(count):
                for lane in range(LANES):
                    goals[lane] = ((group * LANES + lane) * count * count + down * count + across) * 2 * kept
                store_lanes(found[down], 0, 2 * kept, out, goals, 0, lanes)


def _numba(images, profile, steps, reach):
    """Sixteen images at a time."""
    batch, frames, side, _ = images.shape
    window, name = len(profile), images.dtype.name
    flat, image_steps = flat_patches(images)
    kept = 2 * reach * (reach + 1)
    out = np.empty((batch, frames, len(steps) ** 2, kept), np.result_type(images.dtype, np.complex64))
    arguments = (
        flat,
        image_steps,
        (batch, frames, side, window, padded(reach + 1)),
        _plan(profile, side, steps, reach, name),
        forward_tables(window, window, reach, name),
        reach,
        out.view(images.dtype).reshape(-1),
    )
    in_chunks(_window_spectra, arguments, -(-batch * frames // LANES), GROUPS)
    return out


def _cuda(images, profile, steps, reach):
    """One block per image."""
    xp = array_module(images)
    images = xp.ascontiguousarray(images)
    batch, frames, side, _ = images.shape
    cuda.expect(images=(images, (batch, frames, side, side)))
    window, count, width = len(profile), len(steps), reach + 1
    if min(steps) < 0 or max(steps) + window > side:
        raise ValueError(f"windows of {window} pixels at {steps} leave the images of {side} pixels")
    dtype = np.result_type(images.dtype, np.complex64)
    rows, columns = (xp.asarray(factor) for factor in _windowed_dft(profile, reach, dtype))
    places = xp.asarray(half_plane(reach).astype(np.int32))
    by_rows = xp.empty((batch, frames, side, count * width), dtype=dtype)
    out = xp.empty((batch, frames, count**2, len(places)), dtype=dtype)
    offsets = xp.asarray(np.array(steps, np.int32))
    arguments = [images, side, window, count, offsets, width, rows, columns, len(places), places, by_rows, out]
    cuda.launch("burst/window_spectra", "window_spectra", batch * frames, 256, arguments, real=images.dtype)
    return out


window_spectra = Kernel("window_spectra", reference=_reference, cpu=_numba, cuda=_cuda)
