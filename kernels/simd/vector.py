"""Vectors of 16 numbers inside numba functions, and code generators that compute with them.

Numba's own loops leave it to the compiler to find vectors. Where sixteen independent things (filters, tiles) undergo
the same computation, the functions here load, combine and store sixteen of them at once, one register each with
AVX-512, two with AVX2, four elsewhere: the compiler splits them for the processor at hand. Each function is emitted
by a few lines of Python that read like the formula.
"""

from __future__ import annotations

import cmath

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "Complex",
    "Memory",
    "Vector",
    "butterfly",
    "copy_pair",
    "copy_pair_plus",
    "load_complex",
    "mix",
    "multiply_add",
    "multiply_conj_add",
    "rational_tanh",
    "splat_complex",
    "store_complex",
    "sum_of_products",
]

#: Numbers in a vector.
LANES = 16
_CONTRACT = ("contract",)  # a product and a sum may become one fused operation: the same one every time


class Vector:
    """A value of the code that is being generated, with arithmetic."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def __add__(self, other):
        return Vector(self.builder, self.builder.fadd(self.value, other.value, flags=_CONTRACT))

    def __sub__(self, other):
        return Vector(self.builder, self.builder.fsub(self.value, other.value, flags=_CONTRACT))

    def __mul__(self, other):
        return Vector(self.builder, self.builder.fmul(self.value, other.value, flags=_CONTRACT))

    def __truediv__(self, other):
        return Vector(self.builder, self.builder.fdiv(self.value, other.value))

    def constant(self, number):
        """The number in all lanes."""
        return Vector(self.builder, ir.Constant(self.value.type, [number] * LANES))

    def scaled(self, factor):
        """Times a constant."""
        return self * self.constant(factor)

    def clamped(self, bound):
        """Between ``-bound`` and ``bound``; what is not a number stays so."""
        value = self
        for limit, beyond in ((bound, ">"), (-bound, "<")):
            edge = self.constant(limit).value
            outside = self.builder.fcmp_ordered(beyond, value.value, edge)
            value = Vector(self.builder, self.builder.select(outside, edge, value.value))
        return value


class Memory:
    """A flat array of the caller, read and written in vectors."""

    def __init__(self, context, builder, kind, array):
        self.builder = builder
        self.real = ir.DoubleType() if kind.dtype == types.float64 else ir.FloatType()
        self.vector = ir.VectorType(self.real, LANES)
        self.itemsize = 8 if kind.dtype == types.float64 else 4
        self.data = context.make_array(kind)(context, builder, array).data

    def _place(self, start, offset, kind):
        index = self.builder.add(start, ir.Constant(start.type, offset)) if offset else start
        return self.builder.bitcast(self.builder.gep(self.data, [index]), kind.as_pointer())

    def load(self, start, offset=0):
        """Vector at ``start + offset``."""
        loaded = self.builder.load(self._place(start, offset, self.vector))
        loaded.align = self.itemsize
        return Vector(self.builder, loaded)

    def splat(self, start, offset=0):
        """The single number at ``start + offset`` in all lanes."""
        number = self.builder.load(self._place(start, offset, self.real))
        first = ir.Constant(ir.IntType(32), 0)
        single = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, first)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return Vector(self.builder, self.builder.shuffle_vector(single, single, zeros))

    def store(self, vector, start, offset=0):
        stored = self.builder.store(vector.value, self._place(start, offset, self.vector))
        stored.align = self.itemsize


class Complex:
    """Real and imaginary vectors."""

    def __init__(self, re, im):
        self.re, self.im = re, im

    def __add__(self, other):
        return Complex(self.re + other.re, self.im + other.im)

    def __sub__(self, other):
        return Complex(self.re - other.re, self.im - other.im)

    def __mul__(self, other):
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def conj_times(self, other):
        """``conj(self) · other``."""
        return Complex(self.re * other.re + self.im * other.im, self.re * other.im - self.im * other.re)

    def rotated(self, turn):
        """Times the constant exp(2πi · turn); quarter and eighth turns cost less than a product."""
        quarter = turn * 4 % 4
        if quarter == 0:
            return self
        if quarter == 2:
            return Complex(self.re.scaled(-1.0), self.im.scaled(-1.0))
        if quarter in (1, 3):
            sign = 1.0 if quarter == 1 else -1.0
            return Complex(self.im.scaled(-sign), self.re.scaled(sign))
        factor = cmath.exp(2j * cmath.pi * turn)
        if abs(abs(factor.real) - abs(factor.imag)) < 1e-12:
            re = self.re.scaled(factor.real / abs(factor.real)) - self.im.scaled(factor.imag / abs(factor.imag))
            im = self.re.scaled(factor.imag / abs(factor.imag)) + self.im.scaled(factor.real / abs(factor.real))
            return Complex(re.scaled(abs(factor.real)), im.scaled(abs(factor.real)))
        return Complex(
            self.re.scaled(factor.real) - self.im.scaled(factor.imag),
            self.re.scaled(factor.imag) + self.im.scaled(factor.real),
        )


def load_complex(memory, start, offset=0):
    """Sixteen complex numbers: their real parts, and their imaginary parts behind them."""
    return Complex(memory.load(start, offset), memory.load(start, offset + LANES))


def splat_complex(memory, start, offset=0, apart=LANES):
    """One complex number in all lanes, its imaginary part ``apart`` behind the real one."""
    return Complex(memory.splat(start, offset), memory.splat(start, offset + apart))


def store_complex(memory, value, start, offset=0):
    """Inverse of `load_complex`."""
    memory.store(value.re, start, offset)
    memory.store(value.im, start, offset + LANES)


def _dft(values, sign):
    """Discrete Fourier transform of 1, 2, 4 or 8 values, decimated in time."""
    if len(values) == 1:
        return values
    even, odd = _dft(values[::2], sign), _dft(values[1::2], sign)
    odd = [v.rotated(sign * i / len(values)) for i, v in enumerate(odd)]
    return [e + o for e, o in zip(even, odd)] + [e - o for e, o in zip(even, odd)]


def _butterfly(radix, inverse, twisted):
    @intrinsic
    def emitted(typing_context, data, start, step, factors, place):
        def codegen(context, builder, signature, arguments):
            line = Memory(context, builder, data, arguments[0])
            table = Memory(context, builder, factors, arguments[3])
            begin, stride, at = arguments[1], arguments[2], arguments[4]
            places = [begin]
            for _ in range(radix - 1):
                places.append(builder.add(places[-1], stride))
            values = [load_complex(line, p) for p in places]
            turns = [None] + [splat_complex(table, at, 2 * i, apart=1) if twisted else None for i in range(radix - 1)]
            if inverse:
                values = [v if t is None else t.conj_times(v) for v, t in zip(values, turns)]
            values = _dft(values, 1 if inverse else -1)
            if not inverse:
                values = [v if t is None else t * v for v, t in zip(values, turns)]
            for value, p in zip(values, places):
                store_complex(line, value, p)
            return context.get_dummy_value()

        integers = (types.intp,) * 2
        return types.void(data, *integers, factors, types.intp), codegen

    return emitted


#: ``butterfly[radix, inverse, twisted](data, start, step, factors, place)``: a DFT of ``radix`` complex vectors at
#: ``data[start + i · step]``, in place; forward ones are multiplied by ``factors`` afterwards, inverse ones by their
#: conjugates before. Factors are pairs from ``factors[place]`` on, for all values but the first.
butterfly = {
    (radix, inverse, twisted): _butterfly(radix, inverse, twisted)
    for radix in (4, 8)
    for inverse in (False, True)
    for twisted in (False, True)
}


@intrinsic
def copy_pair(typing_context, source, s, out, o):
    """``out[o] = source[s]``, two vectors."""

    def codegen(context, builder, signature, arguments):
        a, c = (Memory(context, builder, k, x) for k, x in zip((source, out), arguments[::2]))
        store_complex(c, load_complex(a, arguments[1]), arguments[3])
        return context.get_dummy_value()

    return types.void(source, types.intp, out, types.intp), codegen


@intrinsic
def copy_pair_plus(typing_context, source, s, more, m, out, o):
    """``out[o] = source[s] + more[m]``, two vectors."""

    def codegen(context, builder, signature, arguments):
        a, b, c = (Memory(context, builder, k, x) for k, x in zip((source, more, out), arguments[::2]))
        s, m, o = arguments[1::2]
        store_complex(c, load_complex(a, s) + load_complex(b, m), o)
        return context.get_dummy_value()

    return types.void(source, types.intp, more, types.intp, out, types.intp), codegen


def _multiply_add(conjugate):
    @intrinsic
    def emitted(typing_context, scalars, s, vectors, v, out, o):
        def codegen(context, builder, signature, arguments):
            a, b, c = (Memory(context, builder, k, x) for k, x in zip((scalars, vectors, out), arguments[::2]))
            s, v, o = arguments[1::2]
            factor, vector = splat_complex(a, s), load_complex(b, v)
            product = factor.conj_times(vector) if conjugate else factor * vector
            store_complex(c, load_complex(c, o) + product, o)
            return context.get_dummy_value()

        return types.void(scalars, types.intp, vectors, types.intp, out, types.intp), codegen

    return emitted


#: ``multiply_add(scalars, s, vectors, v, out, o)``: ``out[o] += scalars[s] · vectors[v]``, one lane ``s`` of a complex
#: vector times a complex vector; `multiply_conj_add` takes the conjugate of that lane.
multiply_add, multiply_conj_add = _multiply_add(False), _multiply_add(True)


@intrinsic
def sum_of_products(typing_context, first, f, second, s, out, o):
    """``out[o] = Σ conj(first[f]) · second[s]`` over the lanes of two complex vectors; into one lane, ``o``."""

    def codegen(context, builder, signature, arguments):
        a, b, c = (Memory(context, builder, k, x) for k, x in zip((first, second, out), arguments[::2]))
        f, s, o = arguments[1::2]
        product = load_complex(a, f).conj_times(load_complex(b, s))
        for i, part in enumerate((product.re, product.im)):
            total, width = part.value, LANES
            while width > 1:  # halves are added until one number is left: the same order on every processor
                width //= 2
                low, high = ([ir.Constant(ir.IntType(32), n) for n in range(p, p + width)] for p in (0, width))
                mask = ir.VectorType(ir.IntType(32), width)
                halves = [
                    builder.shuffle_vector(total, total, ir.Constant(mask, [n.constant for n in half]))
                    for half in (low, high)
                ]
                total = builder.fadd(*halves)
            number = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
            builder.store(number, builder.gep(c.data, [builder.add(o, ir.Constant(o.type, LANES * i))]))
        return context.get_dummy_value()

    return types.void(first, types.intp, second, types.intp, out, types.intp), codegen


#: tanh(x) ≈ x P(x²) / Q(x²) up to |x| = 7.905, where float32 has reached one (fitted by a Remez exchange, error 3e-7).
_TANH_BOUND = 7.90531110763549805
_TANH_P = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


@intrinsic
def rational_tanh(typing_context, data, start):
    """Hyperbolic tangent of the vector at ``data[start]``, in place, as exact as float32 is (to 3e-7)."""

    def codegen(context, builder, signature, arguments):
        memory = Memory(context, builder, data, arguments[0])
        x = memory.load(arguments[1]).clamped(_TANH_BOUND)
        square = x * x
        sums = []
        for first, *others in (_TANH_P, _TANH_Q):
            total = x.constant(first)
            for coefficient in others:
                total = total * square + x.constant(coefficient)
            sums.append(total)
        memory.store(x * sums[0] / sums[1], arguments[1])
        return context.get_dummy_value()

    return types.void(data, types.intp), codegen


def _mix(pixels, vectors, inputs=2 * LANES):
    @intrinsic
    def emitted(typing_context, source, s, weights, w, bias, b, out, o):
        def codegen(context, builder, signature, arguments):
            kinds = (source, weights, bias, out)
            a, m, c, y = (Memory(context, builder, k, x) for k, x in zip(kinds, arguments[::2]))
            s, w, b, o = arguments[1::2]
            sums = [[c.load(b, LANES * v) for v in range(vectors)] for _ in range(pixels)]
            for i in range(inputs):
                column = [m.load(w, LANES * (vectors * i + v)) for v in range(vectors)]
                for p in range(pixels):
                    value = a.splat(s, inputs * p + i)
                    sums[p] = [total + value * weight for total, weight in zip(sums[p], column)]
            for p in range(pixels):
                for v in range(vectors):
                    y.store(sums[p][v], o, LANES * (vectors * p + v))
            return context.get_dummy_value()

        pairs = [t for kind in (source, weights, bias, out) for t in (kind, types.intp)]
        return types.void(*pairs), codegen

    return emitted


#: ``mix[pixels, vectors](source, s, weights, w, bias, b, out, o)``: 32 numbers of each of ``pixels`` pixels at
#: ``source[s]`` become ``16 · vectors`` numbers each at ``out[o]``: bias plus weights (32, 16 · vectors) times them.
mix = {(8, 2): _mix(8, 2), (8, 1): _mix(8, 1)}
