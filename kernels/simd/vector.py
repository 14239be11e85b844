"""Vectors of 16 numbers inside compiled functions, and the decorator that makes intrinsics which compute with them.

Numba's own loops leave it to the compiler to find vectors. Where sixteen independent things (filters, tiles, patches)
undergo the same computation, *intrinsics* load, combine and store sixteen of them at once, one register each with
AVX-512, two with AVX2, four elsewhere: the compiler splits them for the processor at hand.

An intrinsic is a few lines of Python that read like the formula. They run once, while the function that calls the
intrinsic is compiled, and emit its code. What it does is defined by the plain NumPy under *Model* in its docstring,
which the tests execute beside it; ``kernels/README.md`` tells how to read both.
"""

from __future__ import annotations

import cmath
import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "INTRINSICS",
    "LANES",
    "Complex",
    "Flat",
    "Indices",
    "Place",
    "Vector",
    "Whole",
    "butterfly",
    "copy_pair",
    "copy_pair_plus",
    "dft",
    "loop",
    "mix",
    "multiply_add",
    "multiply_conj_add",
    "rational_tanh",
    "sum_of_products",
    "vectorised",
]

#: Numbers in a vector.
LANES = 16
_CONTRACT = ("contract",)  # a product and a sum may become one fused operation: the same one every time
_INDEX = ir.IntType(32)

#: Annotations of an intrinsic's parameters: an array without an offset, and an array of whole numbers, one per lane.
Flat: TypeAlias = Any
Indices: TypeAlias = Any


class Vector:
    """Sixteen numbers of the code that is being emitted, with arithmetic."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, other.value, flags=_CONTRACT))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, other.value, flags=_CONTRACT))

    def __mul__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, other.value, flags=_CONTRACT))

    def __truediv__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fdiv(self.value, other.value))

    def constant(self, number: float) -> Vector:
        """The number in all lanes."""
        return Vector(self.builder, ir.Constant(self.value.type, [number] * LANES))

    def scaled(self, factor: float) -> Vector:
        """Times a constant."""
        return self * self.constant(factor)

    def clamped(self, bound: float) -> Vector:
        """Between ``-bound`` and ``bound``; what is not a number stays so."""
        value = self
        for limit, beyond in ((bound, ">"), (-bound, "<")):
            edge = self.constant(limit).value
            outside = self.builder.fcmp_ordered(beyond, value.value, edge)
            value = Vector(self.builder, self.builder.select(outside, edge, value.value))
        return value

    def shuffled(self, other: Vector, lanes: list[int]) -> Vector:
        """The numbers at these places of the 32 (here fewer, if `lanes` is shorter) of both vectors."""
        mask = ir.Constant(ir.VectorType(_INDEX, len(lanes)), lanes)
        return Vector(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def total(self) -> ir.Value:
        """Sum over the lanes; halves are added until one number is left: the same order on every processor."""
        total, width = self, LANES
        while width > 1:
            width //= 2
            low, high = list(range(width)), list(range(width, 2 * width))
            total = Vector(
                self.builder, self.builder.fadd(total.shuffled(total, low).value, total.shuffled(total, high).value)
            )
        return self.builder.extract_element(total.value, ir.Constant(_INDEX, 0))


class Complex:
    """Sixteen complex numbers: a vector of real and one of imaginary parts."""

    def __init__(self, re: Vector, im: Vector) -> None:
        self.re, self.im = re, im

    def __add__(self, other: Complex) -> Complex:
        return Complex(self.re + other.re, self.im + other.im)

    def __sub__(self, other: Complex) -> Complex:
        return Complex(self.re - other.re, self.im - other.im)

    def __mul__(self, other: Complex) -> Complex:
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def conj_times(self, other: Complex) -> Complex:
        """``conj(self) · other``."""
        return Complex(self.re * other.re + self.im * other.im, self.re * other.im - self.im * other.re)

    def power(self) -> Vector:
        """``|self|²``."""
        return self.re * self.re + self.im * self.im

    def times_i(self) -> Complex:
        """``i · self``."""
        return Complex(self.im.scaled(-1.0), self.re)

    def swapped(self) -> Complex:
        """Real and imaginary parts exchanged."""
        return Complex(self.im, self.re)

    def scaled(self, factor: float) -> Complex:
        """Times a real constant."""
        return Complex(self.re.scaled(factor), self.im.scaled(factor))

    def rotated(self, turn: float) -> Complex:
        """Times the constant exp(2πi · turn); quarter and eighth turns cost less than a product."""
        quarter = turn * 4 % 4
        if quarter == 0:
            return self
        if quarter == 2:
            return self.scaled(-1.0)
        if quarter in (1, 3):
            sign = 1.0 if quarter == 1 else -1.0
            return Complex(self.im.scaled(-sign), self.re.scaled(sign))
        factor = cmath.exp(2j * cmath.pi * turn)
        if abs(abs(factor.real) - abs(factor.imag)) < 1e-12:
            re = self.re.scaled(factor.real / abs(factor.real)) - self.im.scaled(factor.imag / abs(factor.imag))
            im = self.re.scaled(factor.imag / abs(factor.imag)) + self.im.scaled(factor.real / abs(factor.real))
            return Complex(re, im).scaled(abs(factor.real))
        return Complex(
            self.re.scaled(factor.real) - self.im.scaled(factor.imag),
            self.re.scaled(factor.imag) + self.im.scaled(factor.real),
        )


class Whole:
    """A whole number of the code that is being emitted: a stride, a count, an index."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def _of(self, other: Whole | int) -> ir.Value:
        return other.value if isinstance(other, Whole) else ir.Constant(self.value.type, other)

    def __add__(self, other: Whole | int) -> Whole:
        return self if other == 0 else Whole(self.builder, self.builder.add(self.value, self._of(other)))

    def __mul__(self, other: Whole | int) -> Whole:
        return self if other == 1 else Whole(self.builder, self.builder.mul(self.value, self._of(other)))

    __radd__, __rmul__ = __add__, __mul__


