"""Latent images from blurry ones and their PSFs, by a regularised division of spectra, with everything in the cache.

`image_spectrum` transforms the blurry images once. Then every PSF costs one pass over strips of sixteen columns (the
PSF's transfer function, the division and the columns' inverse transforms, none of which is ever in memory as a whole),
and one over the rows. A GPU, and sizes without a fast transform, take whole transforms, and `image_spectrum` is one of
them, without a CUDA source.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, share
from deconvnet.kernels.photo.quotient import quotient_spectrum
from deconvnet.kernels.photo.strip_spectra import strip_spectra
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, line_plan, places, second_step
from deconvnet.kernels.simd.pairs import LONG, divide_swapped, join, product_long, transpose_block, turned_parts
from deconvnet.kernels.simd.strips import ROWS, StripGrid, call_store_rows, image_row
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["image_quotient", "image_spectrum"]


def _spectrum_reference(y: Array) -> Array:
    """Spectra of blurry images, in whatever form `image_quotient` takes them on the same device and engine.

    Parameters
    ----------
    y : real array (B, gh, gw)
        Periodic.

    Returns
    -------
    array
        Here the half spectra (B, gh, gw // 2 + 1); on the CPU, if both sides have small factors, a real array.
    """
    return rfft2(y)


def _reference(y_hat: Array, psf: Array, beta: float, grid: tuple[int, int], shape: tuple[int, int]) -> Array:
    """``x = F⁻¹[ conj(F psf) · F y / ( |F psf|² + β ) ]``, cropped to the image.

    Parameters
    ----------
    y_hat : array
        The `image_spectrum` of blurry images (B, gh, gw).
    psf : real array (B, k, k)
        Centre at ``(k // 2, k // 2)``, k odd.
    beta : float
        Positive regulariser.
    grid : (int, int)
        gh and gw.
    shape : (int, int)
        Size of the image, the top left part of the grid.

    Returns
    -------
    real array (B, *shape)
    """
    return _by_whole_transforms(y_hat, psf, beta, grid, shape, quotient_spectrum.reference)


def _by_whole_transforms(y_hat, psf, beta, grid, shape, quotient):
    xp = array_module(y_hat, psf)
    if y_hat.dtype.kind != "c":
        raise TypeError("the spectrum of the blurry images was made with another engine")
    batch, side = len(psf), psf.shape[-1]
    padded = xp.zeros((batch, *grid), psf.dtype)
    place = xp.arange(side) - side // 2
    padded[:, (place % grid[0])[:, None], (place % grid[1])[None]] = psf
    flat = (a.reshape(batch, 1, -1) for a in (rfft2(padded), y_hat))
    x_hat, _ = quotient(*flat, xp.full((1, y_hat[0].size), beta, psf.dtype))
    return xp.ascontiguousarray(irfft2(x_hat.reshape(y_hat.shape), grid)[:, : shape[0], : shape[1]])


@functools.lru_cache(maxsize=64)
def _tables(down, across, strips, wide, side, dtype):
    """What makes a transfer function out of a PSF.

    Returns
    -------
    columns : real array (strips, side, 32)
        exp(−2πi v p / W) of the sixteen columns v of a strip at the PSF's columns p.
    turns : real array
        exp(−2πi k₁ p / H) in the order (k₁, p = 0..), pairs.
    cosines, sines : real array
        Of 2π k₂ p / n₂ in the order of `product_long`, p = 0.. and halved for p = 0.
    """
    reach = side // 2 + 1
    angle = (
        -2 * np.pi / wide * np.arange(strips * LANES).reshape(strips, 1, LANES) * (np.arange(side)[:, None] - side // 2)
    )
    columns = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
    turn = -2 * np.pi / (down * across) * np.outer(np.arange(down), np.arange(reach))
    turns = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    padded = -(-across // LONG) * LONG
    angle = 2 * np.pi / across * np.outer(np.arange(reach), np.arange(padded))
    weight = np.where(np.arange(reach) == 0, 0.5, 1)[:, None]
    products = [(f * weight).reshape(reach, -1, LONG).swapaxes(0, 1) for f in (np.cos(angle), np.sin(angle))]
    flat = (turns, *products)
    return columns.astype(dtype), *(np.ascontiguousarray(a.reshape(-1).astype(dtype)) for a in flat)


@compiled
def _forward_columns(spectra, tall, rows, begin, end):
    x = np.empty(tall.down * (tall.across + 1) * COMPLEX, spectra.dtype)
    buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, spectra.dtype)
    for n in range(begin, end):
        start = n * rows * COMPLEX
        for j in range(tall.across):
            first_step(spectra, start + j * tall.down * COMPLEX, COMPLEX, j, x, tall, buffer)
        for k in range(tall.down):
            second_step(x, k, spectra, start + k * tall.across * COMPLEX, tall, buffer)


@compiled
def _columns(spectra, psf, beta, tall, back, rows, columns, turns, cosines, sines, out, begin, end):
    side = psf.shape[1]
    strips, reach = len(columns), side // 2 + 1
    x = np.empty(back.down * (back.across + 1) * COMPLEX, spectra.dtype)
    buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, spectra.dtype)
    line = np.empty(tall.across * COMPLEX, spectra.dtype)
    across = np.empty(side * COMPLEX, spectra.dtype)
    even, odd = np.empty(reach * COMPLEX, spectra.dtype), np.empty(reach * COMPLEX, spectra.dtype)
    c = np.empty((tall.across + LONG) * COMPLEX, spectra.dtype)
    s = np.empty_like(c)
    for n in range(begin, end):
        b, g = divmod(n, strips)
        start = n * rows * COMPLEX
        across[:] = 0
        for i in range(side):
            row = across[i * COMPLEX : (i + 1) * COMPLEX]
            for j in range(side):
                value, factors = psf[b, i, j], columns[g, j]
                for lane in range(COMPLEX):
                    row[lane] += value * factors[lane]
        for k in range(tall.down):
            for p in range(reach):
                plus, minus = (side // 2 + p) * COMPLEX, (side // 2 - p) * COMPLEX
                at = p * COMPLEX
                turned_parts(across, 0, plus, minus, turns, 2 * (k * reach + p), even, at, odd, at)
            for first in range(0, tall.across, LONG):
                to = first * COMPLEX
                product_long(cosines, first * reach, reach, even, 0, COMPLEX, LANES, c, to, COMPLEX, LANES)
                product_long(sines, first * reach, reach, odd, 0, COMPLEX, LANES, s, to, COMPLEX, LANES)
            for j in range(tall.across):
                at = j * COMPLEX
                divide_swapped(c, at, s, at, spectra, start + k * tall.across * COMPLEX + at, beta, 0, line, at)
            first_step(line, 0, COMPLEX, k, x, back, buffer)
        for k in range(back.down):
            second_step(x, k, out, start + k * back.across * COMPLEX, back, buffer)
        out[start + tall.size * COMPLEX : start + rows * COMPLEX] = 0  # lest rows without a meaning mix with others


@compiled
def _rows(spectra, tall, wide, store, order, into, rows, strips, height, width, out, begin, end):
    blocks = rows // ROWS
    count = spectra.size // (strips * rows * COMPLEX)
    pitch = (wide.across + 1) * COMPLEX
    work = np.empty(wide.down * pitch, spectra.dtype)
    buffer = np.empty(2 * max(wide.down, wide.across) * COMPLEX, spectra.dtype)
    quad = np.empty(4 * LANES * LANES, spectra.dtype)
    here, starts = np.zeros(LANES, np.int64), np.empty(ROWS, np.int64)
    for n in range(begin, end):
        m, first = n // blocks, n % blocks * ROWS
        inside = 0
        for lane in range(ROWS):
            i = image_row(first + lane, tall)
            inside += i < height
            starts[lane] = (m * height + i) * width if i < height else count * height * width
        if inside == 0:
            continue
        for g in range(strips):
            source = ((m * strips + g) * rows + first) * COMPLEX
            for q in range(4):
                place = source + q // 2 * LANES * COMPLEX + q % 2 * LANES
                transpose_block(spectra, here, place, COMPLEX, quad, here, q * LANES * LANES, LANES)
            for c in range(min(LANES, wide.size // 2 + 1 - g * LANES)):
                v = g * LANES + c
                join(quad, c * LANES, work, 0, into[v], into[(wide.size - v) % wide.size])
        call_store_rows(store, work, wide, order, width, buffer, out, starts)


def _spectrum_numba(y):
    """Strips, over the number of pixels, where `is_smooth` holds for the sides."""
    height, width = y.shape[-2:]
    if not (is_smooth(height) and is_smooth(width)):
        return _spectrum_reference(y)
    grid = StripGrid((height, width), y.dtype)
    down = np.full(height, 1 / (height * width), y.dtype)
    spectra = strip_spectra.cpu(y, down, np.ones(width, y.dtype), grid)
    count = spectra.size // (grid.rows * COMPLEX)
    in_chunks(_forward_columns, (spectra, grid.tall, grid.rows), count, share(count))
    return spectra


def _numba(y_hat, psf, beta, grid, shape):
    """Strip after strip, then 32 rows at a time."""
    if y_hat.dtype.kind == "c":
        return _by_whole_transforms(y_hat, psf, beta, grid, shape, quotient_spectrum.cpu)
    dtype, side, count = psf.dtype, psf.shape[-1], len(psf)
    strips = StripGrid(grid, dtype)
    tall, back = strips.tall, line_plan(grid[0], dtype.name, back=True)
    half = np.empty_like(y_hat)
    tables = _tables(tall.down, tall.across, strips.strips, grid[1], side, dtype.name)
    floor = np.full(1, beta, dtype)
    arguments = y_hat, np.ascontiguousarray(psf), floor, tall, back, strips.rows, *tables, half
    in_chunks(_columns, arguments, count * strips.strips, share(count * strips.strips))
    height, width = shape
    out = np.empty(count * height * width + width, dtype)  # the last row takes what lies below the image
    order, into = places(strips.wide)
    rows = strips.wide, strips.store_rows, order, into
    arguments = half, tall, *rows, strips.rows, strips.strips, height, width, out
    blocks = count * strips.rows // ROWS
    in_chunks(_rows, arguments, blocks, share(blocks))
    return out[: count * height * width].reshape(count, height, width)


def _cuda(y_hat, psf, beta, grid, shape):
    """Whole transforms, with a kernel for the division."""
    return _by_whole_transforms(y_hat, psf, beta, grid, shape, quotient_spectrum.cuda)


image_spectrum = Kernel("image_spectrum", reference=_spectrum_reference, cpu=_spectrum_numba)
image_quotient = Kernel("image_quotient", reference=_reference, cpu=_numba, cuda=_cuda)
