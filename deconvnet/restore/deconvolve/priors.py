"""The sparse prior on gradients, ``Σ |∇x|^0.8``, and the step of half-quadratic splitting that it asks for."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.table_shrinkage import table_shrinkage

__all__ = ["ALPHA", "CONTINUATION", "DATA_WEIGHT", "shrink_hyper_laplacian", "sparse_divergence"]

#: Exponent of the hyper-Laplacian prior.
ALPHA = 0.8
#: Weight of the data term times the noise variance.
DATA_WEIGHT = 0.2
#: Weights that draw the auxiliary gradients to those of the picture, one after the other.
CONTINUATION = (4.0, 16.0, 64.0, 256.0)
#: Entries of the table of the shrinkage for each unit, and where it ends.
RESOLUTION, TABLE_END = 64, 256


def _threshold(alpha: float) -> float:
    """Least |v|, in units of ``beta^(−1/(2 − alpha))``, for which the minimum of `shrink_hyper_laplacian` is not 0."""
    smallest = (2 * (1 - alpha)) ** (1 / (2 - alpha))
    return smallest + alpha * smallest ** (alpha - 1)


def shrink_hyper_laplacian(v: Array, beta: float, alpha: float = ALPHA, steps: int = 3) -> Array:
    """Minimise ``|w|^alpha + beta/2 (w − v)²`` for every element.

    Parameters
    ----------
    v : float array
    beta : float
        Positive weight of the quadratic term.
    alpha : float
        Exponent in (0, 1).
    steps : int
        Newton steps.

    Returns
    -------
    array
        w; same shape and dtype.

    Notes
    -----
    With ``s = beta^(−1/(2 − alpha))``, w/s depends on v/s only. For ``|v/s|`` below a threshold the minimum is at 0;
    above, it is the larger root of ``w + alpha w^(alpha − 1) = v`` (in units of s), a convex increasing function
    there, which Newton's steps from ``w = v`` approach from one side. `sparse_divergence` has a table.
    """
    xp = array_module(v)
    scale = v.dtype.type(beta ** (-1 / (2 - alpha)))
    w = xp.zeros_like(v)
    kept = xp.abs(v) > _threshold(alpha) * scale
    target = xp.abs(v[kept]) / scale
    root = target.copy()
    for _ in range(steps):
        power = alpha * root ** v.dtype.type(alpha - 1)
        root -= (root + power - target) / (1 + (alpha - 1) * power / root)
    w[kept] = xp.copysign(root * scale, v[kept])
    return w


@functools.cache
def _table() -> np.ndarray:
    """What |v| from the threshold on is shrunk to, in units of the scale, float64."""
    v = _threshold(ALPHA) + np.arange(RESOLUTION * TABLE_END) / RESOLUTION
    v[0] *= 1 + 1e-12  # at the threshold itself, from above
    return shrink_hyper_laplacian(v, 1.0, steps=8)


def sparse_divergence(x: Array, beta: float) -> Array:
    """``∇ᵀw`` for the gradients w of an image, shrunk: ``w = argmin |w|^0.8 + beta/2 (w − ∇x)²``.

    Parameters
    ----------
    x : real array (H, W)
        Borders are periodic.
    beta : float

    Returns
    -------
    real array (H, W)

    Notes
    -----
    The shrinkage comes from a table with linear interpolation (Krishnan & Fergus 2009, "Fast image deconvolution using
    hyper-Laplacian priors", Sec. 3.2), exact to 1e-4 of ``beta^(−1/1.2)``.
    """
    table = array_module(x).asarray(_table(), dtype=x.dtype)
    return table_shrinkage(x, table, beta ** (-1 / (2 - ALPHA)), _threshold(ALPHA), RESOLUTION)
