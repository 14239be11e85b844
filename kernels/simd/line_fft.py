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
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import Complex, Memory, load_complex, splat_complex, store_complex

__all__ = ["Line", "first_step", "is_smooth", "line_plan", "places", "second_step"]

RADICES = (8, 4, 5, 3, 2)


def is_smooth(size):
    """Whether a line of that length can be transformed: no prime factor above 5, and at least two of them."""
    if size in (1, 2, 3, 5):
        return False
    for prime in (2, 3, 5):
        while size % prime == 0 and size > 1:
            size //= prime
    return size == 1


def _dft(values):
    """Discrete Fourier transform of 1, 2, 3, 4, 5 or 8 complex vectors."""
    size = len(values)
    if size == 1:
        return values
    if size % 2 == 0:
        even, odd = _dft(values[::2]), _dft(values[1::2])
        odd = [v.rotated(-i / size) for i, v in enumerate(odd)]
        return [e + o for e, o in zip(even, odd)] + [e - o for e, o in zip(even, odd)]
    first, rest = values[0], values[1:]
    half = size // 2
    sums = [rest[i] + rest[-1 - i] for i in range(half)]
    differences = [rest[i] - rest[-1 - i] for i in range(half)]
    total = first
    for s in sums:
        total = total + s
    found = [total] + [None] * (size - 1)
    for k in range(1, half + 1):
        cosines, sines = first, None
        for i in range(half):
            angle = 2 * math.pi * k * (i + 1) / size
            cosines = cosines + _scaled(sums[i], math.cos(angle))
            term = _scaled(differences[i], math.sin(angle))
            sines = term if sines is None else sines + term
        found[k] = Complex(cosines.re + sines.im, cosines.im - sines.re)
        found[size - k] = Complex(cosines.re - sines.im, cosines.im + sines.re)
    return found


def _scaled(value, factor):
    return Complex(value.re.scaled(factor), value.im.scaled(factor))


def _sum(builder, base, *products):
    """``base + Σ a · b`` of integers."""
    for a, b in products:
        base = builder.add(base, builder.mul(a, b))
    return base


def _pass(radix):
    @intrinsic
    def emitted(typing_context, source, s, step, out, o, pitch, span, stride, factors, place, turns, turn):
        def codegen(context, builder, signature, arguments):
            data, target, table, last = (
                Memory(context, builder, k, arguments[i]) for k, i in ((source, 0), (out, 3), (factors, 8), (turns, 10))
            )
            s, step, o, pitch, span, stride, place, turn = (arguments[i] for i in (1, 2, 4, 5, 6, 7, 9, 11))
            whole = functools.partial(ir.Constant, s.type)
            apart = builder.mul(builder.mul(span, stride), step)  # of a butterfly's inputs
            beside = builder.mul(stride, pitch)  # of its outputs

            def butterfly(p, q, twist):
                begin = _sum(builder, s, (_sum(builder, q, (stride, p)), step))
                end = _sum(builder, o, (_sum(builder, q, (builder.mul(stride, p), whole(radix))), pitch))
                values = [load_complex(data, _sum(builder, begin, (whole(i), apart))) for i in range(radix)]
                for i, value in enumerate(_dft(values)):
                    store_complex(target, twist(i, value), _sum(builder, end, (whole(i), beside)))

            def twisted(p, i, value):
                at = _sum(builder, place, (p, whole(2 * (radix - 1))))
                return splat_complex(table, at, 2 * (i - 1), apart=1) * value if i else value

            def turned(q, i, value):
                at = _sum(builder, turn, (_sum(builder, q, (stride, whole(i))), whole(2)))
                return splat_complex(last, at, apart=1) * value

            with builder.if_else(builder.icmp_signed(">=", turn, whole(0))) as (last_pass, inner):
                with last_pass, cgutils.for_range(builder, stride) as loop:
                    butterfly(whole(0), loop.index, functools.partial(turned, loop.index))
                with inner, cgutils.for_range(builder, span) as outer, cgutils.for_range(builder, stride) as loop:
                    butterfly(outer.index, loop.index, functools.partial(twisted, outer.index))
            return context.get_dummy_value()

        n = types.intp
        return types.void(source, n, n, out, n, n, n, n, factors, n, turns, n), codegen

    return emitted


# ``_pass…(source, s, step, out, o, pitch, span, stride, factors, place, turns, turn)``: one pass over radix · span ·
# stride vectors from ``source[s + i · step]`` to ``out[o + i · pitch]``, twisted by the factors of `_twists`; or, if
# turn ≥ 0, the last one (span = 1), after which output i is multiplied by the complex number at ``turns[turn + 2 i]``.
_pass2, _pass3, _pass4, _pass5, _pass8 = (_pass(radix) for radix in (2, 3, 4, 5, 8))


