"""Arithmetic on pairs of vectors of sixteen lanes in numba functions: products with tables, sums, transposes.

The building blocks of `deconvnet.kernels.simd.pruned_dft`. A pair, of `PAIR` reals, holds the real and imaginary parts
of sixteen complex numbers, or sixteen columns of two rows of pixels. Arguments come in twos: a flat array and the place
of the first number in it.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deconvnet.kernels.simd.vector import LANES, Complex, Memory, Vector, load_complex, store_complex

__all__ = [
    "LONG",
    "PAIR",
    "SHORT",
    "add_quotient",
    "fold",
    "multiply_pairs",
    "multiply_scalar",
    "product_long",
    "product_short",
    "rejoin",
    "transpose_block",
    "unfold",
]

#: Reals of one pair of vectors.
PAIR = 2 * LANES
#: Outputs that the two products sum up in registers at a time; AVX-512 has 32 registers of a vector each.
LONG, SHORT = (11, 9) if llvmlite.binding.get_host_cpu_features().get("avx512f") else (3, 3)


def _product(outputs):
    @intrinsic
    def emitted(typing_context, table, t, count, source, s, step, near, out, o, pitch, apart):
        def codegen(context, builder, signature, arguments):
            kinds = (table, source, out)
            factors, data, target = (Memory(context, builder, k, arguments[i]) for k, i in zip(kinds, (0, 3, 7)))
            at, length, begin, stride, second, first, down, across = (arguments[i] for i in (1, 2, 4, 5, 6, 8, 9, 10))
            # LLVM keeps these in registers.
            sums = [[cgutils.alloca_once(builder, data.vector) for _ in range(2)] for _ in range(outputs)]
            for place in (place for pair in sums for place in pair):
                builder.store(ir.Constant(data.vector, [0.0] * LANES), place)
            with cgutils.for_range(builder, length) as loop:
                where = builder.add(begin, builder.mul(loop.index, stride))
                row = builder.add(at, builder.mul(loop.index, ir.Constant(loop.index.type, outputs)))
                pair = [data.load(where), data.load(builder.add(where, second))]
                for r in range(outputs):
                    factor = factors.splat(row, r)
                    for place, value in zip(sums[r], pair):
                        builder.store((Vector(builder, builder.load(place)) + factor * value).value, place)
            for r in range(outputs):
                start = builder.add(first, builder.mul(down, ir.Constant(down.type, r)))
                target.store(Vector(builder, builder.load(sums[r][0])), start)
                target.store(Vector(builder, builder.load(sums[r][1])), builder.add(start, across))
            return context.get_dummy_value()

        n = types.intp
        return types.void(table, n, n, source, n, n, n, out, n, n, n), codegen

    return emitted


#: ``product_long(table, t, count, source, s, step, near, out, o, pitch, apart)`` for r < LONG:
#: ``out[o + r·pitch + {0, apart}] = Σ_j<count table[t + j·LONG + r] · source[s + j·step + {0, near}]``.
product_long = _product(LONG)
#: The same for SHORT outputs.
product_short = _product(SHORT)


def _memories(context, builder, kinds, arguments):
    return [Memory(context, builder, kind, array) for kind, array in zip(kinds, arguments[::2])], arguments[1::2]


@intrinsic
def fold(typing_context, line, p, mirror, q, even, e, odd, o, weights, w, mean, m):
    """Weighted sum and difference of two pairs; twice the mean is taken off the sum."""
    kinds = (line, mirror, even, odd, weights, mean)

    def codegen(context, builder, signature, arguments):
        (a, b, same, other, factors, offset), (p, q, e, o, w, m) = _memories(context, builder, kinds, arguments)
        twice = offset.load(m).scaled(2.0)
        for v in range(2):
            factor = factors.splat(w, v)
            left, right = a.load(p, v * LANES), b.load(q, v * LANES)
            same.store((left + right - twice) * factor, e, v * LANES)
            other.store((left - right) * factor, o, v * LANES)
        return context.get_dummy_value()

    return types.void(*(t for kind in kinds for t in (kind, types.intp))), codegen


def _on_pairs(body):
    """Intrinsic of four (array, place) arguments that computes with pairs in straight-line code."""

    @intrinsic
    def emitted(typing_context, a, i, b, j, c, k, d, m):
        kinds = (a, b, c, d)

        def codegen(context, builder, signature, arguments):
            memories, places = _memories(context, builder, kinds, arguments)
            body(*(part for both in zip(memories, places) for part in both))
            return context.get_dummy_value()

        return types.void(*(t for kind in kinds for t in (kind, types.intp))), codegen

    return emitted


@_on_pairs
def rejoin(cosines, c, sines, s, plus, p, minus, m):
    """``plus = C + iS``, ``minus = C − iS``."""
    even, odd = load_complex(cosines, c), load_complex(sines, s)
    store_complex(plus, Complex(even.re - odd.im, even.im + odd.re), p)
    store_complex(minus, Complex(even.re + odd.im, even.im - odd.re), m)


@_on_pairs
def unfold(even, e, odd, o, plus, p, minus, m):
    """``plus = even − odd``, ``minus = even + odd``, each vector of a pair for itself."""
    same, other = load_complex(even, e), load_complex(odd, o)
    store_complex(plus, same - other, p)
    store_complex(minus, same + other, m)


@_on_pairs
def add_quotient(otf, k, frame, y, numerator, n, denominator, d):
    """``numerator += conj(otf) · frame`` and ``denominator += |otf|²`` (one vector) at one frequency."""
    transfer, spectrum = load_complex(otf, k), load_complex(frame, y)
    store_complex(numerator, load_complex(numerator, n) + transfer.conj_times(spectrum), n)
    power = transfer.re * transfer.re + transfer.im * transfer.im
    denominator.store(denominator.load(d) + power, d)


@intrinsic
def multiply_pairs(typing_context, a, i, b, j, out, o):
    """``out = a · b``, complex."""
    kinds = (a, b, out)

    def codegen(context, builder, signature, arguments):
        (first, second, product), (i, j, o) = _memories(context, builder, kinds, arguments)
        store_complex(product, load_complex(first, i) * load_complex(second, j), o)
        return context.get_dummy_value()

    return types.void(*(t for kind in kinds for t in (kind, types.intp))), codegen


@intrinsic
def multiply_scalar(typing_context, scalars, i, b, j, out, o):
    """``out = scalars[i : i + 2] · b``: a complex number times a pair."""
    kinds = (scalars, b, out)

    def codegen(context, builder, signature, arguments):
        (numbers, pair, product), (i, j, o) = _memories(context, builder, kinds, arguments)
        number = Complex(numbers.splat(i), numbers.splat(i, 1))
        store_complex(product, number * load_complex(pair, j), o)
        return context.get_dummy_value()

    return types.void(*(t for kind in kinds for t in (kind, types.intp))), codegen


def _transposed(builder, vectors):
    """The 16 × 16 numbers of 16 vectors, transposed by exchanging ever smaller blocks."""
    width = LANES // 2
    while width:
        low = [i if i & width == 0 else i - width + LANES for i in range(LANES)]
        high = [i + width if i & width == 0 else i + LANES for i in range(LANES)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), LANES), mask) for mask in (low, high)]
        result = list(vectors)
        for i in range(LANES):
            if i & width == 0:
                a, b = vectors[i], vectors[i + width]
                result[i], result[i + width] = (builder.shuffle_vector(a, b, mask) for mask in masks)
        vectors, width = result, width // 2
    return vectors


@intrinsic
def transpose_block(typing_context, source, starts, s, pitch, out, places, o, spacing):
    """16 vectors at ``source[starts[l] + s + l·pitch]`` become the columns at ``out[places[j] + o + j·spacing]``."""

    def codegen(context, builder, signature, arguments):
        data, target = (Memory(context, builder, k, arguments[i]) for k, i in ((source, 0), (out, 4)))
        origin, goal = (
            context.make_array(k)(context, builder, arguments[i]).data for k, i in ((starts, 1), (places, 5))
        )
        s, pitch, o, spacing = (arguments[i] for i in (2, 3, 6, 7))

        def place(table, base, step, i):
            first = builder.load(builder.gep(table, [ir.Constant(base.type, i)]))
            return builder.add(builder.add(first, base), builder.mul(step, ir.Constant(base.type, i)))

        vectors = [data.load(place(origin, s, pitch, i)).value for i in range(LANES)]
        for i, vector in enumerate(_transposed(builder, vectors)):
            target.store(Vector(builder, vector), place(goal, o, spacing, i))
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, starts, n, n, out, places, n, n), codegen
