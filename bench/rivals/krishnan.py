"""Krishnan, Tay & Fergus 2011, "Blind deconvolution using a normalized sparsity measure".

CVPR 2011, doi:10.1109/CVPR.2011.5995521.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft

from bench.rivals.steps import Level, centred, coarse_to_fine, correlations, finished, least_squares_psf
from deconvnet.backend import Array
from deconvnet.ops.differences import differences

__all__ = ["krishnan_psf", "normalized_sparsity", "shrunk"]

#: Weight λ of the misfit, and ψ of the l1 norm of the PSF.
DATA_WEIGHT, PSF_WEIGHT = 8.0, 0.1
#: Norm that the blurry gradients of each direction are given, and the step of the shrinkage that goes with it.
NORM, STEP = 6.0, 0.9
#: Alternations on each level; weights of the l1 norm, and shrinkages for each, in one of them.
ALTERNATIONS, OUTER, INNER = 21, 2, 2
#: Conjugate gradients for a PSF, and the share of its maximum below which it is cut in the end.
PSF_STEPS, THRESHOLD = 30, 0.05


def normalized_sparsity(x: Array) -> float:
    """``‖x‖₁ / ‖x‖₂`` of gradients: smaller for sharp pictures than for blurry ones, whatever their contrast."""
    return float(abs(x).sum() / np.sqrt((x**2).sum()))


def shrunk(x: Array, by: float) -> Array:
    """``sign(x) max(|x| − by, 0)``."""
    return np.sign(x) * np.maximum(abs(x) - by, 0)


def _sharper(x: Array, y_hat: Array, otf: Array, shape: tuple[int, ...]) -> Array:
    """Gradients with a smaller λ‖k ∗ x − y‖² + ‖x‖₁/‖x‖₂: shrinkage with ‖x‖₂ held, and set anew."""
    for _ in range(OUTER):
        weight = DATA_WEIGHT * max(NORM, float(np.sqrt((x**2).sum())))  # the problem times ‖x‖₂
        for _ in range(INNER):
            slope = scipy.fft.irfft2(otf.conj() * (otf * scipy.fft.rfft2(x) - y_hat), shape)
            x = shrunk(x - STEP * slope, STEP / weight)
    return x


def _of_norm(x: Array) -> Array:
    return x * (NORM / np.sqrt((x**2).sum(axis=(1, 2), keepdims=True)))


def krishnan_psf(blurry: Array, size: int) -> Array:
    """The PSF of a photo by the normalised sparsity of its gradients.

    Parameters
    ----------
    blurry : float array (H, W)
        Luminance in [0, 1], at least twice the PSF on each side.
    size : int
        Odd side k of the PSF.

    Returns
    -------
    float array (k, k)
        Non-negative, of sum 1.

    Notes
    -----
    ``min λ‖k ∗ x − y‖² + ‖x‖₁/‖x‖₂ + ψ‖k‖₁`` over the gradients x of the sharp picture and k ≥ 0 of sum 1 (their
    Eq. (3)); y are the gradients of the blurry one. Alternately, from coarse to fine by √2: x by iterative shrinkage
    with the norm ‖x‖₂ of the time before in the weight (their Algorithms 2 and 3), k by reweighted least squares
    without its constraints, which are put on afterwards. The weights are chosen here; gradients are
    periodic differences of the continued picture, and faded before the least squares.
    """
    psf = x = before = None
    for level, enlarged in coarse_to_fine(blurry, size):
        y = _of_norm(np.stack(differences(level.y)))
        if before is None:
            psf = np.zeros((level.side, level.side), blurry.dtype)
            psf[level.side // 2, level.side // 2 : level.side // 2 + 2] = 0.5
            x = y
        else:
            psf = enlarged(psf, True)
            x = _continued(enlarged, x, before.shape, level)
        psf, x = _alternate(level, psf, x, y)
        before = level
    return centred(finished(psf, THRESHOLD))


def _continued(enlarged: Callable[[Array, bool], Array], x: Array, shape: tuple[int, ...], level: Level) -> Array:
    """Gradients of the level before, a picture of this shape there, on this one; beyond it those of the blurry one."""
    found = np.stack(differences(level.y))
    height, width = shape
    inside = np.stack([enlarged(part[:height, :width], False) for part in x])
    found[:, : level.shape[0], : level.shape[1]] = inside
    return _of_norm(found)


def _alternate(level: Level, psf: Array, x: Array, y: Array) -> tuple[Array, Array]:
    y_hat, faded = scipy.fft.rfft2(y), level.faded(y)
    for _ in range(ALTERNATIONS):
        x = _sharper(x, y_hat, level.otf(psf), level.grid)
        own, cross = correlations(level.faded(x), faded, level.side)
        weights = PSF_WEIGHT / np.maximum(psf, 1e-4)
        psf = finished(least_squares_psf(own, cross, psf, weights, PSF_STEPS), 0).astype(y.dtype)
    return centred(psf), x
