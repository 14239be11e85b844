"""Latent images from blurry ones and their PSFs, by a regularised division of spectra, with everything in the cache.

`image_spectrum` transforms the blurry images once. Then every PSF costs one pass over strips of sixteen columns (the
PSF's transfer function, the division and the columns' inverse transforms, none of which is ever in memory as a whole),
and one over the rows. Only for the CPU (see `deconvnet.kernels.simd.strips`).
"""

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.extending import intrinsic

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.kernels.simd.line_fft import first_step, line_plan, places, second_step
from deconvnet.kernels.simd.pairs import LONG, product_long, transpose_block
from deconvnet.kernels.simd.strips import ROWS, StripGrid, image_row, strip_spectra
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES, Complex, Memory, load_complex, splat_complex, store_complex

__all__ = ["image_quotient_numba", "image_quotient_reference", "image_spectrum"]


def image_quotient_reference(y, psf, beta, shape):
    """``x = F⁻¹[ conj(F psf) · F y / ( |F psf|² + β ) ]``, cropped to the image.

    Parameters
    ----------
    y : real array (B, gh, gw)
        Blurry images, periodic.
    psf : real array (B, k, k)
        Centre at ``(k // 2, k // 2)``, k odd.
    beta : float
        Positive regulariser.
    shape : (int, int)
        Size of the image, the top left part of the grid.

    Returns
    -------
    real array (B, *shape)
    """
    xp = array_module(y, psf)
    grid, side = y.shape[-2:], psf.shape[-1]
    padded = xp.zeros(y.shape, y.dtype)
    place = xp.arange(side) - side // 2
    padded[:, (place % grid[0])[:, None], (place % grid[1])[None]] = psf
    otf = rfft2(padded)
    x = irfft2(otf.conj() * rfft2(y) / (otf.real**2 + otf.imag**2 + beta), grid)
    return xp.ascontiguousarray(x[:, : shape[0], : shape[1]])


@intrinsic
def _turned_parts(typing_context, line, p, q, turns, t, even, e, odd, o):
    """Sum and difference of ``line[p] · w`` and ``line[q] · conj(w)`` for the complex number w = ``turns[t]``."""
    kinds = (line, turns, even, odd)

    def codegen(context, builder, signature, arguments):
        data, table, same, other = (Memory(context, builder, k, arguments[i]) for k, i in zip(kinds, (0, 3, 5, 7)))
        turn = splat_complex(table, arguments[4], apart=1)
        plus, minus = turn * load_complex(data, arguments[1]), turn.conj_times(load_complex(data, arguments[2]))
        store_complex(same, plus + minus, arguments[6])
        store_complex(other, plus - minus, arguments[8])
        return context.get_dummy_value()

    n = types.intp
    return types.void(line, n, n, turns, n, even, n, odd, n), codegen


@intrinsic
def _divide_swapped(typing_context, cosines, c, sines, s, image, y, beta, out, o):
    """``out[o] = conj(h) · image / (|h|² + β)`` with h = C − iS, its real and imaginary parts exchanged."""
    kinds = (cosines, sines, image, out)

    def codegen(context, builder, signature, arguments):
        memories = [Memory(context, builder, k, arguments[i]) for k, i in zip(kinds, (0, 2, 4, 7))]
        even, odd, spectrum = (load_complex(m, arguments[i]) for m, i in zip(memories, (1, 3, 5)))
        otf = Complex(even.re + odd.im, even.im - odd.re)
        floor = Memory(context, builder, beta, arguments[6]).splat(ir.Constant(arguments[8].type, 0))
        power = otf.re * otf.re + otf.im * otf.im + floor
        value = otf.conj_times(spectrum)
        store_complex(memories[3], Complex(value.im / power, value.re / power), arguments[8])
        return context.get_dummy_value()

    n = types.intp
    return types.void(cosines, n, sines, n, image, n, beta, out, n), codegen


@intrinsic
def _join(typing_context, quad, s, out, plus, minus):
    """Coefficients v and −v, parts exchanged, of a + ib for real a and b whose coefficients v are in ``quad``.

    Vectors 16² numbers apart from ``quad[s]`` on: the imaginary and the real parts of a's, then those of b's.
    """

    def codegen(context, builder, signature, arguments):
        data, target = (Memory(context, builder, k, arguments[i]) for k, i in ((quad, 0), (out, 2)))
        a_im, a_re, b_im, b_re = (data.load(arguments[1], i * LANES * LANES) for i in range(4))
        store_complex(target, Complex(a_im + b_re, a_re - b_im), arguments[3])
        store_complex(target, Complex(b_re - a_im, a_re + b_im), arguments[4])
        return context.get_dummy_value()

    n = types.intp
    return types.void(quad, n, out, n, n), codegen


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


