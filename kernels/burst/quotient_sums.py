"""Numerator and denominator of the multi-frame quotient of whole windows, from small PSFs: one pass over the frames.

Spectra of frames lie in strips of sixteen columns, one column to a vector lane. A strip's rows stay in the first-level
cache while the PSFs of all frames are transformed to it, and no transfer function is ever written to memory.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.burst.spectrum_strips import from_strips
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.simd.pairs import LONG, PAIR, SHORT, add_quotient
from deconvnet.kernels.simd.pruned_dft import FEW, forward_column, forward_tables, padded, products, workspace
from deconvnet.kernels.simd.vector import LANES

__all__ = ["quotient_sums"]


def _reference(psfs: Array, y: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """``Σ_i conj(K_i) Y_i`` and ``Σ_i |K_i|²`` over the frames of a window, K_i being the transforms of the PSFs.

    Parameters
    ----------
    psfs : real array (N, k, k)
        k is odd; the middle pixel is the origin.
    y : real array (N, S, H, 2, 16)
        Half spectra of the frames, from `to_strips`.
    shape : (int, int)
        Height H and width W of the window's grid, at least k each.

    Returns
    -------
    data : complex array (H, W//2 + 1)
    power : real array (H, W//2 + 1)
    """
    xp = array_module(psfs, y)
    side = psfs.shape[-1]
    grid = xp.zeros((len(psfs), *shape), psfs.dtype)
    grid[:, :side, :side] = psfs
    otf = xp.fft.rfft2(xp.roll(grid, (-(side // 2), -(side // 2)), axis=(-2, -1)))
    otf = otf.astype(np.result_type(psfs.dtype, np.complex64))
    data = (otf.conj() * from_strips(y, shape[1] // 2 + 1)).sum(axis=0)
    return data, (otf.real**2 + otf.imag**2).sum(axis=0)


@functools.cache
def _row_waves(side: int, period: int, dtype: str) -> np.ndarray:
    """``cos, −sin`` of pixel j = −side//2.. at the horizontal frequencies of every strip: flat (S, side, 2, 16)."""
    width = period // 2 + 1
    frequency = np.arange(-(-width // LANES) * LANES)
    angle = 2 * np.pi * np.outer(np.arange(side) - side // 2, frequency) / period
    waves = np.stack([np.cos(angle), -np.sin(angle)], axis=1) * (frequency < width)  # (side, 2, S·16)
    return np.ascontiguousarray(waves.reshape(side, 2, -1, LANES).transpose(2, 0, 1, 3), dtype=dtype).reshape(-1)


@compiled
def _row_table(psf, side, block, table):
    """A PSF in the order in which `products` takes its table: inputs are columns, outputs rows."""
    for first in range(0, side, block):
        for j in range(side):
            for r in range(block):
                i = first + r
                table[first * side + j * block + r] = psf[i * side + j] if i < side else 0


@compiled
def _quotient_sums(psfs, y, waves, cos, sin, sizes, data, power):
    count, side, height, width, rows, columns = sizes
    reach, block = height // 2, SHORT if side <= FEW else LONG
    strips = -(-width // LANES)
    scratch = workspace(height, psfs)
    table = np.empty((count, rows * side), psfs.dtype)
    for n in range(count):
        _row_table(psfs[n * side * side : (n + 1) * side * side], side, block, table[n])
    half, column = np.empty(rows * PAIR, psfs.dtype), np.empty(columns * PAIR, psfs.dtype)
    ones = np.ones(2 * (side // 2 + 1), psfs.dtype)
    numerator, denominator = np.empty(height * PAIR, psfs.dtype), np.empty(height * LANES, psfs.dtype)
    for strip in range(strips):
        numerator[:] = 0
        denominator[:] = 0
        for n in range(count):
            products(table[n], side, side, waves, strip * side * PAIR, PAIR, LANES, half, 0, PAIR, LANES)
            forward_column(half, 0, side, ones, cos, sin, reach, column, scratch)
            first = (n * strips + strip) * height * PAIR
            for z in range(height):
                k = (z if z <= reach else z - height) + reach
                add_quotient(column, k * PAIR, y, first + z * PAIR, numerator, z * PAIR, denominator, z * LANES)
        wanted = min(LANES, width - strip * LANES)
        for z in range(height):
            at = z * width + strip * LANES
            for lane in range(wanted):
                data[2 * (at + lane)] = numerator[z * PAIR + lane]
                data[2 * (at + lane) + 1] = numerator[z * PAIR + LANES + lane]
                power[at + lane] = denominator[z * LANES + lane]


def _without_margin(psfs: np.ndarray) -> np.ndarray:
    """The middle of the PSFs beyond which all of them are zero, at least a pixel."""
    side = psfs.shape[-1]
    seen = psfs.any(axis=0)
    used = np.flatnonzero(seen.any(axis=0) | seen.any(axis=1))
    margin = int(min(used[0], side - 1 - used[-1])) if used.size else side // 2
    return psfs[:, margin : side - margin, margin : side - margin]


def _numba(psfs: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Strip after strip, sixteen columns at a time."""
    psfs = _without_margin(psfs)
    count, side, _ = psfs.shape
    height, width, name = shape[0], shape[1] // 2 + 1, psfs.dtype.name
    data = np.empty((height, width), np.result_type(psfs.dtype, np.complex64))
    power = np.empty((height, width), psfs.dtype)
    _quotient_sums(
        np.ascontiguousarray(psfs).reshape(-1),
        np.ascontiguousarray(y).reshape(-1),
        _row_waves(side, shape[1], name),
        *forward_tables(side, height, height // 2, name),
        (count, side, height, width, padded(side), 2 * (height // 2) + 1),
        data.view(psfs.dtype).reshape(-1),
        power.reshape(-1),
    )
    return data, power


def _cuda(psfs: Array, y: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Row transforms of the PSFs, one thread per frame, row and column; then one thread per frequency."""
    xp = array_module(psfs, y)
    psfs, y = xp.ascontiguousarray(psfs), xp.ascontiguousarray(y)
    count, side, _ = psfs.shape
    height, width = shape[0], shape[1] // 2 + 1
    strips = -(-width // LANES)
    cuda.expect(psfs=(psfs, (count, side, side)), y=(y, (count, strips, height, 2, LANES)))
    dtype = np.result_type(psfs.dtype, np.complex64)
    across = xp.asarray(_waves(side, shape[1], width, dtype.name))
    down = xp.asarray(_waves(side, height, height, dtype.name))
    rows = xp.empty((count, side, width), dtype)
    data, power = xp.empty((height, width), dtype), xp.empty((height, width), psfs.dtype)
    by_rows = [psfs, rows.size, side, width, across, rows]
    sums = [rows, y, count, side, height, width, strips, down, data, power]
    for kernel, array, arguments in (("psf_rows", rows, by_rows), ("sum_frames", power, sums)):
        cuda.launch(
            "burst/quotient_sums", kernel, cuda.blocks(array.size, 256), 256, arguments, real=psfs.dtype,
            constants={"LANES": LANES},
        )  # fmt: skip
    return data, power


@functools.cache
def _waves(side: int, period: int, count: int, dtype: str) -> np.ndarray:
    """``exp(−2πi (j − side//2) z / period)`` for pixels j and frequencies z < count: (side, count)."""
    return np.exp(-2j * np.pi * np.outer(np.arange(side) - side // 2, np.arange(count)) / period).astype(dtype)


quotient_sums = Kernel("quotient_sums", reference=_reference, cpu=_numba, cuda=_cuda)
