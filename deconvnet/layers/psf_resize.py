"""PSFs on coarser or finer pixels: what a PSF becomes when its picture is resampled by any factor."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.ops.resample import cubic

__all__ = ["psf_resize", "psf_resize_backward"]


@functools.lru_cache(maxsize=256)
def _weights(side_in, side_out, factor):
    """Matrix (side_out, side_in), float64, of one axis; the middle pixel stays the middle."""
    stretch = max(1.0, 1 / factor)  # as `resample` does it with the picture
    place_in, place_out = (np.arange(n) - n // 2 for n in (side_in, side_out))
    weights = cubic((place_out[:, None] / factor - place_in) / stretch) / (stretch * factor)
    weights[abs(weights) < 1e-12] = 0
    return weights


def psf_resize(psf: Array, factors: tuple[float, float], side: int) -> tuple[Array, tuple]:
    """PSFs for the pixels of a resampled picture.

    Parameters
    ----------
    psf : real array (B, k, k)
        Centre at ``k // 2``.
    factors : (float, float)
        Pixels of the new grid in one of the old, down and across.
    side : int
        Odd side of the new support in pixels. What is beyond it is lost.

    Returns
    -------
    array (B, side, side)
        Non-negative, of sum 1; a delta where nothing was left.
    cache : tuple
        What `psf_resize_backward` needs.

    Notes
    -----
    ``p = max(R psf Cᵀ, 0)``, divided by its sum s; R and C hold Keys' cubic at the distances of the pixels, widened
    where the grid becomes coarser. Backward: ``Δpsf = Rᵀ ([p > 0] · (Δ − Σ Δ·result) / s) C``. Unlike a resampling
    to whole sides this keeps the factor exact, so that a path's end lies where the picture's resampling takes it.
    """
    xp = array_module(psf)
    rows, columns = (xp.asarray(_weights(psf.shape[-1], side, f), dtype=psf.dtype) for f in factors)
    positive = xp.maximum(xp.matmul(xp.matmul(rows, psf), columns.T), 0)
    total = positive.sum(axis=(-2, -1), keepdims=True)
    empty = total <= 0
    total = xp.where(empty, 1, total).astype(psf.dtype)
    resized = positive / total
    resized[:, side // 2, side // 2] += empty[:, 0, 0]
    return resized, (resized, positive > 0, total, rows, columns)


def psf_resize_backward(dpsf: Array, cache: tuple) -> Array:
    """Gradient (B, k, k) of the PSFs that `psf_resize` was given."""
    resized, active, total, rows, columns = cache
    xp = array_module(dpsf)
    inner = (dpsf * resized).sum(axis=(-2, -1), keepdims=True)
    return xp.matmul(xp.matmul(rows.T, active * (dpsf - inner) / total), columns)