@njit(cache=True, parallel=True)
def _forward_columns(spectra, tall, rows, parts):
    strips = spectra.size // (rows * COMPLEX)
    for part in prange(parts):
        x = np.empty(tall.down * (tall.across + 1) * COMPLEX, spectra.dtype)
        buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, spectra.dtype)
        for n in range(part * strips // parts, (part + 1) * strips // parts):
            start = n * rows * COMPLEX
            for j in range(tall.across):
                first_step(spectra, start + j * tall.down * COMPLEX, COMPLEX, j, x, tall, buffer)
            for k in range(tall.down):
                second_step(x, k, spectra, start + k * tall.across * COMPLEX, tall, buffer)


@njit(cache=True, parallel=True)
def _columns(spectra, psf, beta, tall, back, rows, columns, turns, cosines, sines, parts, out):
    batch, side = psf.shape[:2]
    strips, reach = len(columns), side // 2 + 1
    for part in prange(parts):
        x = np.empty(back.down * (back.across + 1) * COMPLEX, spectra.dtype)
        buffer = np.empty(2 * max(tall.down, tall.across) * COMPLEX, spectra.dtype)
        line = np.empty(tall.across * COMPLEX, spectra.dtype)
        across = np.empty(side * COMPLEX, spectra.dtype)
        even, odd = np.empty(reach * COMPLEX, spectra.dtype), np.empty(reach * COMPLEX, spectra.dtype)
        c = np.empty((tall.across + LONG) * COMPLEX, spectra.dtype)
        s = np.empty_like(c)
        for n in range(part * batch * strips // parts, (part + 1) * batch * strips // parts):
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
                    _turned_parts(across, plus, minus, turns, 2 * (k * reach + p), even, at, odd, at)
                for first in range(0, tall.across, LONG):
                    to = first * COMPLEX
                    product_long(cosines, first * reach, reach, even, 0, COMPLEX, LANES, c, to, COMPLEX, LANES)
                    product_long(sines, first * reach, reach, odd, 0, COMPLEX, LANES, s, to, COMPLEX, LANES)
                for j in range(tall.across):
                    at = j * COMPLEX
                    _divide_swapped(c, at, s, at, spectra, start + k * tall.across * COMPLEX + at, beta, line, at)
                first_step(line, 0, COMPLEX, k, x, back, buffer)
            for k in range(back.down):
                second_step(x, k, out, start + k * back.across * COMPLEX, back, buffer)
            out[start + tall.size * COMPLEX : start + rows * COMPLEX] = 0  # lest rows without a meaning mix with others


@njit(cache=True, parallel=True)
def _rows(spectra, tall, wide, order, into, rows, strips, parts, height, width, out):
    blocks = rows // ROWS
    count = spectra.size // (strips * rows * COMPLEX)
    pitch = (wide.across + 1) * COMPLEX
    for part in prange(parts):
        work = np.empty(wide.down * pitch, spectra.dtype)
        buffer = np.empty(2 * max(wide.down, wide.across) * COMPLEX, spectra.dtype)
        quad = np.empty(4 * LANES * LANES, spectra.dtype)
        here, starts = np.zeros(LANES, np.int64), np.empty(ROWS, np.int64)
        for n in range(part * count * blocks // parts, (part + 1) * count * blocks // parts):
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
                    _join(quad, c * LANES, work, into[v], into[(wide.size - v) % wide.size])
            for j in range(wide.across):
                first_step(work, j * COMPLEX, pitch, j, work, wide, buffer)
            for k in range(wide.down):
                second_step(work, k, work, k * pitch, wide, buffer)
            for j in range(0, width, LANES):
                if width < LANES:
                    for lane in range(LANES):
                        for c in range(width):
                            out[starts[lane] + c] = work[order[c] + LANES + lane]
                            out[starts[LANES + lane] + c] = work[order[c] + lane]
                else:
                    j = min(j, width - LANES)  # some columns twice, with the same result
                    transpose_block(work, order[j:], LANES, 0, out, starts, j, 0)
                    transpose_block(work, order[j:], 0, 0, out, starts[LANES:], j, 0)


def image_spectrum(y):
    """Spectra of blurry images for `image_quotient_numba`.

    Parameters
    ----------
    y : real array (B, gh, gw)
        Both sides `is_smooth`.

    Returns
    -------
    real array
        In an order of its own, over the number of pixels.
    """
    grid = StripGrid(y.shape[-2:], y.dtype)
    height, width = y.shape[-2:]
    down = np.full(height, 1 / (height * width), y.dtype)
    spectra = strip_spectra(y, down, np.ones(width, y.dtype), grid)
    _forward_columns(spectra, grid.tall, grid.rows, get_num_threads())
    return spectra


def image_quotient_numba(spectrum, psf, beta, grid, shape):
    """`image_quotient_reference` for the `image_spectrum` of images of size ``grid``; the same bits for any threads.

    Parameters
    ----------
    spectrum : real array
    psf : real array (B, k, k)
    beta : float
    grid, shape : (int, int)

    Returns
    -------
    real array (B, *shape)
    """
    dtype, side = psf.dtype, psf.shape[-1]
    strips = StripGrid(grid, dtype)
    tall, back = strips.tall, line_plan(grid[0], dtype.name, back=True)
    half = np.empty_like(spectrum)
    tables = _tables(tall.down, tall.across, strips.strips, grid[1], side, dtype.name)
    floor, threads = np.full(1, beta, dtype), get_num_threads()
    _columns(spectrum, np.ascontiguousarray(psf), floor, tall, back, strips.rows, *tables, threads, half)
    height, width = shape
    out = np.empty(len(psf) * height * width + width, dtype)  # the last row takes what lies below the image
    order, into = places(strips.wide)
    _rows(half, tall, strips.wide, order, into, strips.rows, strips.strips, threads, height, width, out)
    return out[: len(psf) * height * width].reshape(len(psf), height, width)
