"""Gaussian noise from counters: any thread can make any sample, and the result is always the same.

A sample depends on a pair of 32-bit keys (one pair per frame or PSF) and on its position, never on
what was drawn before it, so parallel loops need no generator state and agree with array code.
"""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.compiled import compiled

__all__ = ["draw_keys", "hash32", "hash32_array", "normal_pair", "normal_pair_array"]

_STRIDE, _FIRST, _SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B
_LN2 = np.float32(math.log(2))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)  # float32 bits of 1/√2: mantissas are taken from [1/√2, √2)
# ln(1 + z) / z for z in [1/√2 − 1, √2 − 1], Chebyshev interpolation; the error of ln is below 7e-8.
_LOG = tuple(
    np.float32(c)
    for c in (0.99999997, -0.50000379, 0.33334679, -0.2496875, 0.19910598, -0.17276932, 0.16151634, -0.09935829)
)
_PI_2 = np.float32(math.pi / 2)
_SQRT_HALF = np.float32(math.sqrt(0.5))
_24_BITS = np.float32(2.0**-24)
_30_BITS = np.float32(2.0**-30)


def draw_keys(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Pairs of keys, uint32 ``(*shape, 2)``, from a `numpy.random.Generator`."""
    return rng.integers(0, 2**32, size=(*shape, 2), dtype=np.uint32)


@compiled(forceinline=True, fastmath={"contract"})
def hash32(counter, key0, key1):
    """32 random bits for a uint32 counter under two uint32 keys: two rounds of xor-shift and multiply."""
    x = np.uint32(np.uint32(counter * np.uint32(_STRIDE)) ^ key0)
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(_FIRST))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x + key1)
    x = np.uint32(x * np.uint32(_SECOND))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled(forceinline=True, fastmath={"contract"})
def normal_pair(counter, key0, key1):
    """Two independent standard normal float32 numbers for a uint32 counter below 2³¹.

    Notes
    -----
    Box and Muller: √(−2 ln u)·(±cos φ, ±sin φ) with u in (0, 1), φ in [0, π/2) and random signs.
    All steps are polynomials and bit operations on 32-bit numbers, so that loops over them become SIMD code.
    """
    first = hash32(np.uint32(counter + counter), key0, key1)
    second = hash32(np.uint32(counter + counter + np.uint32(1)), key0, key1)
    u = (np.float32(np.int32(first >> np.uint32(8))) + np.float32(0.5)) * _24_BITS
    bits = np.float32(u).view(np.int32)
    exponent = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> np.int32(23))
    z = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32) - np.float32(1)
    series = _LOG[7]
    series = series * z + _LOG[6]
    series = series * z + _LOG[5]
    series = series * z + _LOG[4]
    series = series * z + _LOG[3]
    series = series * z + _LOG[2]
    series = series * z + _LOG[1]
    series = series * z + _LOG[0]
    log = np.float32(exponent) * _LN2 + series * z
    radius = math.sqrt(max(np.float32(-2) * log, np.float32(0)))
    # The angle is π/4 + psi with |psi| <= π/4, where short Taylor series are exact to float32.
    psi = (np.float32(np.int32(second >> np.uint32(2))) * _30_BITS - np.float32(0.5)) * _PI_2
    q = psi * psi
    sine = psi * (np.float32(1) + q * (np.float32(-1 / 6) + q * (np.float32(1 / 120) + q * np.float32(-1 / 5040))))
    cosine = np.float32(1) + q * (
        np.float32(-1 / 2) + q * (np.float32(1 / 24) + q * (np.float32(-1 / 720) + q * np.float32(1 / 40320)))
    )
    radius = radius * _SQRT_HALF
    sign0 = np.float32(np.int32(1) - np.int32(np.int32(second & np.uint32(1)) << np.int32(1)))
    sign1 = np.float32(np.int32(1) - np.int32(second & np.uint32(2)))
    return sign0 * radius * (cosine - sine), sign1 * radius * (cosine + sine)


def hash32_array(counter: Array, key0: Array, key1: Array) -> Array:
    """`hash32` for arrays: uint32 arrays that broadcast, uint32 out; NumPy or CuPy."""
    xp = array_module(counter, key0, key1)
    x = (counter * xp.uint32(_STRIDE)) ^ key0
    x = x ^ (x >> xp.uint32(16))
    x = x * xp.uint32(_FIRST)
    x = x ^ (x >> xp.uint32(15))
    x = x + key1
    x = x * xp.uint32(_SECOND)
    return x ^ (x >> xp.uint32(16))


def normal_pair_array(counter: Array, key0: Array, key1: Array) -> tuple[Array, Array]:
    """`normal_pair` for arrays, with the library's logarithm and circular functions; float64 out."""
    xp = array_module(counter, key0, key1)
    first = hash32_array(counter + counter, key0, key1)
    second = hash32_array(counter + counter + xp.uint32(1), key0, key1)
    u = ((first >> xp.uint32(8)).astype(xp.float32) + xp.float32(0.5)) * xp.float32(2.0**-24)
    radius = xp.sqrt(xp.maximum(-2 * xp.log(u.astype(xp.float64)), 0))
    phi = (second >> xp.uint32(2)).astype(xp.float64) * (2.0**-30 * math.pi / 2)
    sign0 = 1.0 - 2.0 * (second & xp.uint32(1))
    sign1 = 1.0 - (second & xp.uint32(2))
    return sign0 * radius * xp.cos(phi), sign1 * radius * xp.sin(phi)
