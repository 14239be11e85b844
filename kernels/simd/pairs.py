"""Arithmetic on pairs of vectors of sixteen lanes, as intrinsics: products with tables, sums, quotients, transposes.

A pair, of `PAIR` numbers, holds the real and imaginary parts of sixteen complex numbers, or sixteen columns of two rows
of pixels. How to read an intrinsic, see `deconvnet.kernels.simd.vector`.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils

from deconvnet.kernels.simd.vector import LANES, Complex, Flat, Indices, Vector, loop, vectorised

__all__ = [
    "LONG",
    "PAIR",
    "SHORT",
    "add_quotient",
    "add_turned",
    "correlate",
    "divide",
    "divide_swapped",
    "fold",
    "join",
    "multiply_pairs",
    "multiply_scalar",
    "product_long",
    "product_short",
    "rejoin",
    "separate",
    "transpose_block",
    "turned_parts",
    "unfold",
    "weighted_pair",
]

#: Numbers of one pair of vectors.
PAIR = 2 * LANES
#: Outputs that the two products sum up in registers at a time; AVX-512 has 32 registers of a vector each.
LONG, SHORT = (11, 9) if llvmlite.binding.get_host_cpu_features().get("avx512f") else (3, 3)


def _product(outputs, name):
    def emit(table, count: int, src, stride: int, src_second: int, dst, pitch: int, dst_second: int):
        builder, zeros = src.builder, ir.Constant(src.vector, [0.0] * LANES)
        # LLVM keeps these in registers.
        sums = [[cgutils.alloca_once(builder, src.vector) for _ in range(2)] for _ in range(outputs)]
        for place in (place for both in sums for place in both):
            builder.store(zeros, place)
        with loop(count) as j:
            both = src.load(j * stride), src.load(j * stride + src_second)
            for r in range(outputs):
                factor = table.splat(j * outputs + r)
                for place, value in zip(sums[r], both):
                    builder.store((Vector(builder, builder.load(place)) + factor * value).value, place)
        for r in range(outputs):
            dst.store(Vector(builder, builder.load(sums[r][0])), pitch * r)
            dst.store(Vector(builder, builder.load(sums[r][1])), pitch * r + dst_second)

    emit.__name__ = name
    emit.__doc__ = f"""Product of a table (count, {outputs}) with pairs. The second vector of a pair lies
    ``src_second`` behind the first one, that of a result ``dst_second``.

    Model::

        for r in range({outputs}):
            for here, there in ((0, 0), (src_second, dst_second)):
                total = sum(table[{outputs} * j + r] * vector(src, j * stride + here) for j in range(count))
                put(dst, total, r * pitch + there)
    """
    return vectorised(emit)


#: ``product_long(table, t, count, src, s, stride, src_second, dst, d, pitch, dst_second)``; the other for few outputs.
product_long, product_short = _product(LONG, "product_long"), _product(SHORT, "product_short")


@vectorised
def fold(line, mirror, even, odd, weights, mean):
    """Weighted sum and difference of two pairs; twice the mean is taken off the sum.

    Model::

        for v in range(2):
            a, b, w = vector(line, 16 * v), vector(mirror, 16 * v), weights[v]
            put(even, (a + b - 2 * vector(mean)) * w, 16 * v)
            put(odd, (a - b) * w, 16 * v)
    """
    twice = mean.load().scaled(2.0)
    for v in range(2):
        factor = weights.splat(v)
        left, right = line.load(v * LANES), mirror.load(v * LANES)
        even.store((left + right - twice) * factor, v * LANES)
        odd.store((left - right) * factor, v * LANES)


@vectorised
def rejoin(cosines, sines, plus, minus):
    """Coefficients z and −z from the products of a line with cosines and with sines.

    Model::

        put(plus, pair(cosines) + 1j * pair(sines))
        put(minus, pair(cosines) - 1j * pair(sines))
    """
    even, odd = cosines.pair(), sines.pair()
    plus.store_pair(Complex(even.re - odd.im, even.im + odd.re))
    minus.store_pair(Complex(even.re + odd.im, even.im - odd.re))


@vectorised
def unfold(even, odd, plus, minus):
    """Pixels ``middle ± j`` of two rows from their even and odd parts.

    Model::

        put(plus, pair(even) - pair(odd))
        put(minus, pair(even) + pair(odd))
    """
    same, other = even.pair(), odd.pair()
    plus.store_pair(same - other)
    minus.store_pair(same + other)


@vectorised
def add_quotient(otf, frame, numerator, denominator):
    """One frame's terms of the quotient at one frequency; the denominator is one vector.

    Model::

        put(numerator, pair(numerator) + pair(otf).conj() * pair(frame))
        put(denominator, vector(denominator) + abs(pair(otf)) ** 2)
    """
    transfer = otf.pair()
    numerator.store_pair(numerator.pair() + transfer.conj_times(frame.pair()))
    denominator.store(denominator.load() + transfer.power())


@vectorised
def correlate(sharp, blurry, other_sharp, other_blurry, dst):
    """Sum of the cross spectra of two pairs of images at one frequency.

    Model::

        put(dst, pair(sharp).conj() * pair(blurry) + pair(other_sharp).conj() * pair(other_blurry))
    """
    dst.store_pair(sharp.pair().conj_times(blurry.pair()) + other_sharp.pair().conj_times(other_blurry.pair()))


@vectorised
def multiply_pairs(first, second, dst):
    """Product of complex numbers.

    Model::

        put(dst, pair(first) * pair(second))
    """
    dst.store_pair(first.pair() * second.pair())


@vectorised
def multiply_scalar(scalars, src, dst):
    """A complex number times sixteen.

    Model::

        put(dst, number(scalars) * pair(src))
    """
    dst.store_pair(scalars.splat_complex() * src.pair())


@vectorised
def divide(numerator, denominator, dst):
    """Complex numbers over real ones.

    Model::

        put(dst, pair(numerator) / vector(denominator))
    """
    value, divisor = numerator.pair(), denominator.load()
    dst.store_pair(Complex(value.re / divisor, value.im / divisor))


@vectorised
def divide_swapped(cosines, sines, image, beta, dst):
    """Regularised quotient by a transfer function h, its real and imaginary parts exchanged.

    Model::

        h = pair(cosines) - 1j * pair(sines)
        x = h.conj() * pair(image) / (abs(h) ** 2 + beta[0])
        put(dst, x.imag + 1j * x.real)
    """
    even, odd = cosines.pair(), sines.pair()
    otf = Complex(even.re + odd.im, even.im - odd.re)
    power = otf.power() + beta.splat()
    value = otf.conj_times(image.pair())
    dst.store_pair(Complex(value.im / power, value.re / power))


@vectorised
def add_turned(cosines, sines, turns, dst, plus: int, minus: int):
    """Add two conjugate coefficients, turned by a twiddle factor, to the pixels ``plus`` and ``minus``.

    Model::

        w, c, s = number(turns), pair(cosines), pair(sines)
        put(dst, pair(dst, plus) + w * (c + 1j * s), plus)
        put(dst, pair(dst, minus) + w.conj() * (c - 1j * s), minus)
    """
    even, odd, turn = cosines.pair(), sines.pair(), turns.splat_complex()
    up, down = Complex(even.re - odd.im, even.im + odd.re), Complex(even.re + odd.im, even.im - odd.re)
    dst.store_pair(dst.pair(plus) + turn * up, plus)
    dst.store_pair(dst.pair(minus) + turn.conj_times(down), minus)


@vectorised
def turned_parts(line, plus: int, minus: int, turns, even, odd):
    """Sum and difference of two pixels that are turned by a twiddle factor and by its conjugate.

    Model::

        w = number(turns)
        a, b = w * pair(line, plus), w.conj() * pair(line, minus)
        put(even, a + b)
        put(odd, a - b)
    """
    turn = turns.splat_complex()
    up, down = turn * line.pair(plus), turn.conj_times(line.pair(minus))
    even.store_pair(up + down)
    odd.store_pair(up - down)


@vectorised
def weighted_pair(src, factors, weights, dst):
    """Two vectors times a number times two vectors.

    Model::

        dst[:32] = src[:32] * factors[0] * weights[:32]
    """
    factor, both, weight = factors.splat(), src.pair(), weights.pair()
    dst.store_pair(Complex(both.re * (factor * weight.re), both.im * (factor * weight.im)))


@vectorised
def separate(data, plus: int, minus: int, quad):
    """Twice the coefficients v of two real lines a and b, from those of a + ib at v and −v; four vectors 16² apart.

    Model::

        here, mirror = pair(data, plus), pair(data, minus)
        a, b = here + mirror.conj(), (here - mirror.conj()) / 1j
        for i, part in enumerate((a.real, a.imag, b.real, b.imag)):
            put(quad, part, i * 256)
    """
    here, mirror = data.pair(plus), data.pair(minus)
    parts = here.re + mirror.re, here.im - mirror.im, here.im + mirror.im, mirror.re - here.re
    for i, part in enumerate(parts):
        quad.store(part, i * LANES * LANES)


@vectorised
def join(quad, dst, plus: int, minus: int):
    """Coefficients v and −v of a + ib, parts exchanged, from the coefficients v of two real lines a and b.

    Model::

        a_im, a_re, b_im, b_re = (vector(quad, i * 256) for i in range(4))
        a, b = a_re + 1j * a_im, b_re + 1j * b_im
        for z, place in ((a + 1j * b, plus), (a.conj() + 1j * b.conj(), minus)):
            put(dst, z.imag + 1j * z.real, place)
    """
    a_im, a_re, b_im, b_re = (quad.load(i * LANES * LANES) for i in range(4))
    dst.store_pair(Complex(a_im + b_re, a_re - b_im), plus)
    dst.store_pair(Complex(b_re - a_im, a_re + b_im), minus)


def _transposed(vectors: list[Vector]) -> list[Vector]:
    """The 16 × 16 numbers of 16 vectors, transposed by exchanging ever smaller blocks."""
    width = LANES // 2
    while width:
        low = [i if i & width == 0 else i - width + LANES for i in range(LANES)]
        high = [i + width if i & width == 0 else i + LANES for i in range(LANES)]
        result = list(vectors)
        for i in range(LANES):
            if i & width == 0:
                a, b = vectors[i], vectors[i + width]
                result[i], result[i + width] = a.shuffled(b, low), a.shuffled(b, high)
        vectors, width = result, width // 2
    return vectors


@vectorised
def transpose_block(
    src: Flat, starts: Indices, offset: int, pitch: int, dst: Flat, places: Indices, to: int, spacing: int
):
    """Sixteen vectors become sixteen columns.

    Model::

        rows = np.array([vector(src, starts[i] + offset + i * pitch) for i in range(16)])
        for i in range(16):
            put(dst, rows[:, i], places[i] + to + i * spacing)
    """
    rows = [src.load(starts.whole(i) + offset + pitch * i) for i in range(LANES)]
    for i, column in enumerate(_transposed(rows)):
        dst.store(column, places.whole(i) + to + spacing * i)
