"""Correlations of the sharp gradients of a window with those of every frame, at the lags of small PSFs only.

The product of the spectra, the sum over the two gradients and the part of the inverse transform that is wanted are one
pass over the frames' spectra, sixteen columns at a time.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.burst.spectrum_strips import from_strips
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.simd.pairs import PAIR, correlate, fold, rejoin
from deconvnet.kernels.simd.pruned_dft import forward_tables, products, workspace
from deconvnet.kernels.simd.vector import LANES

__all__ = ["psf_correlations"]


def _reference(x_hat: Array, y: Array, shape: tuple[int, int], side: int) -> Array:
    """``F⁻¹[ Σ_m conj(X_m) Y_im ]`` at the lags −side//2..side//2, for every frame i.

    Parameters
    ----------
    x_hat : complex array (2, H, W//2 + 1)
        Half spectra of the sharp gradients, down and across.
    y : real array (N, 2, S, H, 2, 16)
        Those of the frames, from `deconvnet.kernels.burst.spectrum_strips.to_strips`.
    shape : (int, int)
        H and W.
    side : int
        Odd, at most H and W.

    Returns
    -------
    real array (N, side, side)
        The lag 0 is in the middle.
    """
    xp = array_module(x_hat, y)
    cross = xp.fft.irfft2((x_hat.conj() * from_strips(y, shape[1] // 2 + 1)).sum(axis=1), shape)
    lags = xp.arange(side) - side // 2
    return cross[:, (lags % shape[0])[:, None], lags % shape[1]].astype(y.dtype)


@functools.cache
def _lag_waves(side: int, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Second step of the inverse transform: (S · 2 · 16, side), zero beyond the last column."""
    height, width = shape
    columns = width // 2 + 1
    frequency = np.arange(-(-columns // LANES) * LANES)
    weight = np.where((frequency == 0) | (2 * frequency == width), 1, 2) * (frequency < columns) / (height * width)
    angle = 2 * np.pi * np.outer(frequency, np.arange(side) - side // 2) / width
    waves = weight[:, None, None] * np.stack([np.cos(angle), -np.sin(angle)], axis=1)  # (S · 16, 2, side)
    waves = waves.reshape(-1, LANES, 2, side).swapaxes(1, 2)
    return np.ascontiguousarray(waves, dtype=dtype).reshape(-1, side)


@compiled
def _psf_correlations(x, y, cos, sin, sizes, out):
    count, side, height, width = sizes
    reach, strips = side // 2, -(-width // LANES)
    half = height // 2
    scratch = workspace(height, y)
    even, odd, cosines, sines = scratch[0], scratch[1], scratch[2], scratch[3]
    sharp, line = np.zeros(2 * height * PAIR, y.dtype), np.empty(height * PAIR, y.dtype)
    ones, nothing = np.ones(2, y.dtype), np.zeros(LANES, y.dtype)
    for strip in range(strips):
        wanted = min(LANES, width - strip * LANES)
        sharp[:] = 0
        for m in range(2):
            for z in range(height):
                s, t = (m * height + z) * width + strip * LANES, (m * height + z) * PAIR
                for lane in range(wanted):
                    sharp[t + lane] = x[2 * (s + lane)]
                    sharp[t + LANES + lane] = x[2 * (s + lane) + 1]
        for n in range(count):
            first = (2 * n * strips + strip) * height * PAIR
            second = first + strips * height * PAIR
            for z in range(height):
                t = z * PAIR
                correlate(sharp, t, y, first + t, sharp, height * PAIR + t, y, second + t, line, t)
            for j in range(half + 1):
                p, q = j * PAIR, (height - j) % height * PAIR
                fold(line, p, line, q, even, p, odd, p, ones, 0, nothing, 0)
            for v in range(PAIR):  # the frequencies that are their own opposites were counted twice
                even[v] *= even.dtype.type(0.5)
            if height % 2 == 0:
                for v in range(half * PAIR, half * PAIR + PAIR):
                    even[v] *= even.dtype.type(0.5)
            products(cos, half + 1, reach + 1, even, 0, PAIR, LANES, cosines, 0, PAIR, LANES)
            products(sin, half, reach + 1, odd, PAIR, PAIR, LANES, sines, 0, PAIR, LANES)
            for i in range(reach + 1):  # the sums are those of a forward transform, with −i for i
                plus, minus = (n * side + reach - i) * strips + strip, (n * side + reach + i) * strips + strip
                rejoin(cosines, i * PAIR, sines, i * PAIR, out, plus * PAIR, out, minus * PAIR)


def _numba(x_hat: np.ndarray, y: np.ndarray, shape: tuple[int, int], side: int) -> np.ndarray:
    """Strip after strip; what is left along the rows is one matrix product."""
    count, height, width = len(y), shape[0], shape[1] // 2 + 1
    by_columns = np.empty((count * side, -(-width // LANES) * PAIR), y.dtype)
    _psf_correlations(
        np.ascontiguousarray(x_hat).view(y.dtype).reshape(-1),
        np.ascontiguousarray(y).reshape(-1),
        *forward_tables(height, height, side // 2, y.dtype.name),
        (count, side, height, width),
        by_columns.reshape(-1),
    )
    return (by_columns @ _lag_waves(side, tuple(shape), y.dtype.name)).reshape(count, side, side)


def _cuda(x_hat: Array, y: Array, shape: tuple[int, int], side: int) -> Array:
    """Columns with one thread per frame, lag and frequency; then rows with one thread per lag."""
    xp = array_module(x_hat, y)
    x_hat, y = xp.ascontiguousarray(x_hat), xp.ascontiguousarray(y)
    count, height, width = len(y), shape[0], shape[1] // 2 + 1
    strips = -(-width // LANES)
    cuda.expect(x_hat=(x_hat, (2, height, width)), y=(y, (count, 2, strips, height, 2, LANES)))
    down, across = (xp.asarray(a) for a in _waves(side, tuple(shape), x_hat.dtype.name))
    by_columns, out = xp.empty((count, side, width), x_hat.dtype), xp.empty((count, side, side), y.dtype)
    columns = [x_hat, y, by_columns.size, side, height, width, strips, down, by_columns]
    rows = [by_columns, out.size, side, width, across, out]
    for kernel, array, arguments in (("lag_columns", by_columns, columns), ("lag_rows", out, rows)):
        cuda.launch(
            "burst/psf_correlations", kernel, cuda.blocks(array.size, 256), 256, arguments, real=y.dtype,
            constants={"LANES": LANES},
        )  # fmt: skip
    return out


@functools.cache
def _waves(side: int, shape: tuple[int, int], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Factors (side, H) and, with the weights of the half spectrum, (W//2 + 1, side) of the inverse transform."""
    height, width = shape
    lags, frequency = np.arange(side) - side // 2, np.arange(width // 2 + 1)
    weight = np.where((frequency == 0) | (2 * frequency == width), 1, 2) / (height * width)
    down = np.exp(2j * np.pi * np.outer(lags, np.arange(height)) / height)
    return down.astype(dtype), (weight[:, None] * np.exp(2j * np.pi * np.outer(frequency, lags) / width)).astype(dtype)


psf_correlations = Kernel("psf_correlations", reference=_reference, cpu=_numba, cuda=_cuda)
