"""Fourier transforms of sixteen long lines at a time, one line per vector lane (see `vector.py`).

For the rows and columns of photographs: any length that has two or
more prime factors, none above 5. A line of n = n₁·n₂ complex vectors,
a quarter of a megabyte for n = 2048, lies in the second-level cache and is walked through twice: n₂ transforms of
length n₁ over strided elements, then n₁ transforms of length n₂ over contiguous ones, each of them within the
first-level cache (Stockham's form, radices 2, 3, 4, 5 and 8). Coefficients stay in the order in which they fall out.

There are forward transforms only: with real and imaginary parts exchanged before and after, it is the inverse one.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import types

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.simd.apart import Apart
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import dft, loop, vectorised

__all__ = ["Line", "first_step", "is_smooth", "line_plan", "places", "second_step"]

RADICES = (8, 4, 5, 3, 2)


def is_smooth(size: int) -> bool:
    """Whether a line of that length can be transformed: no prime factor above 5, and at least two of them."""
    if size in (1, 2, 3, 5):
        return False
    for prime in (2, 3, 5):
        while size % prime == 0 and size > 1:
            size //= prime
    return size == 1


def _pass(radix):
    def emit(src, src_stride: int, dst, dst_stride: int, span: int, stride: int, twiddles):
        with loop(span) as p, loop(stride) as q:
            values = [src.at((q + stride * (p + span * i)) * src_stride).pair() for i in range(radix)]
            for i, value in enumerate(dft(values, -1)):
                factor = twiddles.at(p * (2 * (radix - 1)))
                turned = factor.splat_complex(2 * (i - 1)) * value if i else value
                dst.store_pair(turned, (q + stride * (p * radix + i)) * dst_stride)

    emit.__name__ = f"pass{radix}"
    emit.__doc__ = f"""One pass of a transform: {radix} · span · stride complex vectors.

    Model::

        i = np.arange({radix})
        for p in range(span):
            t = np.array([1] + [number(twiddles, 2 * (p * {radix - 1} + k)) for k in range({radix - 1})])
            for q in range(stride):
                x = np.array([pair(src, (q + stride * (p + k * span)) * src_stride) for k in range({radix})])
                y = t[:, None] * (np.exp(-2j * np.pi * np.outer(i, i) / {radix}) @ x)
                for k in range({radix}):
                    put(dst, y[k], (q + stride * ({radix} * p + k)) * dst_stride)
    """
    return vectorised(emit)


def _last_pass(radix):
    def emit(src, src_stride: int, dst, dst_stride: int, stride: int, turns):
        with loop(stride) as q:
            values = [src.at((q + stride * i) * src_stride).pair() for i in range(radix)]
            for i, value in enumerate(dft(values, -1)):
                place = q + stride * i
                dst.store_pair(turns.splat_complex(place * 2) * value, place * dst_stride)

    emit.__name__ = f"last_pass{radix}"
    emit.__doc__ = f"""The last pass of a transform of {radix} · stride complex vectors; output k is turned by number k.

    Model::

        i = np.arange({radix})
        for q in range(stride):
            x = np.array([pair(src, (q + stride * k) * src_stride) for k in range({radix})])
            y = np.exp(-2j * np.pi * np.outer(i, i) / {radix}) @ x
            for k in range({radix}):
                put(dst, number(turns, 2 * (q + stride * k)) * y[k], (q + stride * k) * dst_stride)
    """
    return vectorised(emit)


_pass2, _pass3, _pass4, _pass5, _pass8 = (_pass(radix) for radix in (2, 3, 4, 5, 8))
_last_pass2, _last_pass3, _last_pass4, _last_pass5, _last_pass8 = (_last_pass(radix) for radix in (2, 3, 4, 5, 8))


def _short(src, s, src_stride, dst, d, dst_stride, size, radices, twiddles, turns, turn, buffer):
    """Transform of ``size`` vectors from ``src[s + i · src_stride]`` to ``dst[d + i · dst_stride]``, in order.

    It may be done in place. Output i is multiplied by the complex number at ``turns[turn + 2 i]`` unless turn < 0.
    Passes but the last one go back and forth between the halves of the buffer.
    """
    length, stride, t = size, 1, 0
    for i in range(radices.size):
        radix = radices[i]
        span = length // radix
        out, o, out_stride = buffer, i % 2 * size * COMPLEX, COMPLEX
        if span == 1:
            out, o, out_stride = dst, d, dst_stride
        if span == 1 and turn >= 0:
            if radix == 8:
                _last_pass8(src, s, src_stride, out, o, out_stride, stride, turns, turn)
            elif radix == 4:
                _last_pass4(src, s, src_stride, out, o, out_stride, stride, turns, turn)
            elif radix == 5:
                _last_pass5(src, s, src_stride, out, o, out_stride, stride, turns, turn)
            elif radix == 3:
                _last_pass3(src, s, src_stride, out, o, out_stride, stride, turns, turn)
            else:
                _last_pass2(src, s, src_stride, out, o, out_stride, stride, turns, turn)
        elif radix == 8:
            _pass8(src, s, src_stride, out, o, out_stride, span, stride, twiddles, t)
        elif radix == 4:
            _pass4(src, s, src_stride, out, o, out_stride, span, stride, twiddles, t)
        elif radix == 5:
            _pass5(src, s, src_stride, out, o, out_stride, span, stride, twiddles, t)
        elif radix == 3:
            _pass3(src, s, src_stride, out, o, out_stride, span, stride, twiddles, t)
        else:
            _pass2(src, s, src_stride, out, o, out_stride, span, stride, twiddles, t)
        t += span * (radix - 1) * 2
        length, stride = span, stride * radix
        src, s, src_stride = out, o, out_stride


def _short_kinds(real):
    reals, ints, whole = types.Array(getattr(types, real), 1, "C"), types.Array(types.intp, 1, "C"), types.intp
    return reals, whole, whole, reals, whole, whole, whole, ints, reals, reals, whole, reals


# All of the passes: some hundred kilobytes of code, which no caller shall hold a copy of.
_short_apart = Apart(_short, _short_kinds)
_call_short = _short_apart.call


class Line(NamedTuple):
    """How lines of one length are transformed.

    Attributes
    ----------
    size, down, across : int
        n = n₁ · n₂.
    down_radices, across_radices : int array
    down_twiddles, across_twiddles : real array
        Twiddle factors within the transforms of length n₁ and n₂, pairs (cos, sin).
    turns : real array
        exp(−2πi j₂ k₁ / n) in the order (j₂, k₁), pairs.
    short : int
        Address of the short transforms.
    """

    size: int
    down: int
    across: int
    down_radices: np.ndarray
    across_radices: np.ndarray
    down_twiddles: np.ndarray
    across_twiddles: np.ndarray
    turns: np.ndarray
    short: int


def _radices(size):
    found = []
    while size > 1:
        radix = next(r for r in RADICES if size % r == 0 and not (r == 8 and size % 32 == 16))
        found.append(radix)
        size //= radix
    return found


def _pairs(angle, dtype):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1).astype(dtype)


def _twiddles(size, radices, dtype):
    """Twiddle factors of all passes: for p = 0.., j = 1.. of a pass of length L, exp(−2πi j p / L)."""
    found = [np.zeros(0)]
    for radix in radices:
        angle = -2 * np.pi * np.outer(np.arange(size // radix), np.arange(1, radix)) / size
        found.append(_pairs(angle, np.float64))
        size //= radix
    return np.concatenate(found).astype(dtype)


@functools.lru_cache(maxsize=64)
def line_plan(size: int, dtype: str, *, back: bool = False) -> Line:
    """`Line` for a length for which `is_smooth` holds, dtype ``"float32"`` or ``"float64"``.

    With ``back`` n₁ and n₂ change places: coefficients in the order in which one transform left them, row by row, are
    then what the first step of the other one takes.
    """
    down = max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0)
    across = size // down
    if back:
        down, across = across, down
    radices = _radices(down), _radices(across)
    turns = -2 * np.pi * np.outer(np.arange(across), np.arange(down)) / size
    return Line(
        size,
        down,
        across,
        *(np.array(r) for r in radices),
        *(_twiddles(n, r, dtype) for n, r in zip((down, across), radices)),
        _pairs(turns, dtype),
        _short_apart.address(dtype),
    )


def places(plan: Line) -> tuple[np.ndarray, np.ndarray]:
    """Where `second_step` leaves coefficient k, and where `first_step` takes element j from: two int arrays.

    Rows of ``across`` vectors are ``across + 1`` apart, lest a column of them hit one set of the cache. Both in reals.
    """
    k = np.arange(plan.size)
    pitch = plan.across + 1
    return (k % plan.down * pitch + k // plan.down) * COMPLEX, (k // plan.across * pitch + k % plan.across) * COMPLEX


@compiled(inline="always")
def first_step(src, s, stride, j, dst, plan, buffer):
    """One of the n₂ transforms of length n₁: of the elements j₁ n₂ + j at ``src[s + j₁ · stride]``.

    Parameters
    ----------
    src : real array
    s, stride, j : int
    dst : real array (n₁ · (n₂ + 1) complex vectors)
        May be the source, with the places of `places`.
    plan : Line
    buffer : real array (at least 2 · max(n₁, n₂) complex vectors)
    """
    row, turn = (plan.across + 1) * COMPLEX, 2 * j * plan.down
    how = plan.down, plan.down_radices, plan.down_twiddles, plan.turns, turn
    _call_short(plan.short, src, s, stride, dst, j * COMPLEX, row, *how, buffer)


@compiled(inline="always")
def second_step(src, row, dst, d, plan, buffer):
    """The transform of row ``row`` of what `first_step` left, to ``dst[d + k₂ · COMPLEX]``: coefficients k₁ + n₁ k₂."""
    start = row * (plan.across + 1) * COMPLEX
    how = plan.across, plan.across_radices, plan.across_twiddles, plan.turns, -1
    _call_short(plan.short, src, start, COMPLEX, dst, d, COMPLEX, *how, buffer)
