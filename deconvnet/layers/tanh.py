"""Hyperbolic tangent, the non-linearity of the single-photo network's features (Schuler et al. 2015, Sec. 3.1)."""

from __future__ import annotations

from deconvnet.backend import array_module
from deconvnet.layers.base import Layer

__all__ = ["Tanh", "tanh", "tanh_backward"]


def tanh(x):
    """``tanh(x)`` element-wise.

    Parameters
    ----------
    x : real array, any shape

    Returns
    -------
    array
        Shape and dtype of ``x``, values in [-1, 1].

    Notes
    -----
    Backward: ``dx = dy · (1 − y²)``, from the output alone.
    """
    return array_module(x).tanh(x)


def tanh_backward(dy, y):
    """Gradient of the input of `tanh` from its *output* ``y``: ``dy · (1 − y²)``."""
    return dy * (1 - y * y)


class Tanh(Layer):
    """`tanh` as a layer."""

    def forward(self, x, *, train=False):
        y = tanh(x)
        return y, (y if train else None)

    def backward(self, dy, y):
        return tanh_backward(dy, y)
