"""What the refinement of PSFs and the deconvolution compute at sixteen frequencies at a time, as intrinsics.

Spectra are in strips (`deconvnet.kernels.simd.strip_images`). How to read an intrinsic, see
`deconvnet.kernels.simd.vector`.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from deconvnet.kernels.simd.vector import LANES, Complex, Indices, Vector, loop, vectorised

__all__ = [
    "TAP_ROWS",
    "advance",
    "blurred_swapped",
    "direct",
    "inverse_divisor",
    "latent_swapped",
    "normal_equations",
    "residual_of_normal",
    "residual_of_other_prior",
    "sum_of_taps",
    "swap_parts",
    "swap_real",
]

#: Rows that `sum_of_taps` sums up at a time.
TAP_ROWS = 8


def _times(factor: Vector, value: Complex) -> Complex:
    return Complex(factor * value.re, factor * value.im)


def _real_product(a: Complex, b: Complex) -> Vector:
    return a.re * b.re + a.im * b.im


@vectorised
def swap_parts(src, dst):
    """Real and imaginary parts exchanged.

    Model::

        put(dst, 1j * pair(src).conj())
    """
    dst.store_pair(src.pair().swapped())


@vectorised
def swap_real(src, dst):
    """A real vector as a complex one whose parts are exchanged.

    Model::

        put(dst, 1j * vector(src))
    """
    real = src.load()
    dst.store_pair(Complex(real.constant(0.0), real))


@vectorised
def latent_swapped(data, image, power, rows, columns, coupling, dst):
    """The latent image of half-quadratic splitting, parts exchanged.

    Model::

        b = coupling[0]
        z = (pair(data) + b * pair(image)) / (vector(power) + b * (rows[0] + vector(columns)))
        put(dst, 1j * z.conj())
    """
    b = coupling.splat()
    above = data.pair() + _times(b, image.pair())
    below = power.load() + b * (rows.splat() + columns.load())
    dst.store_pair(Complex(above.im / below, above.re / below))


@vectorised
def inverse_divisor(otf, rows, columns, weights, dst):
    """The preconditioner of the deconvolution; the weights are those of data and smoothness, and the least divisor.

    Model::

        divisor = weights[0] * abs(pair(otf)) ** 2 + weights[1] * (rows[0] + vector(columns))
        put(dst, 1 / np.maximum(divisor, weights[2]))
    """
    least = weights.splat(2)
    divisor = weights.splat() * otf.pair().power() + weights.splat(1) * (rows.splat() + columns.load())
    small = divisor.builder.fcmp_ordered("<", divisor.value, least.value)
    divisor = Vector(divisor.builder, divisor.builder.select(small, least.value, divisor.value))
    dst.store(divisor.constant(1.0) / divisor)


@vectorised
def blurred_swapped(otf, image, dst):
    """A blurred image, parts exchanged.

    Model::

        put(dst, 1j * (pair(otf) * pair(image)).conj())
    """
    dst.store_pair((otf.pair() * image.pair()).swapped())


@vectorised
def direct(residual, inverse, direction, otf, share, dst):
    """The next direction of conjugate gradients; blurred, with parts exchanged, it goes to ``dst``.

    Model::

        new = vector(inverse) * pair(residual) + share[0] * pair(direction)
        put(direction, new)
        put(dst, 1j * (pair(otf) * new).conj())
    """
    new = _times(inverse.load(), residual.pair()) + _times(share.splat(), direction.pair())
    direction.store_pair(new)
    dst.store_pair((otf.pair() * new).swapped())


@vectorised
def normal_equations(otf, line, direction, rows, columns, counts, weights, dst, sums):
    """The operator's image of a direction, from what was blurred and masked; their product is added to the sums.

    Model::

        here = pair(direction)
        new = weights[0] * pair(otf).conj() * pair(line) + weights[1] * (rows[0] + vector(columns)) * here
        put(dst, new)
        put(sums, vector(sums) + vector(counts) * (here.conj() * new).real)
    """
    here = direction.pair()
    new = _times(weights.splat(), otf.pair().conj_times(line.pair()))
    new = new + _times(weights.splat(1) * (rows.splat() + columns.load()), here)
    dst.store_pair(new)
    sums.store(sums.load() + counts.load() * _real_product(here, new))


@vectorised
def residual_of_normal(otf, line, x, target, inverse, rows, columns, counts, weights, sums):
    """The residual at the start, in the place of the target; its preconditioned square is added to the sums.

    Model::

        smooth = pair(target) - (rows[0] + vector(columns)) * pair(x)
        new = weights[0] * pair(otf).conj() * pair(line) + weights[1] * smooth
        put(target, new)
        put(sums, vector(sums) + vector(counts) * vector(inverse) * abs(new) ** 2)
    """
    smooth = target.pair() - _times(rows.splat() + columns.load(), x.pair())
    new = _times(weights.splat(), otf.pair().conj_times(line.pair())) + _times(weights.splat(1), smooth)
    target.store_pair(new)
    sums.store(sums.load() + counts.load() * (inverse.load() * new.power()))


@vectorised
def residual_of_other_prior(x, change, residual, inverse, rows, columns, counts, weights, sums):
    """The residual when the prior becomes another one, in its place; its preconditioned square is added to the sums.

    The change is that of the weighed target, and the last weight is that of the smoothness.

    Model::

        new = pair(residual) + pair(change) - weights[3] * (rows[0] + vector(columns)) * pair(x)
        put(residual, new)
        put(sums, vector(sums) + vector(counts) * vector(inverse) * abs(new) ** 2)
    """
    smoother = _times(weights.splat(3) * (rows.splat() + columns.load()), x.pair())
    new = residual.pair() + change.pair() - smoother
    residual.store_pair(new)
    sums.store(sums.load() + counts.load() * (inverse.load() * new.power()))


@vectorised
def advance(x, residual, direction, image, inverse, counts, length, sums):
    """A step along the direction; the residual's preconditioned square is added to the sums.

    Model::

        put(x, pair(x) + length[0] * pair(direction))
        new = pair(residual) - length[0] * pair(image)
        put(residual, new)
        put(sums, vector(sums) + vector(counts) * vector(inverse) * abs(new) ** 2)
    """
    far = length.splat()
    x.store_pair(x.pair() + _times(far, direction.pair()))
    new = residual.pair() - _times(far, image.pair())
    residual.store_pair(new)
    sums.store(sums.load() + counts.load() * (inverse.load() * new.power()))


@vectorised
def sum_of_taps(values, places: Indices, count: int, src, pitch: int, dst, spacing: int):
    """Sixteen neighbours in eight rows of a correlation with few numbers.

    Model::

        for r in range(8):
            total = sum(values[t] * vector(src, r * pitch + places[t]) for t in range(count))
            put(dst, total, r * spacing)
    """
    builder = src.builder
    sums = [cgutils.alloca_once(builder, src.vector) for _ in range(TAP_ROWS)]  # LLVM keeps these in registers
    for place in sums:
        builder.store(ir.Constant(src.vector, [0.0] * LANES), place)
    with loop(count) as t:
        factor, here = values.splat(t), src.at(places.whole(t))
        for r, place in enumerate(sums):
            builder.store((Vector(builder, builder.load(place)) + factor * here.load(pitch * r)).value, place)
    for r, place in enumerate(sums):
        dst.store(Vector(builder, builder.load(place)), spacing * r)
