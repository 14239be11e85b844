"""The PSF-sized middle of a quotient of images, without the rest of it: from feature images to a raw PSF.

Whole transforms would compute and store a spectrum of every feature image and a whole inverse transform, of which a
PSF needs 17² or 33² pixels. The CPU's twin walks over strips of sixteen columns: their transforms, the products and
the division stay in the cache, and the inverse transform is a product with the few cosines and sines that are wanted.
A GPU has no transform of its own here: cuFFT is the right tool at that size.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light, share
from deconvnet.kernels.photo.fade import fade_pad
from deconvnet.kernels.photo.quotient import quotient_spectrum
from deconvnet.kernels.photo.strip_spectra import strip_spectra
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, second_step
from deconvnet.kernels.simd.pairs import SHORT, add_quotient, add_turned, divide, product_short
from deconvnet.kernels.simd.strips import StripGrid
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["psf_of_strips", "psf_quotient"]


def _by_whole_transforms(maps, down, across, grid, beta, side, fade, quotient):
    xp = array_module(maps, down, across)
    batch, double = maps.shape[:2]
    faded = fade(maps.reshape(-1, *maps.shape[2:]), down, across, grid)
    spectra = rfft2(faded).reshape(batch, double, -1)
    flat_beta = xp.full((1, spectra.shape[-1]), beta, maps.dtype)
    z_hat, _ = quotient(spectra[:, : double // 2], spectra[:, double // 2 :], flat_beta)
    z = irfft2(z_hat.reshape(batch, grid[0], -1), grid)
    place = (xp.arange(side) + side // 2) % side - side // 2
    return z[:, (place % grid[0])[:, None], (place % grid[1])[None]]


def _reference(maps: Array, down: Array, across: Array, grid: tuple[int, int], beta: float, side: int) -> Array:
    """``z = F⁻¹[ Σ_m conj(F x_m) · F y_m / ( Σ_m |F x_m|² + β ) ]`` around its origin, for faded images.

    Parameters
    ----------
    maps : real array (B, 2M, H, W)
        The x_m, then the y_m.
    down : real array (H,)
    across : real array (W,)
        Factors of the window that the images are multiplied by.
    grid : (int, int)
        Size to which they are continued with zeros; at least theirs and the PSF's.
    beta : float
        Positive regulariser.
    side : int
        Odd side of what is wanted.

    Returns
    -------
    real array (B, side, side)
        A periodic grid of its own: the origin is at index (0, 0), and what lies before it at the end.
    """
    return _by_whole_transforms(maps, down, across, grid, beta, side, fade_pad.reference, quotient_spectrum.reference)


@functools.lru_cache(maxsize=64)
def _column_tables(down, across, side, dtype):
    """Tables (blocks, n₂, SHORT) of cosines and sines of k₂ i / n₂, and turns exp(2πi k₁ i / n) (n₁, pixels, 2)."""
    reach = side // 2 + 1
    pixels = -(-reach // SHORT) * SHORT
    angle = np.zeros((across, pixels))
    angle[:, :reach] = 2 * np.pi / across * np.outer(np.arange(across), np.arange(reach))
    blocks = angle.reshape(across, -1, SHORT).swapaxes(0, 1)
    turn = 2 * np.pi / (down * across) * np.outer(np.arange(down), np.arange(reach))
    tables = np.cos(blocks), np.sin(blocks), np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    return tuple(np.ascontiguousarray(t.reshape(-1).astype(dtype)) for t in tables)


@functools.lru_cache(maxsize=64)
def _row_table(grid, strips, side, dtype):
    """Weights (strips, 32, side) that real and imaginary parts of the columns have in the pixels of a row."""
    column = np.arange(strips * LANES)
    place = (np.arange(side) + side // 2) % side - side // 2
    weight = np.where(column > grid[1] // 2, 0, np.where((column == 0) | (2 * column == grid[1]), 1, 2))
    angle = 2 * np.pi / grid[1] * np.outer(column, place)
    table = np.stack([np.cos(angle), -np.sin(angle)]) * (weight[:, None] / (grid[0] * grid[1]))
    table = table.reshape(2, strips, LANES, side).swapaxes(0, 1).reshape(strips, COMPLEX, side)
    return np.ascontiguousarray(table.astype(dtype))


@compiled
def _pixels_of_strip(numerator, denominator, tall, side, cosines, sines, turns, line, even, odd, total):
    """Divide, and transform the columns back at the pixels of the PSF: vectors ``total[i]``, origin first."""
    reach = side // 2 + 1
    blocks = -(-reach // SHORT)
    total[:] = 0
    for k in range(tall.down):
        for j in range(tall.across):
            place = k * tall.across + j
            divide(numerator, place * COMPLEX, denominator, place * LANES, line, j * COMPLEX)
        for block in range(blocks):
            table, o = block * tall.across * SHORT, block * SHORT * COMPLEX
            product_short(cosines, table, tall.across, line, 0, COMPLEX, LANES, even, o, COMPLEX, LANES)
            product_short(sines, table, tall.across, line, 0, COMPLEX, LANES, odd, o, COMPLEX, LANES)
        for i in range(reach):
            mirror = side - i  # of the origin itself: one place behind the pixels
            here = (k * reach + i) * 2
            add_turned(even, i * COMPLEX, odd, i * COMPLEX, turns, here, total, 0, i * COMPLEX, mirror * COMPLEX)


@compiled
def _columns(spectra, pairs, beta, side, tall, rows, strips, cosines, sines, turns, half, begin, end):
    points = tall.size
    x = np.empty(tall.down * (tall.across + 1) * COMPLEX, spectra.dtype)
    y, numerator = np.empty_like(x), np.empty(points * COMPLEX, spectra.dtype)
    denominator = np.empty(points * LANES, spectra.dtype)
    buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, spectra.dtype)
    x_row, y_row = np.empty_like(buffer), np.empty_like(buffer)
    even = np.empty((side // 2 + 1 + SHORT) * COMPLEX, spectra.dtype)
    odd, total = np.empty_like(even), np.empty((side + 1) * COMPLEX, spectra.dtype)
    for n in range(begin, end):
        b, g = divmod(n, strips)
        numerator[:] = 0
        denominator[:] = beta
        for m in range(pairs):
            first = ((b * 2 * pairs + m) * strips + g) * rows * COMPLEX
            second = first + pairs * strips * rows * COMPLEX
            for j in range(tall.across):
                first_step(spectra, first + j * tall.down * COMPLEX, COMPLEX, j, x, tall, buffer)
                first_step(spectra, second + j * tall.down * COMPLEX, COMPLEX, j, y, tall, buffer)
            for k in range(tall.down):
                second_step(x, k, x_row, 0, tall, buffer)
                second_step(y, k, y_row, 0, tall, buffer)
                for j in range(tall.across):
                    at, p = j * COMPLEX, k * tall.across + j
                    add_quotient(x_row, at, y_row, at, numerator, p * COMPLEX, denominator, p * LANES)
        _pixels_of_strip(numerator, denominator, tall, side, cosines, sines, turns, x_row, even, odd, total)
        for i in range(side):
            for c in range(COMPLEX):
                half[b, i, g, c] = total[i * COMPLEX + c]


@compiled
def _rows(half, table, z, begin, end):
    side = z.shape[1]
    for n in range(begin, end):
        row, columns = z[n // side, n % side], half[n // side, n % side]
        row[:] = 0
        for g in range(table.shape[0]):
            for c in range(table.shape[1]):
                value, weights = columns[g, c], table[g, c]
                for j in range(side):
                    row[j] += value * weights[j]


def psf_of_strips(spectra: Array, batch: int, grid: StripGrid, beta: float, side: int) -> Array:
    """What `psf_quotient` gives for images whose rows are transformed already.

    Parameters
    ----------
    spectra : real array
        As of `strip_spectra` for the images (B · 2M, H, W).
    batch : int
        B.
    grid : StripGrid
    beta : float
    side : int

    Returns
    -------
    real array (B, side, side)
    """
    dtype, tall = spectra.dtype, grid.tall
    pairs = spectra.size // (2 * batch * grid.strips * grid.rows * COMPLEX)
    half = np.empty((batch, side, grid.strips, COMPLEX), dtype)
    tables = _column_tables(tall.down, tall.across, side, dtype.name)
    arguments = spectra, pairs, dtype.type(beta), side, tall, grid.rows, grid.strips, *tables, half
    in_chunks(_columns, arguments, batch * grid.strips, share(batch * grid.strips))
    z = np.empty((batch, side, side), dtype)
    table = _row_table((grid.height, grid.width), grid.strips, side, dtype.name)
    in_chunks(_rows, (half, table, z), batch * side, light(table.size))
    return z


def _numba(maps, down, across, grid, beta, side):
    """Strip after strip, on grids for which `is_smooth` holds."""
    if not all(is_smooth(n) for n in grid):
        return _by_whole_transforms(maps, down, across, grid, beta, side, fade_pad.cpu, quotient_spectrum.cpu)
    strips = StripGrid(grid, maps.dtype)
    spectra = strip_spectra.cpu(maps.reshape(-1, *maps.shape[2:]), down, across, strips)
    return psf_of_strips(spectra, len(maps), strips, beta, side)


def _cuda(maps, down, across, grid, beta, side):
    """Whole transforms, with kernels for window and division."""
    return _by_whole_transforms(maps, down, across, grid, beta, side, fade_pad.cuda, quotient_spectrum.cuda)


psf_quotient = Kernel("psf_quotient", reference=_reference, cpu=_numba, cuda=_cuda)
