"""Fourier transforms of sixteen tiles at a time, in place, one tile per vector lane (see `vector.py`).

The forward transform leaves its coefficients in digit-reversed order and the inverse one takes them so: a convolution
never needs them sorted. Complex numbers are 16 real parts, then 16 imaginary parts.
"""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.simd.vector import LANES, butterfly

__all__ = ["COMPLEX", "forward_line", "inverse_line", "tile_twiddles"]

#: Reals of one complex vector.
COMPLEX = 2 * LANES

_f8, _f8t, _i8, _i8t = (butterfly[8, i, t] for i in (False, True) for t in (False, True))
_f4, _f4t, _i4, _i4t = (butterfly[4, i, t] for i in (False, True) for t in (False, True))


def _radices(size):
    """Factors 8 and 4 of 16, 32, 64 or 128."""
    radices = []
    while size > 1:
        factor = 4 if size in (4, 16) else 8
        radices.append(factor)
        size //= factor
    return radices


@functools.cache
def tile_twiddles(size: int, dtype: str) -> np.ndarray:
    """Twiddle factors of a transform of ``size`` (16, 32, 64 or 128), in the order the passes use them.

    Parameters
    ----------
    size : int
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    real array
        Pairs (cos, sin).
    """
    found = []
    for radix in _radices(size)[:-1]:
        span = size // radix
        for j in range(span):
            for p in range(1, radix):
                angle = -2 * np.pi * j * p / size
                found += [np.cos(angle), np.sin(angle)]
        size = span
    return np.array(found, dtype=dtype)


@compiled
def _radix(size):
    return 4 if size == 4 or size == 16 else 8


@compiled
def forward_line(data, start, stride, size, twiddles):
    """Forward transform of ``size`` complex vectors at ``data[start + i · stride]``, in place."""
    length, place = size, 0
    while length > 1:
        radix = _radix(length)
        span = length // radix
        for block in range(0, size, length):
            first = start + block * stride
            if span == 1:
                if radix == 8:
                    _f8(data, first, stride, twiddles, 0)
                else:
                    _f4(data, first, stride, twiddles, 0)
            elif radix == 8:
                for j in range(span):
                    _f8t(data, first + j * stride, span * stride, twiddles, place + 14 * j)
            else:
                for j in range(span):
                    _f4t(data, first + j * stride, span * stride, twiddles, place + 6 * j)
        place += span * (radix - 1) * 2
        length = span


@compiled
def inverse_line(data, start, stride, size, twiddles):
    """Inverse of `forward_line` without the factor 1/size."""
    length, place = _last_radix(size), twiddles.size
    for block in range(0, size, length):
        first = start + block * stride
        if length == 8:
            _i8(data, first, stride, twiddles, 0)
        else:
            _i4(data, first, stride, twiddles, 0)
    while length < size:
        radix = _radix_above(size, length)
        span, length = length, length * radix
        place -= span * (radix - 1) * 2
        for block in range(0, size, length):
            first = start + block * stride
            if radix == 8:
                for j in range(span):
                    _i8t(data, first + j * stride, span * stride, twiddles, place + 14 * j)
            else:
                for j in range(span):
                    _i4t(data, first + j * stride, span * stride, twiddles, place + 6 * j)


@compiled
def _last_radix(size):
    length = size
    radix = 1
    while length > 1:
        radix = _radix(length)
        length //= radix
    return radix


@compiled
def _radix_above(size, length):
    """The radix of the pass whose blocks are the next longer ones after ``length``."""
    above = size
    while above > 1:
        radix = _radix(above)
        if above // radix == length:
            return radix
        above //= radix
    return 1