@njit(cache=True)
def _short(source, s, step, out, o, pitch, size, radices, factors, turns, turn, buffer):
    """Transform of ``size`` vectors from ``source[s + i · step]`` to ``out[o + i · pitch]``, in order.

    It may be done in place. Output i is multiplied by the complex number at ``turns[turn + 2 i]`` unless turn < 0.
    """
    length, stride, place = size, 1, 0
    come, at, apart = source, s, step
    for i in range(radices.size):
        radix = radices[i]
        span = length // radix
        go, to, beside, at_end = buffer, i % 2 * size * COMPLEX, COMPLEX, -1
        if span == 1:
            go, to, beside, at_end = out, o, pitch, turn
        if radix == 8:
            _pass8(come, at, apart, go, to, beside, span, stride, factors, place, turns, at_end)
        elif radix == 4:
            _pass4(come, at, apart, go, to, beside, span, stride, factors, place, turns, at_end)
        elif radix == 5:
            _pass5(come, at, apart, go, to, beside, span, stride, factors, place, turns, at_end)
        elif radix == 3:
            _pass3(come, at, apart, go, to, beside, span, stride, factors, place, turns, at_end)
        else:
            _pass2(come, at, apart, go, to, beside, span, stride, factors, place, turns, at_end)
        place += span * (radix - 1) * 2
        length, stride = span, stride * radix
        come, at, apart = go, to, beside


class Line(NamedTuple):
    """How lines of one length are transformed.

    Attributes
    ----------
    size, down, across : int
        n = n₁ · n₂.
    down_radices, across_radices : int array
    down_factors, across_factors : real array
        Twiddle factors within the transforms of length n₁ and n₂, pairs (cos, sin).
    turns : real array
        exp(−2πi j₂ k₁ / n) in the order (j₂, k₁), pairs.
    """

    size: int
    down: int
    across: int
    down_radices: np.ndarray
    across_radices: np.ndarray
    down_factors: np.ndarray
    across_factors: np.ndarray
    turns: np.ndarray


def _radices(size):
    found = []
    while size > 1:
        radix = next(r for r in RADICES if size % r == 0 and not (r == 8 and size % 32 == 16))
        found.append(radix)
        size //= radix
    return found


def _pairs(angle, dtype):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1).astype(dtype)


def _twists(size, radices, dtype):
    """Twiddle factors of all passes: for p = 0.., j = 1.. of a pass of length L, exp(−2πi j p / L)."""
    found = [np.zeros(0)]
    for radix in radices:
        angle = -2 * np.pi * np.outer(np.arange(size // radix), np.arange(1, radix)) / size
        found.append(_pairs(angle, np.float64))
        size //= radix
    return np.concatenate(found).astype(dtype)


@functools.lru_cache(maxsize=64)
def line_plan(size, dtype, *, back=False):
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
        *(_twists(n, r, dtype) for n, r in zip((down, across), radices)),
        _pairs(turns, dtype),
    )


def places(plan):
    """Where `second_step` leaves coefficient k, and where `first_step` takes element j from: two int arrays.

    Rows of ``across`` vectors are ``across + 1`` apart, lest a column of them hit one set of the cache. Both in reals.
    """
    k = np.arange(plan.size)
    pitch = plan.across + 1
    return (k % plan.down * pitch + k // plan.down) * COMPLEX, (k // plan.across * pitch + k % plan.across) * COMPLEX


@njit(cache=True, inline="always")
def first_step(source, s, pitch, j, data, plan, buffer):
    """One of the n₂ transforms of length n₁: of the elements j₁ n₂ + j at ``source[s + j₁ · pitch]``.

    Parameters
    ----------
    source : real array
    s, pitch, j : int
    data : real array (n₁ · (n₂ + 1) complex vectors)
        May be the source, with the places of `places`.
    plan : Line
    buffer : real array (at least 2 · max(n₁, n₂) complex vectors)
    """
    row, size, turn = (plan.across + 1) * COMPLEX, plan.down, 2 * j * plan.down
    radices, factors = plan.down_radices, plan.down_factors
    _short(source, s, pitch, data, j * COMPLEX, row, size, radices, factors, plan.turns, turn, buffer)


@njit(cache=True, inline="always")
def second_step(data, row, out, o, plan, buffer):
    """The transform of row ``row`` of what `first_step` left, to ``out[o + k₂ · COMPLEX]``: coefficients k₁ + n₁ k₂."""
    start = row * (plan.across + 1) * COMPLEX
    radices, factors = plan.across_radices, plan.across_factors
    _short(data, start, COMPLEX, out, o, COMPLEX, plan.across, radices, factors, plan.turns, -1, buffer)
