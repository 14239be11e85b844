"""Checks for people who add layers: `gradcheck`, `dottest`, and one tolerance table by dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module, to_host
from deconvnet.layers.base import Layer

__all__ = ["TOLERANCE", "dottest", "gradcheck"]

#: Relative error that two ways to the same result may differ by.
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-10, "complex128": 1e-10}


def _random_like(rng: np.random.Generator, a: Array) -> Array:
    xp = array_module(a)
    noise = rng.standard_normal(a.shape)
    if a.dtype.kind == "c":
        noise = noise + 1j * rng.standard_normal(a.shape)
    return xp.asarray(noise, dtype=a.dtype)


def _inner(a: Array, b: Array) -> float:
    """Real inner product; for complex arrays Re Σ conj(a) b."""
    return float(np.real(np.vdot(to_host(a), to_host(b))))


def dottest(
    forward: Callable[[Array], Array], adjoint: Callable[[Array], Array], x: Array, y: Array, *, rtol: float = 1e-10
) -> float:
    """Assert ``<forward(x), y> == <x, adjoint(y)>`` for a linear operator and its adjoint.

    Parameters
    ----------
    forward, adjoint : callable
        One array in, one array out.
    x, y : float or complex array (...)
        Any element of the domain and of the range; random ones find more mistakes than ones.
    rtol : float
        Relative difference allowed.

    Returns
    -------
    float
        The relative difference found.

    Raises
    ------
    AssertionError
        If the two inner products differ by more.

    Examples
    --------
    >>> import numpy as np
    >>> from deconvnet.backend import rfft2, rfft2_backward
    >>> x, y = np.ones((4, 5)), np.full((4, 3), 1 + 2j)
    >>> dottest(rfft2, lambda y: rfft2_backward(y, (4, 5)), x, y) < 1e-10
    True
    """
    left, right = _inner(forward(x), y), _inner(x, adjoint(y))
    error = abs(left - right) / max(abs(left), abs(right), 1e-300)
    assert error <= rtol, (
        f"not adjoint: <Ax, y> = {left:.12g}, <x, A'y> = {right:.12g}, relative difference {error:.2e}"
    )
    return error


def gradcheck(
    layer: Layer | tuple[Callable[..., Any], Callable[..., Any]],
    *inputs: Array,
    rng: np.random.Generator | None = None,
    step: float = 1e-5,
    rtol: float = 1e-6,
    checks: int = 2,
    differentiable: Sequence[bool] | None = None,
    **kwargs: Any,
) -> float:
    """Check a hand-written ``backward`` against central differences in float64.

    Parameters
    ----------
    layer : Layer, or pair of callables
        A layer (its parameters are checked too), or ``(forward, backward)`` with the same calling
        convention: ``forward(*inputs, train=True) -> (output, cache)`` and
        ``backward(doutput, cache) -> gradients of the inputs``.
    *inputs : float64 or complex128 array (...)
        Complex gradients follow ``∂L/∂Re + i ∂L/∂Im``.
    rng : numpy.random.Generator, optional
        Source of the cotangent and of the directions (both random: all-ones hides errors).
    step : float
        Half width of the central difference, relative to unit-norm-per-element directions.
    rtol : float
        Relative error allowed.
    checks : int
        Random directions per input and per parameter.
    differentiable : sequence of bool, optional
        Which inputs have a gradient; all by default.
    **kwargs
        Passed to ``forward``.

    Returns
    -------
    float
        The largest relative error found.

    Raises
    ------
    AssertionError
        If a gradient is off, naming the input or parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from deconvnet.layers.tanh import Tanh
    >>> gradcheck(Tanh(), np.linspace(-1, 1, 5)) < 1e-6
    True
    """
    rng = np.random.default_rng(0) if rng is None else rng
    inputs = tuple(a.copy() for a in inputs)  # moved to and fro below
    forward, backward = (layer.forward, layer.backward) if isinstance(layer, Layer) else layer
    parameters = layer.parameters() if isinstance(layer, Layer) else {}
    flags = [True] * len(inputs) if differentiable is None else list(differentiable)
    for a in [*inputs, *(p.value for p in parameters.values())]:
        assert a.dtype in (np.float64, np.complex128), f"gradcheck needs float64, got {a.dtype}"

    out, cache = forward(*inputs, train=True, **kwargs)
    cotangent = _random_like(rng, out)
    for p in parameters.values():
        p.grad[...] = 0
    gradients = backward(cotangent, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    targets = [(f"input {i}", a, g) for i, (a, g, ok) in enumerate(zip(inputs, gradients, flags)) if ok]
    targets += [(name, p.value, p.grad.copy()) for name, p in parameters.items()]

    def loss() -> float:
        return _inner(cotangent, forward(*inputs, train=False, **kwargs)[0])

    scale = np.sqrt(sum(_inner(g, g) for _, _, g in targets)) or 1.0
    worst = 0.0
    for name, a, gradient in targets:
        assert gradient.shape == a.shape, f"gradient of {name} is {gradient.shape}, expected {a.shape}"
        original = a.copy()
        for _ in range(checks):
            direction = _random_like(rng, a)
            a[...] = original + step * direction
            plus = loss()
            a[...] = original - step * direction
            minus = loss()
            a[...] = original
            numeric, analytic = (plus - minus) / (2 * step), _inner(gradient, direction)
            # Relative to this gradient's own size; a gradient that is zero is held against the others.
            size = max(abs(numeric), abs(analytic), 1e-3 * np.sqrt(_inner(gradient, gradient)), 1e-9 * scale)
            error = abs(numeric - analytic) / size
            worst = max(worst, error)
            assert error <= rtol, (
                f"gradient of {name}: analytic {analytic:.10g}, numeric {numeric:.10g}, relative error {error:.2e}"
            )
    return worst
