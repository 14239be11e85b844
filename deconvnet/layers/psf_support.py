"""From the raw quotient to a PSF: crop to the support, clip, normalise.

Schuler et al. 2015, Sec. 3.1.2, doi:10.1109/TPAMI.2015.2481418.
"""

from __future__ import annotations

from typing import Any

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer

__all__ = ["PsfSupport", "psf_support", "psf_support_backward"]


def _around_origin(xp: Any, side: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column indices of the support on a periodic grid whose origin is at (0, 0)."""
    offset = xp.arange(side) - side // 2
    return (offset % shape[0])[:, None], (offset % shape[1])[None]


def psf_support(z: Array, side: int) -> tuple[Array, tuple]:
    """PSFs out of raw estimates: cropped around the origin, non-negative, with sum 1.

    Parameters
    ----------
    z : real array (B, H, W)
        Raw estimates on a periodic grid, origin at (0, 0), as `deconvnet.layers.quotient.quotient` gives them.
    side : int
        Side of the PSF's support in pixels.

    Returns
    -------
    psf : real array (B, side, side)
        Centre at ``(side // 2, side // 2)``. Where nothing in the support is positive, no blur at all: a delta.
    cache : tuple
        What `psf_support_backward` needs.

    Raises
    ------
    DeconvnetError
        If the grid is smaller than the support.

    Notes
    -----
    With c the crop, p = max(c, 0) and s = Σ p: psf = p / s, and backward Δc = [c > 0] · (Δ − Σ Δ·psf) / s.
    """
    xp = array_module(z)
    if min(z.shape[-2:]) < side:
        raise DeconvnetError(
            f"feature images of {z.shape[-2]}×{z.shape[-1]} pixels are smaller than the PSF of {side}: "
            "use a larger image"
        )
    positive = xp.maximum(z[(slice(None), *_around_origin(xp, side, z.shape[-2:]))], 0)
    total = positive.sum(axis=(-2, -1), keepdims=True)
    empty = total <= 0
    total = xp.where(empty, 1, total).astype(z.dtype)
    psf = positive / total
    psf[:, side // 2, side // 2] += empty[:, 0, 0]
    return psf, (psf, positive > 0, total, z.shape)


def psf_support_backward(dpsf: Array, cache: tuple) -> Array:
    """Gradient (B, H, W) of the raw estimates; clipped values and all outside the support get none."""
    psf, active, total, shape = cache
    xp = array_module(dpsf)
    inner = (dpsf * psf).sum(axis=(-2, -1), keepdims=True)
    dz = xp.zeros(shape, dtype=dpsf.dtype)
    dz[(slice(None), *_around_origin(xp, psf.shape[-1], shape[-2:]))] = active * (dpsf - inner) / total
    return dz


class PsfSupport(Layer):
    """`psf_support` as a layer.

    Parameters
    ----------
    side : int
        Side of the PSF's support in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def forward(self, z: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """PSFs (B, side, side) of raw estimates ``z (B, H, W)``."""
        psf, cache = psf_support(z, self.side)
        return psf, (cache if train else None)

    def backward(self, dpsf: Array, cache: tuple) -> Array:
        """Gradient (B, H, W) of the raw estimates."""
        return psf_support_backward(dpsf, cache)