class Place:
    """A place in one of the caller's flat arrays, where numbers are read and written; its own offset is 0."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, offset: Any) -> None:
        self.builder, self.offset = builder, offset
        real = kind.dtype == types.float64
        self.itemsize, self.element = (8, ir.DoubleType()) if real else (4, ir.FloatType())
        if isinstance(kind.dtype, types.Integer):
            self.element = ir.IntType(kind.dtype.bitwidth)
        self.vector = ir.VectorType(self.element, LANES)
        self.data = context.make_array(kind)(context, builder, array).data

    def at(self, offset: Whole | int) -> Place:
        """The place so many numbers further on."""
        moved = Place.__new__(Place)
        moved.__dict__.update(self.__dict__)
        moved.offset = offset if self.offset is None else self.offset + offset
        return moved

    def _pointer(self, offset: Whole | int, kind: ir.Type) -> ir.Value:
        place = self.at(offset).offset
        index = place.value if isinstance(place, Whole) else ir.Constant(ir.IntType(64), place)
        return self.builder.bitcast(self.builder.gep(self.data, [index]), kind.as_pointer())

    def number(self, offset: Whole | int = 0) -> ir.Value:
        """The single number there."""
        return self.builder.load(self._pointer(offset, self.element))

    def whole(self, offset: int = 0) -> Whole:
        """The single whole number there."""
        return Whole(self.builder, self.number(offset))

    def load(self, offset: Whole | int = 0) -> Vector:
        """The sixteen numbers from there on."""
        loaded = self.builder.load(self._pointer(offset, self.vector))
        loaded.align = self.itemsize
        return Vector(self.builder, loaded)

    def splat(self, offset: Whole | int = 0) -> Vector:
        """The single number there in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = Vector(
            self.builder, self.builder.insert_element(undefined, self.number(offset), ir.Constant(_INDEX, 0))
        )
        return single.shuffled(single, [0] * LANES)

    def pair(self, offset: Whole | int = 0) -> Complex:
        """Sixteen complex numbers: their real parts, and their imaginary parts behind them."""
        return Complex(self.load(offset), self.load(offset + LANES))

    def splat_lane(self, offset: Whole | int = 0) -> Complex:
        """One lane of a pair, the single complex number there, in all lanes."""
        return Complex(self.splat(offset), self.splat(offset + LANES))

    def splat_complex(self, offset: Whole | int = 0) -> Complex:
        """The single complex number there, its imaginary part behind the real one, in all lanes."""
        return Complex(self.splat(offset), self.splat(offset + 1))

    def store(self, vector: Vector, offset: Whole | int = 0) -> None:
        stored = self.builder.store(vector.value, self._pointer(offset, self.vector))
        stored.align = self.itemsize

    def store_pair(self, value: Complex, offset: Whole | int = 0) -> None:
        """Inverse of `pair`."""
        self.store(value.re, offset)
        self.store(value.im, offset + LANES)

    def store_number(self, number: ir.Value, offset: Whole | int = 0) -> None:
        """Inverse of `number`."""
        self.builder.store(number, self._pointer(offset, self.element))


