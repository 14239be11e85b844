"""Rectified linear unit, max(x, 0)."""

from __future__ import annotations

from deconvnet.backend import array_module
from deconvnet.layers.base import Layer

__all__ = ["Relu", "relu", "relu_backward"]


def relu(x):
    """``max(x, 0)`` element-wise; any shape and dtype."""
    return array_module(x).maximum(x, 0)


def relu_backward(dy, y):
    """Gradient of the input from the *output* ``y``: ``dy`` where ``y > 0``, else 0."""
    return dy * (y > 0)


class Relu(Layer):
    """`relu` as a layer."""

    def forward(self, x, *, train=False):
        y = relu(x)
        return y, (y if train else None)

    def backward(self, dy, y):
        return relu_backward(dy, y)
