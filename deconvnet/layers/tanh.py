"""Hyperbolic tangent, the non-linearity of the single-photo network's features (Schuler et al. 2015, Sec. 3.1,
doi:10.1109/TPAMI.2015.2481418)."""

from __future__ import annotations

from deconvnet.backend import Array, array_module
from deconvnet.layers.base import Layer

__all__ = ["Tanh", "tanh", "tanh_backward"]


def tanh(x: Array) -> Array:
    """``tanh(x)`` element-wise.

    Parameters
    ----------
    x : real array, any shape

    Returns
    -------
    real array
        Shape and dtype of ``x``, values in [-1, 1].

    Notes
    -----
    Backward: ``dx = dy · (1 − y²)``, from the output alone.
    """
    return array_module(x).tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of the input of `tanh` from its *output* ``y``: ``dy · (1 − y²)``."""
    return dy * (1 - y * y)


class Tanh(Layer):
    """`tanh` as a layer."""

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """`tanh` of ``x``; the cache is the output."""
        y = tanh(x)
        return y, (y if train else None)

    def backward(self, dy: Array, y: Array) -> Array:
        """Gradient of the input."""
        return tanh_backward(dy, y)