@contextlib.contextmanager
def loop(count: Whole) -> Iterator[Whole]:
    """Emit a loop: what is emitted within the block runs for every index below ``count``."""
    with cgutils.for_range(count.builder, count.value) as inside:
        yield Whole(count.builder, inside.index)


#: All intrinsics by name, for the test against their models.
INTRINSICS: dict[str, Any] = {}


def vectorised(emit: Callable[..., None]) -> Any:
    """Decorator that makes an intrinsic, for calls in compiled functions, of a function that emits its code.

    Parameters
    ----------
    emit : callable
        Each parameter without an annotation is a `Place`; the caller passes *two* arguments for it, a flat array and
        an offset into it. ``int`` stands for a whole number (`Whole`), ``Flat`` for an array and ``Indices`` for an
        array of whole numbers, both without an offset. The docstring ends with the model: plain NumPy in which a place
        is the array from its offset on, and with ``vector(a, i)`` for ``a[i : i + 16]``, ``pair(a, i)`` for the
        sixteen complex numbers there, ``lane(a, i)`` for one of them, ``number(a, i)`` for ``a[i] + 1j * a[i + 1]``
        and ``put(a, value, i)`` for the inverse of ``vector`` or ``pair``.

    Returns
    -------
    numba intrinsic
    """
    parameters = {p.name: p.annotation for p in inspect.signature(emit).parameters.values()}
    names = ["typing_context"]
    for name, annotation in parameters.items():
        names += [name] if annotation in ("int", "Flat", "Indices") else [name, f"{name}_offset"]

    def typed(typing_context, *kinds):
        def codegen(context, builder, signature, arguments):
            given = iter(zip(kinds, arguments))
            passed = []
            for annotation in parameters.values():
                kind, value = next(given)
                if annotation == "int":
                    passed.append(Whole(builder, value))
                elif annotation in ("Flat", "Indices"):
                    passed.append(Place(context, builder, kind, value, 0))
                else:
                    passed.append(Place(context, builder, kind, value, Whole(builder, next(given)[1])))
            emit(*passed)
            return context.get_dummy_value()

        return types.void(*(kind if isinstance(kind, types.Array) else types.intp for kind in kinds)), codegen

    typed.__name__ = typed.__qualname__ = emit.__name__
    typed.__doc__, typed.__module__ = emit.__doc__, emit.__module__
    # Numba counts the arguments by the signature.
    typed.__signature__ = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names])
    made = intrinsic(typed)
    made.parameters = parameters
    INTRINSICS[emit.__name__] = made
    return made


def dft(values: list[Complex], sign: int) -> list[Complex]:
    """Discrete Fourier transform of 1, 2, 3, 4, 5 or 8 complex vectors, ``Σ_i x_i exp(sign · 2πi ik / n)``."""
    size = len(values)
    if size == 1:
        return values
    if size % 2 == 0:
        even, odd = dft(values[::2], sign), dft(values[1::2], sign)
        odd = [v.rotated(sign * i / size) for i, v in enumerate(odd)]
        return [e + o for e, o in zip(even, odd)] + [e - o for e, o in zip(even, odd)]
    first, rest, half = values[0], values[1:], size // 2
    sums = [rest[i] + rest[-1 - i] for i in range(half)]
    differences = [rest[i] - rest[-1 - i] for i in range(half)]
    found = [first] * size
    for s in sums:
        found[0] = found[0] + s
    for k in range(1, half + 1):
        angles = [2 * cmath.pi * k * (i + 1) / size for i in range(half)]
        cosines, sines = first, differences[0].scaled(cmath.sin(angles[0]).real)
        for i in range(half):
            cosines = cosines + sums[i].scaled(cmath.cos(angles[i]).real)
        for i in range(1, half):
            sines = sines + differences[i].scaled(cmath.sin(angles[i]).real)
        turned = (
            Complex(cosines.re + sines.im, cosines.im - sines.re),
            Complex(cosines.re - sines.im, cosines.im + sines.re),
        )
        found[k], found[size - k] = turned if sign < 0 else turned[::-1]
    return found


