"""Half spectra of patches that lost their mean and fade at the borders.

On the CPU sixteen patches are transformed at a time, without copies of the windows that they are of a picture.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.simd.pairs import PAIR, multiply_scalar
from deconvnet.kernels.simd.pruned_dft import (
    GROUPS,
    fade_weights,
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

__all__ = ["centre_factors", "dft_factors", "patch_spectra"]


@functools.cache
def dft_factors(profile: tuple[float, ...], period: int, origin: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the DFT of windowed lines, and so of ``columns @ image @ rows``, a half spectrum.

    Parameters
    ----------
    profile : tuple of float
        Window, one number per pixel of a line.
    period : int
        Frequencies are z / period.
    origin : int
        The pixel where the phases are 0.
    dtype : numpy dtype
        Complex.

    Returns
    -------
    rows : complex array (len(profile), period // 2 + 1)
        ``profile_j · exp(−2πi z (j − origin) / period)`` for z = 0..period // 2.
    columns : complex array (period, len(profile))
        The same for z = 0..period − 1, transposed.
    """
    place = np.arange(len(profile)) - origin
    columns = np.array(profile) * np.exp(-2j * np.pi * np.outer(np.arange(period), place) / period)
    rows = np.ascontiguousarray(columns[: period // 2 + 1].T)
    return rows.astype(dtype), columns.astype(dtype)


@functools.cache
def centre_factors(period: int, centre: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the inverse DFT of half spectra that keeps the middle, ``Re(columns @ spectrum @ rows)``.

    Parameters
    ----------
    period, centre : int
        Side of the whole image and of what is kept of it, both odd.
    dtype : numpy dtype
        Complex.

    Returns
    -------
    columns : complex array (centre, period)
    rows : complex array (period // 2 + 1, centre)
        All but the one for z = 0 stand for two frequencies. With the factor 1/period².
    """
    place = np.arange(centre) + (period - centre) // 2
    columns = np.exp(2j * np.pi * np.outer(place, np.arange(period)) / period)
    rows = 2 / period**2 * columns[:, : period // 2 + 1].T
    rows[0] /= 2
    return columns.astype(dtype), np.ascontiguousarray(rows).astype(dtype)


def _reference(patches: Array, fade: tuple[float, ...]) -> tuple[Array, Array]:
    """Half spectra of faded patches.

    Parameters
    ----------
    patches : real array (B, N, S, S)
        S odd. Each loses its mean and is multiplied by the window.
    fade : tuple of float
        Profile of the window, symmetric, S numbers: the window is its outer product with itself.

    Returns
    -------
    patches_hat : complex array (B, N, S · (S // 2 + 1))
    means : real array (B, N)
    """
    xp = array_module(patches)
    means = patches.mean(axis=(-2, -1), keepdims=True)
    window = xp.asarray(np.outer(fade, fade).astype(patches.dtype))
    return rfft2((patches - means) * window).reshape(*patches.shape[:2], -1), means[..., 0, 0]


@functools.cache
def _turns(side, dtype):
    """Factors (side, columns, 2) that move the origin of a half spectrum from the middle to the first pixel."""
    z = np.arange(side)[:, None] + np.arange(side // 2 + 1)
    factors = np.exp(-2j * np.pi * z * (side // 2) / side)
    return np.stack([factors.real, factors.imag], axis=-1).astype(dtype).reshape(-1)


@compiled
def _patch_spectra(flat, steps, shape, fade, tables, turns, out, means, begin, end):
    batch, frames, side, width = shape
    reach = side // 2
    columns = reach + 1
    starts, goals = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    mean = np.empty(LANES, flat.dtype)
    ones = np.ones(2 * columns, flat.dtype)
    scratch = workspace(side, flat)
    half = np.empty(width * (side + 1) * PAIR, flat.dtype)
    column = np.empty(side * PAIR, flat.dtype)
    found = np.empty(side * columns * PAIR, flat.dtype)
    for group in range(begin, end):
        lanes = min(LANES, batch * frames - group * LANES)
        lane_starts(group, batch * frames, frames, steps, starts)
        lane_means(flat, starts, steps[2], side, mean)
        forward_rows(flat, starts, steps[2], side, side, fade, mean, tables[0], tables[1], reach, half, scratch)
        for k in range(columns):
            forward_column(half, k * (side + 1) * PAIR, side, ones, tables[0], tables[1], reach, column, scratch)
            for z in range(side):
                f = (z - reach) % side * columns + k
                multiply_scalar(turns, 2 * f, column, z * PAIR, found, f * PAIR)
        for lane in range(LANES):
            goals[lane] = (group * LANES + lane) * 2 * side * columns
        store_lanes(found, 0, 2 * side * columns, out, goals, 0, lanes)
        means[group * LANES : group * LANES + lanes] = mean[:lanes]


def _numba(patches, fade):
    """Sixteen patches at a time."""
    batch, frames, side, _ = patches.shape
    name = patches.dtype.name
    flat, steps = flat_patches(patches)
    out = np.empty((batch, frames, side * (side // 2 + 1)), np.result_type(patches.dtype, np.complex64))
    means = np.empty((batch, frames), patches.dtype)
    arguments = (
        flat,
        steps,
        (batch, frames, side, padded(side // 2 + 1)),
        fade_weights(fade, name),
        forward_tables(side, side, side // 2, name),
        _turns(side, name),
        out.view(patches.dtype).reshape(-1),
        means.reshape(-1),
    )
    in_chunks(_patch_spectra, arguments, -(-batch * frames // LANES), GROUPS)
    return out, means


def _cuda(patches, fade):
    """One block per patch."""
    xp = array_module(patches)
    patches = xp.ascontiguousarray(patches)
    batch, frames, side, _ = patches.shape
    cuda.expect(patches=(patches, (batch, frames, side, side)), fade=(np.array(fade), (side,)))
    dtype, width = np.result_type(patches.dtype, np.complex64), side // 2 + 1
    factors = [xp.asarray(factor) for factor in dft_factors(fade, side, 0, dtype)]
    by_rows, out = (xp.empty((batch, frames, side * width), dtype=dtype) for _ in range(2))
    means = xp.empty((batch, frames), dtype=patches.dtype)
    arguments = [patches, side, width, *factors, by_rows, out, means]
    cuda.launch("burst/patch_spectra", "patch_spectra", batch * frames, 256, arguments, real=patches.dtype)
    return out, means


patch_spectra = Kernel("patch_spectra", reference=_reference, cpu=_numba, cuda=_cuda)
