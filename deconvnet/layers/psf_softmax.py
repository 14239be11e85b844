"""PSFs out of a network's logits: a softmax over the support."""

from __future__ import annotations

from deconvnet.backend import Array, array_module
from deconvnet.layers.base import Layer

__all__ = ["PsfSoftmax", "psf_softmax", "psf_softmax_backward"]


def psf_softmax(logits: Array, side: int) -> Array:
    """Softmax over the support: non-negative PSFs that sum to 1.

    Parameters
    ----------
    logits : real array (..., side²)
    side : int
        Side of the support in pixels.

    Returns
    -------
    real array (..., side, side)

    Notes
    -----
    Backward, with Δ the gradient of the PSF: ``psf · (Δ − Σ psf·Δ)``, from the output alone.
    """
    xp = array_module(logits)
    psf = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    psf /= psf.sum(axis=-1, keepdims=True)
    return psf.reshape(*logits.shape[:-1], side, side)


def psf_softmax_backward(dpsf: Array, psf: Array) -> Array:
    """Gradient (..., side²) of the logits from that of the PSF and the PSF itself, both (..., side, side)."""
    inner = (psf * dpsf).sum(axis=(-2, -1), keepdims=True)
    dlogits = psf * (dpsf - inner)
    return dlogits.reshape(*psf.shape[:-2], -1)


class PsfSoftmax(Layer):
    """`psf_softmax` as a layer.

    Parameters
    ----------
    side : int
        Side of the PSF's support in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def forward(self, logits: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        """PSFs (..., side, side) of ``logits (..., side²)``."""
        psf = psf_softmax(logits, self.side)
        return psf, (psf if train else None)

    def backward(self, dpsf: Array, psf: Array) -> Array:
        """Gradient (..., side²) of the logits."""
        return psf_softmax_backward(dpsf, psf)
