"""Blocks of a 3×3 convolution of images whose channels lie together, as intrinsics: registers hold the sums.

An image is (H, W, C), flat; a pixel's C numbers are followed by those of the pixel to its right. So the three pixels
that a row of a filter covers are 3·C numbers in a sequence, and neighbouring outputs read sequences C apart. How to
read an intrinsic, see `deconvnet.kernels.simd.vector`.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils

from deconvnet.kernels.simd.vector import LANES, Flat, Vector, loop, vectorised

__all__ = ["PIXELS", "ROWS", "conv_block", "outer_block"]

_AVX512 = llvmlite.binding.get_host_cpu_features().get("avx512f")
#: Pixels whose sums `conv_block` keeps in registers at a time, and rows of `outer_block`.
PIXELS, ROWS = (8, 8) if _AVX512 else (3, 3)


def _registers(place, count, vectors):
    """Places for ``count`` × ``vectors`` sums that LLVM keeps in registers."""
    return [[cgutils.alloca_once(place.builder, place.vector) for _ in range(vectors)] for _ in range(count)]


def _conv_block(pixels, vectors, rectify):
    def emit(src, row_stride: int, stride: int, count: int, weights: Flat, bias: Flat, dst):
        builder = src.builder
        sums = _registers(src, pixels, vectors)
        for pixel in sums:
            for v, place in enumerate(pixel):
                builder.store(bias.load(LANES * v).value, place)
        for r in range(3):
            with loop(count) as j:
                column = [weights.load((count * r + j) * (LANES * vectors) + LANES * v) for v in range(vectors)]
                for p, pixel in enumerate(sums):
                    value = src.splat(row_stride * r + stride * p + j)
                    for place, weight in zip(pixel, column):
                        builder.store((Vector(builder, builder.load(place)) + value * weight).value, place)
        zero = ir.Constant(src.vector, [0.0] * LANES)
        for p, pixel in enumerate(sums):
            for v, place in enumerate(pixel):
                total = builder.load(place)
                if rectify:
                    total = builder.select(builder.fcmp_ordered("<", total, zero), zero, total)
                dst.store(Vector(builder, total), LANES * (vectors * p + v))

    emit.__name__ = f"conv_block_{pixels}x{vectors}{'_rectified' if rectify else ''}"
    emit.__doc__ = f"""{pixels} neighbouring pixels of the convolution, {LANES * vectors} channels each.

    Model::

        n = {LANES * vectors}
        for p in range({pixels}):
            rows = [src[r * row_stride + p * stride :][:count] for r in range(3)]
            total = bias[:n] + np.concatenate(rows) @ weights[: 3 * count * n].reshape(3 * count, n)
            dst[p * n : (p + 1) * n] = np.maximum(total, 0) if {rectify} else total
    """
    return vectorised(emit)


#: ``conv_block[pixels, vectors, rectify](src, s, row_stride, stride, count, weights, bias, dst, d)``.
conv_block = {(p, v, r): _conv_block(p, v, r) for p in (1, PIXELS) for v in (1, 2) for r in (False, True)}


def _outer_block(rows, vectors):
    def emit(src, stride: int, slopes, count: int, dst):
        builder = src.builder
        sums = _registers(src, rows, vectors)
        for row in sums:
            for place in row:
                builder.store(ir.Constant(src.vector, [0.0] * LANES), place)
        with loop(count) as x:
            column = [slopes.load(x * (LANES * vectors) + LANES * v) for v in range(vectors)]
            for r, row in enumerate(sums):
                value = src.splat(x * stride + r)
                for place, slope in zip(row, column):
                    builder.store((Vector(builder, builder.load(place)) + value * slope).value, place)
        for r, row in enumerate(sums):
            for v, place in enumerate(row):
                offset = LANES * (vectors * r + v)
                dst.store(dst.load(offset) + Vector(builder, builder.load(place)), offset)

    emit.__name__ = f"outer_block_{rows}x{vectors}"
    emit.__doc__ = f"""Sum over the pixels of a row of the products of {rows} inputs and {LANES * vectors} slopes.

    Model::

        n = {LANES * vectors}
        for r in range({rows}):
            for x in range(count):
                dst[r * n : (r + 1) * n] += src[x * stride + r] * slopes[x * n : (x + 1) * n]
    """
    return vectorised(emit)


#: ``outer_block[rows, vectors](src, s, stride, slopes, g, count, dst, d)``.
outer_block = {(r, v): _outer_block(r, v) for r in (1, ROWS) for v in (1, 2)}
