"""Fused parameter updates: one pass over weights, gradients and moments instead of a dozen.

The updates are bound by memory bandwidth, so what counts is how often each array is read.
"""

from __future__ import annotations

import numba
import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = [
    "adam_step",
    "adam_step_cuda",
    "adam_step_numba",
    "adam_step_reference",
    "momentum_step",
    "momentum_step_cuda",
    "momentum_step_numba",
    "momentum_step_reference",
]


def adam_step_reference(value, grad, first, second, scale, rate, beta1, beta2, correction1, correction2, epsilon):
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


@numba.njit(parallel=True, cache=True, fastmath={"contract"})
def _adam(value, grad, first, second, scale, rate, beta1, beta2, correction1, correction2, epsilon):
    one = value.dtype.type(1)
    for i in numba.prange(value.size):
        g = grad[i] * scale
        first[i] = beta1 * first[i] + (one - beta1) * g
        second[i] = beta2 * second[i] + (one - beta2) * g * g
        value[i] -= rate * (first[i] / correction1) / (np.sqrt(second[i] / correction2) + epsilon)


def adam_step_numba(value, grad, first, second, *scalars):
    """CPU twin of `adam_step_reference`."""
    real = value.dtype.type
    _adam(value.reshape(-1), grad.reshape(-1), first.reshape(-1), second.reshape(-1), *(real(s) for s in scalars))


def _update_cuda(kernel, arrays, scalars):
    """Launch an update of contiguous arrays of equal shape, one thread per weight."""
    value = arrays[0]
    # A single number's gradient comes with one axis: making it contiguous gives it that.
    cuda.expect(**{f"array {i}": (a, value.shape or (1,) * a.ndim) for i, a in enumerate(arrays)})
    if not all(a.flags.c_contiguous for a in arrays):
        raise ValueError("weights and moments are updated in place and must be contiguous")
    arguments = [*(a.reshape(-1) for a in arrays), value.size, *scalars]
    cuda.launch("training/optimiser_steps", kernel, cuda.blocks(value.size, 256), 256, arguments, real=value.dtype)


def adam_step_cuda(value, grad, first, second, *scalars):
    """GPU twin of `adam_step_reference`; the arrays must be contiguous."""
    _update_cuda("adam_step", (value, array_module(grad).ascontiguousarray(grad), first, second), scalars)


def adam_step(value, grad, first, second, *scalars):
    """Production form for the arrays' device; see `adam_step_reference`."""
    numpy = array_module(value, grad) is np
    (adam_step_numba if numpy else adam_step_cuda)(value, grad, first, second, *scalars)


def momentum_step_reference(value, grad, velocity, scale, rate, momentum):
    """SGD with momentum in place: ``v ← momentum·v + scale·g``, ``value ← value − rate·v``."""
    velocity *= momentum
    velocity += scale * grad
    value -= rate * velocity


@numba.njit(parallel=True, cache=True, fastmath={"contract"})
def _momentum(value, grad, velocity, scale, rate, momentum):
    for i in numba.prange(value.size):
        velocity[i] = momentum * velocity[i] + scale * grad[i]
        value[i] -= rate * velocity[i]


def momentum_step_numba(value, grad, velocity, *scalars):
    """CPU twin of `momentum_step_reference`."""
    real = value.dtype.type
    _momentum(value.reshape(-1), grad.reshape(-1), velocity.reshape(-1), *(real(s) for s in scalars))


def momentum_step_cuda(value, grad, velocity, *scalars):
    """GPU twin of `momentum_step_reference`; the arrays must be contiguous."""
    _update_cuda("momentum_step", (value, array_module(grad).ascontiguousarray(grad), velocity), scalars)


def momentum_step(value, grad, velocity, *scalars):
    """Production form for the arrays' device; see `momentum_step_reference`."""
    numpy = array_module(value, grad) is np
    (momentum_step_numba if numpy else momentum_step_cuda)(value, grad, velocity, *scalars)
