"""Rectified linear unit, max(x, 0)."""

from __future__ import annotations

from deconvnet.backend import Array, array_module
from deconvnet.layers.base import Layer

__all__ = ["Relu", "relu", "relu_backward"]


def relu(x: Array) -> Array:
    """``max(x, 0)`` element-wise.

    Parameters
    ----------
    x : real array, any shape

    Returns
    -------
    real array
        Shape and dtype of ``x``.

    Notes
    -----
    Backward: ``dx = dy`` where the output is positive, else 0.
    """
    return array_module(x).maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of the input of `relu` from its *output* ``y``: ``dy`` where ``y > 0``, else 0."""
    return dy * (y > 0)


class Relu(Layer):
    """`relu` as a layer."""

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """`relu` of ``x``; the cache is the output."""
        y = relu(x)
        return y, (y if train else None)

    def backward(self, dy: Array, y: Array) -> Array:
        """Gradient of the input."""
        return relu_backward(dy, y)
