"""The sRGB curve: exact in array code, and a polynomial form for the inner loops on the CPU."""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.compiled import compiled

__all__ = ["encode_srgb", "linear_to_srgb", "srgb_to_linear"]

_KNEE = np.float32(0.0031308)
_SLOPE = np.float32(12.92)
_ONE = np.float32(1)
# 1.055·s^(5/3) − 0.055 for s = v^(1/4) in [0.234, 1], Chebyshev interpolation raised so that 1 maps to 1; 7e-7 off.
_CURVE = tuple(
    np.float32(c)
    for c in (
        -0.058553,
        0.1251311,
        1.45226993,
        -1.12671332,
        1.1563381,
        -0.84334791,
        0.3639683,
        -0.06909323,
    )
)


def srgb_to_linear(image: Array) -> Array:
    """Linear light from sRGB values; see `deconvnet.blur.camera.srgb_to_linear`."""
    xp = array_module(image)
    return xp.where(image <= 0.04045, image / 12.92, ((xp.maximum(image, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(image: Array) -> Array:
    """sRGB values from linear light; see `deconvnet.blur.camera.linear_to_srgb`."""
    xp = array_module(image)
    return xp.where(image <= 0.0031308, image * 12.92, 1.055 * xp.maximum(image, 0) ** (1 / 2.4) - 0.055)


@compiled(forceinline=True, fastmath={"contract"})
def encode_srgb(value):
    """`linear_to_srgb` of one number in [0, 1], within 1e-6; becomes SIMD code inside a loop."""
    s = math.sqrt(math.sqrt(value))
    curve = _CURVE[7]
    curve = curve * s + _CURVE[6]
    curve = curve * s + _CURVE[5]
    curve = curve * s + _CURVE[4]
    curve = curve * s + _CURVE[3]
    curve = curve * s + _CURVE[2]
    curve = curve * s + _CURVE[1]
    curve = curve * s + _CURVE[0]
    return _SLOPE * value if value < _KNEE else min(curve, _ONE)