def _butterfly(radix, inverse, twisted):
    def emit(data, stride: int, twiddles):
        places = [data.at(stride * i) for i in range(radix)]
        values = [place.pair() for place in places]
        turns = [twiddles.splat_complex(2 * i) for i in range(radix - 1)] if twisted else []
        if inverse:
            values[1:] = [t.conj_times(v) for v, t in zip(values[1:], turns)] or values[1:]
        values = dft(values, 1 if inverse else -1)
        if not inverse:
            values[1:] = [t * v for v, t in zip(values[1:], turns)] or values[1:]
        for value, place in zip(values, places):
            place.store_pair(value)

    emit.__name__ = f"butterfly{radix}{'_inverse' * inverse}{'_twisted' * twisted}"
    sign, turned = ("+", "t.conj()") if inverse else ("-", "t")
    before, after = (f" * {turned}[:, None]", "") if inverse else ("", f" * {turned}[:, None]")
    emit.__doc__ = f"""DFT of {radix} complex vectors, in place{", with twiddle factors" * twisted}.

    Model::

        x = np.array([pair(data, i * stride) for i in range({radix})])
        t = np.array([1] + [number(twiddles, 2 * i) for i in range({radix - 1})]) if {twisted} else np.ones({radix})
        i = np.arange({radix})
        y = np.exp({sign}2j * np.pi * np.outer(i, i) / {radix}) @ (x{before}){after}
        for i in range({radix}):
            put(data, y[i], i * stride)
    """
    return vectorised(emit)


#: ``butterfly[radix, inverse, twisted](data, d, stride, twiddles, t)``
butterfly = {
    (radix, inverse, twisted): _butterfly(radix, inverse, twisted)
    for radix in (4, 8)
    for inverse in (False, True)
    for twisted in (False, True)
}


@vectorised
def copy_pair(src, dst):
    """Copy two vectors.

    Model::

        dst[:32] = src[:32]
    """
    dst.store_pair(src.pair())


@vectorised
def copy_pair_plus(src, more, dst):
    """Sum of two vectors and two others.

    Model::

        dst[:32] = src[:32] + more[:32]
    """
    dst.store_pair(src.pair() + more.pair())


@vectorised
def multiply_add(scalars, src, dst):
    """One lane of a pair times sixteen complex numbers, added to sixteen others.

    Model::

        put(dst, pair(dst) + lane(scalars) * pair(src))
    """
    dst.store_pair(dst.pair() + scalars.splat_lane() * src.pair())


@vectorised
def multiply_conj_add(scalars, src, dst):
    """The conjugate of one lane of a pair times sixteen complex numbers, added to sixteen others.

    Model::

        put(dst, pair(dst) + lane(scalars).conj() * pair(src))
    """
    dst.store_pair(dst.pair() + scalars.splat_lane().conj_times(src.pair()))


@vectorised
def sum_of_products(first, second, dst):
    """Sum over the lanes of ``conj(first) · second``, into one lane of a pair.

    Model::

        total = np.sum(pair(first).conj() * pair(second))
        dst[0], dst[16] = total.real, total.imag
    """
    product = first.pair().conj_times(second.pair())
    dst.store_number(product.re.total())
    dst.store_number(product.im.total(), LANES)


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


@vectorised
def rational_tanh(data):
    """Hyperbolic tangent of a vector in place, as exact as float32 is (to 3e-7).

    Model::

        data[:16] = np.tanh(data[:16])
    """
    x = data.load().clamped(_TANH_BOUND)
    square = x * x
    sums = []
    for first, *others in (_TANH_P, _TANH_Q):
        total = x.constant(first)
        for coefficient in others:
            total = total * square + x.constant(coefficient)
        sums.append(total)
    data.store(x * sums[0] / sums[1])


def _mix(pixels, vectors, inputs=2 * LANES):
    def emit(src, weights, bias, dst):
        sums = [[bias.load(LANES * v) for v in range(vectors)] for _ in range(pixels)]
        for i in range(inputs):
            column = [weights.load(LANES * (vectors * i + v)) for v in range(vectors)]
            for p in range(pixels):
                value = src.splat(inputs * p + i)
                sums[p] = [total + value * weight for total, weight in zip(sums[p], column)]
        for p in range(pixels):
            for v in range(vectors):
                dst.store(sums[p][v], LANES * (vectors * p + v))

    outputs = LANES * vectors
    emit.__name__ = f"mix_to_{outputs}"
    emit.__doc__ = f"""{inputs} numbers of each of {pixels} pixels become {outputs} others each.

    Model::

        x = src[:{pixels * inputs}].reshape({pixels}, {inputs})
        w = weights[:{inputs * outputs}].reshape({inputs}, {outputs})
        dst[:{pixels * outputs}] = (x @ w + bias[:{outputs}]).reshape(-1)
    """
    return vectorised(emit)


#: ``mix[pixels, vectors](src, s, weights, w, bias, b, dst, d)``
mix = {(8, 2): _mix(8, 2), (8, 1): _mix(8, 1)}
