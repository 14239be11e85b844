"""Fully connected layers: one row at a time (`Dense`), and across the frames of a burst (`BurstDense`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.layers.base import Layer, Parameter

__all__ = ["BurstDense", "Dense", "burst_dense", "burst_dense_backward", "dense", "dense_backward", "sum_of_rows"]


def dense(x: Array, weight: Array, bias: Array) -> Array:
    """``x @ weight + bias``.

    Parameters
    ----------
    x : real array (..., fan_in)
    weight : real array (fan_in, fan_out)
    bias : real array (fan_out,)

    Returns
    -------
    real array (..., fan_out)

    Notes
    -----
    Backward, with rows of ``x`` and ``dy``: ``dx = dy @ weightᵀ``, ``dweight = xᵀ @ dy``, ``dbias = Σ dy``.

    Examples
    --------
    >>> import numpy as np
    >>> dense(np.array([1.0, 2.0]), np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]]), np.array([0.5, 0.5, 0.5]))
    array([ 1.5,  2.5, 11.5])
    """
    y = x.reshape(-1, x.shape[-1]) @ weight  # one large matrix product, whatever the leading axes
    y += bias
    return y.reshape(*x.shape[:-1], weight.shape[1])


def dense_backward(dy: Array, x: Array, weight: Array, *, need_dx: bool = True) -> tuple[Array, Array, Array]:
    """Gradients ``(dx, dweight, dbias)`` of `dense`; ``dx`` is None unless needed."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dx = (drows @ weight.T).reshape(x.shape) if need_dx else None
    return dx, rows.T @ drows, sum_of_rows(drows)


def sum_of_rows(rows: Array) -> Array:
    """``rows.sum(axis=0)`` of a matrix (M, N), as a product with ones: several times faster where M is large."""
    return array_module(rows).ones(len(rows), rows.dtype) @ rows


def burst_dense(x: Array, own: Array, pooled: Array, bias: Array) -> Array:
    """Permutation-equivariant dense layer over a burst: ``x_i @ own + mean_j(x_j) @ pooled + bias``.

    Parameters
    ----------
    x : real array (B, N, fan_in)
        One row per frame, any number N of frames.
    own, pooled : real array (fan_in, fan_out)
        Weights of the frame's own row and of the mean row of its burst.
    bias : real array (fan_out,)

    Returns
    -------
    real array (B, N, fan_out)

    Notes
    -----
    The mean row is multiplied once per burst, not once per frame, so the layer costs little more than `dense`.
    Backward: that of `dense` for the frame's own row, and ``mean_j(dy_j) @ pooledᵀ`` more for each.
    """
    y = (x.reshape(-1, x.shape[-1]) @ own).reshape(*x.shape[:-1], own.shape[1])
    y += (x.mean(axis=1) @ pooled + bias)[:, None, :]
    return y


def burst_dense_backward(
    dy: Array, x: Array, own: Array, pooled: Array, *, need_dx: bool = True
) -> tuple[Array, Array, Array, Array]:
    """Gradients ``(dx, down, dpooled, dbias)`` of `burst_dense`; ``dx`` is None unless needed."""
    dx, down, dbias = dense_backward(dy, x, own, need_dx=need_dx)
    dsum = dy.sum(axis=1)  # (B, fan_out)
    dpooled = x.mean(axis=1).T @ dsum
    if need_dx:
        dx += (dsum @ pooled.T)[:, None, :] / x.shape[1]
    return dx, down, dpooled, dbias


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: DTypeLike) -> np.ndarray:
    return (std * rng.standard_normal(shape, dtype=np.float32)).astype(dtype)


class Dense(Layer):
    """Fully connected layer.

    Parameters
    ----------
    fan_in, fan_out : int
    rng : numpy.random.Generator
        Weights start normal with standard deviation ``gain / sqrt(fan_in)``, the bias at zero.
    gain : float
        √2 (He) keeps the variance through a ReLU; 1/√2 is the narrower start of the networks of Wieschollek et al.
        2016 (doi:10.1007/978-3-319-54190-7_3); 0 gives a layer that starts as a constant.
    dtype : numpy dtype
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        rng: np.random.Generator,
        *,
        gain: float = 2**0.5,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.weight = Parameter(_normal(rng, (fan_in, fan_out), gain / fan_in**0.5, dtype))
        self.bias = Parameter(np.zeros(fan_out, dtype=dtype))

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """Rows (..., fan_out) of rows ``x (..., fan_in)``; the cache is ``x``."""
        return dense(x, self.weight.value, self.bias.value), (x if train else None)

    def backward(self, dy: Array, x: Array, *, need_dx: bool = True) -> Array:
        """Gradient of the rows; None unless needed."""
        dx, dweight, dbias = dense_backward(dy, x, self.weight.value, need_dx=need_dx)
        self.weight.grad += dweight
        self.bias.grad += dbias
        return dx


class BurstDense(Layer):
    """`burst_dense` as a layer; parameters as for `Dense`."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        rng: np.random.Generator,
        *,
        gain: float = 2**0.5,
        dtype: DTypeLike = np.float32,
    ) -> None:
        # The two weights share the variance that one would have had.
        std = gain / (2 * fan_in) ** 0.5
        self.own = Parameter(_normal(rng, (fan_in, fan_out), std, dtype))
        self.pooled = Parameter(_normal(rng, (fan_in, fan_out), std, dtype))
        self.bias = Parameter(np.zeros(fan_out, dtype=dtype))

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """Rows (B, N, fan_out) of rows ``x (B, N, fan_in)``; the cache is ``x``."""
        return burst_dense(x, self.own.value, self.pooled.value, self.bias.value), (x if train else None)

    def backward(self, dy: Array, x: Array, *, need_dx: bool = True) -> Array:
        """Gradient of the rows; None unless needed."""
        dx, down, dpooled, dbias = burst_dense_backward(dy, x, self.own.value, self.pooled.value, need_dx=need_dx)
        self.own.grad += down
        self.pooled.grad += dpooled
        self.bias.grad += dbias
        return dx
