"""3×3 convolution layer for images whose channels lie together, with a rectifier.

For the small networks on whole pictures: `deconvnet.layers.conv` is for few channels and large filters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.conv3x3 import conv3x3, conv3x3_weights_backward
from deconvnet.layers.base import Layer, Parameter

__all__ = ["Conv3x3", "conv3x3", "conv3x3_backward"]


def conv3x3_backward(
    dy: Array, x: Array, weight: Array, y: Array, rectify: bool, *, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients ``(dx or None, dweight, dbias)`` of `conv3x3`.

    Parameters
    ----------
    dy, y : real array (B, H − 2, W − 2, M)
        Gradient of the output, and the output.
    x : real array (B, H, W, C)
    weight : real array (3, 3, C, M)
    rectify, need_dx : bool

    Notes
    -----
    Where the rectifier has set an output to 0 its gradient is 0. Then ``dx`` is the convolution of ``dy``, with a
    border of two zeros, with the weights read backwards and their channels exchanged.
    """
    xp = array_module(dy, x, weight)
    dy = dy * (y > 0) if rectify else dy
    dweight, dbias = conv3x3_weights_backward(dy, x), dy.sum(axis=(0, 1, 2))
    if not need_dx:
        return None, dweight, dbias
    back = xp.ascontiguousarray(weight[::-1, ::-1].swapaxes(2, 3))
    padded = xp.pad(dy, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return conv3x3(padded, back, xp.zeros(x.shape[-1], x.dtype), False), dweight, dbias


class Conv3x3(Layer):
    """`conv3x3` as a layer.

    Parameters
    ----------
    channels_in, channels_out : int
        At most 32 each.
    rectify : bool
        Set negative outputs to 0.
    rng : numpy.random.Generator
        Weights start normal with variance ``2 / (9 · channels_in)`` (He et al. 2015); the bias at zero.
    scale : float
        Factor on the weights' start.
    dtype : numpy dtype
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        rectify: bool,
        rng: np.random.Generator,
        *,
        scale: float = 1.0,
        dtype: Any = np.float32,
    ) -> None:
        std = scale * (2 / (9 * channels_in)) ** 0.5
        self.weight = Parameter((std * rng.standard_normal((3, 3, channels_in, channels_out))).astype(dtype))
        self.bias = Parameter(np.zeros(channels_out, dtype))
        self.rectify = rectify

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        y = conv3x3(x, self.weight.value, self.bias.value, self.rectify)
        return y, ((x, y) if train else None)

    def backward(self, dy: Array, cache: tuple, *, need_dx: bool = True) -> Array | None:
        x, y = cache
        dx, dweight, dbias = conv3x3_backward(dy, x, self.weight.value, y, self.rectify, need_dx=need_dx)
        self.weight.grad += dweight
        self.bias.grad += dbias
        return dx
