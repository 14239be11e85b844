"""Fused parameter updates: one pass over weights, gradients and moments instead of a dozen.

The updates are bound by memory bandwidth, so what counts is how often each array is read.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks

__all__ = ["adam_step", "momentum_step"]

#: Weights of a chunk.
WEIGHTS = 1 << 17


def _adam_reference(
    value: Array,
    grad: Array,
    first: Array,
    second: Array,
    scale: float,
    rate: float,
    beta1: float,
    beta2: float,
    correction1: float,
    correction2: float,
    epsilon: float,
) -> None:
    """Adam (Kingma & Ba 2015) in place on ``value``, ``first`` and ``second``.

    Parameters
    ----------
    value, grad, first, second : real array, equal shapes
        Weights, their gradient, and its running first and second moments.
    scale : float
        Factor on the gradient (clipping).
    rate, beta1, beta2, epsilon : float
        Learning rate, decays of the moments, floor of the root.
    correction1, correction2 : float
        Bias corrections ``1 − betaᵗ``.
    """
    g = grad * scale
    first *= beta1
    first += (1 - beta1) * g
    second *= beta2
    second += (1 - beta2) * g * g
    value -= rate * (first / correction1) / ((second / correction2) ** 0.5 + epsilon)


@compiled(fastmath={"contract"})
def _adam(value, grad, first, second, scale, rate, beta1, beta2, correction1, correction2, epsilon, begin, end):
    one = value.dtype.type(1)
    # Parts that begin at index 0, and nothing stored before all is read: else numba asks for every index whether it is
    # negative, and for every store whether another array lies there, and finds no vectors.
    value, grad, first, second = value[begin:end], grad[begin:end], first[begin:end], second[begin:end]
    for i in range(value.size):
        g = grad[i] * scale
        mean = beta1 * first[i] + (one - beta1) * g
        power = beta2 * second[i] + (one - beta2) * g * g
        moved = value[i] - rate * (mean / correction1) / (np.sqrt(power / correction2) + epsilon)
        first[i] = mean
        second[i] = power
        value[i] = moved


def _adam_numba(value, grad, first, second, *scalars):
    """One pass."""
    arrays = (a.reshape(-1) for a in (value, grad, first, second))
    in_chunks(_adam, (*arrays, *map(value.dtype.type, scalars)), value.size, WEIGHTS)


def _update_cuda(kernel, arrays, scalars):
    """Launch an update of contiguous arrays of equal shape, one thread per weight."""
    value = arrays[0]
    # A single number's gradient comes with one axis: making it contiguous gives it that.
    cuda.expect(**{f"array {i}": (a, value.shape or (1,) * a.ndim) for i, a in enumerate(arrays)})
    if not all(a.flags.c_contiguous for a in arrays):
        raise ValueError("weights and moments are updated in place and must be contiguous")
    arguments = [*(a.reshape(-1) for a in arrays), value.size, *scalars]
    cuda.launch("training/optimiser_steps", kernel, cuda.blocks(value.size, 256), 256, arguments, real=value.dtype)


def _adam_cuda(value, grad, first, second, *scalars):
    """One thread per weight; the arrays must be contiguous."""
    _update_cuda("adam_step", (value, array_module(grad).ascontiguousarray(grad), first, second), scalars)


def _momentum_reference(value: Array, grad: Array, velocity: Array, scale: float, rate: float, momentum: float) -> None:
    """SGD with momentum in place: ``v ← momentum·v + scale·g``, ``value ← value − rate·v``.

    Parameters
    ----------
    value, grad, velocity : real array, equal shapes
        Weights, their gradient, and v.
    scale : float
        Factor on the gradient (clipping).
    rate, momentum : float
    """
    velocity *= momentum
    velocity += scale * grad
    value -= rate * velocity


@compiled(fastmath={"contract"})
def _momentum(value, grad, velocity, scale, rate, momentum, begin, end):
    value, grad, velocity = value[begin:end], grad[begin:end], velocity[begin:end]
    for i in range(value.size):
        moved = momentum * velocity[i] + scale * grad[i]
        left = value[i] - rate * moved
        velocity[i] = moved
        value[i] = left


def _momentum_numba(value, grad, velocity, *scalars):
    """One pass."""
    arrays = (a.reshape(-1) for a in (value, grad, velocity))
    in_chunks(_momentum, (*arrays, *map(value.dtype.type, scalars)), value.size, WEIGHTS)


def _momentum_cuda(value, grad, velocity, *scalars):
    """One thread per weight; the arrays must be contiguous."""
    _update_cuda("momentum_step", (value, array_module(grad).ascontiguousarray(grad), velocity), scalars)


adam_step = Kernel("adam_step", reference=_adam_reference, cpu=_adam_numba, cuda=_adam_cuda)
momentum_step = Kernel("momentum_step", reference=_momentum_reference, cpu=_momentum_numba, cuda=_momentum_cuda)
