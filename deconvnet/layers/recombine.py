"""Linear recombination of channels: every pixel's channels are mixed by one matrix, a 1×1 convolution.

Schuler et al. 2015, Sec. 3.1 (doi:10.1109/TPAMI.2015.2481418), mix the 32 filtered images this way, first into 32 and
then into the feature images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.layers.base import Layer, Parameter

__all__ = ["Recombine", "recombine", "recombine_backward"]


def recombine(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``y[b, m] = Σ_c weight[m, c] · x[b, c] + bias[m]``.

    Parameters
    ----------
    x : real array (B, C, H, W)
    weight : real array (M, C)
    bias : real array (M,), optional

    Returns
    -------
    real array (B, M, H, W)

    Notes
    -----
    Backward: ``dx = weightᵀ · dy`` at each pixel, ``dweight = Σ dy · xᵀ`` over images and pixels,
    ``dbias = Σ dy``.
    """
    xp = array_module(x, weight, bias)
    batch, channels, height, width = x.shape
    y = xp.matmul(weight, x.reshape(batch, channels, -1))  # (B, M, HW)
    if bias is not None:
        y += bias[:, None]
    return y.reshape(batch, -1, height, width)


def recombine_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Gradients ``(dx, dweight, dbias)`` of `recombine`; without a bias the last one is of no use."""
    xp = array_module(dy, x, weight)
    batch, channels, height, width = x.shape
    dflat = dy.reshape(batch, -1, height * width)
    dx = xp.matmul(weight.T, dflat).reshape(x.shape)
    dweight = xp.matmul(dflat, x.reshape(batch, channels, -1).swapaxes(1, 2)).sum(axis=0)
    return dx, dweight, dflat.sum(axis=(0, 2))


class Recombine(Layer):
    """`recombine` as a layer.

    Parameters
    ----------
    channels_in, channels_out : int
    rng : numpy.random.Generator
        Weights start normal with standard deviation ``1 / sqrt(channels_in)``, the bias at zero.
    bias : bool
    dtype : numpy dtype
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        rng: np.random.Generator,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        std = channels_in**-0.5
        self.weight = Parameter((std * rng.standard_normal((channels_out, channels_in))).astype(dtype))
        self.bias: Any = Parameter(np.zeros(channels_out, dtype=dtype)) if bias else None

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """Images (B, M, H, W) of images ``x (B, C, H, W)``; the cache is ``x``."""
        bias = None if self.bias is None else self.bias.value
        return recombine(x, self.weight.value, bias), (x if train else None)

    def backward(self, dy: Array, x: Array) -> Array:
        """Gradient (B, C, H, W) of the images."""
        dx, dweight, dbias = recombine_backward(dy, x, self.weight.value)
        self.weight.grad += dweight
        if self.bias is not None:
            self.bias.grad += dbias
        return dx
