"""PSFs out of networks: a softmax over the support, and the transform of a small PSF on a larger grid."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import array_module
from deconvnet.layers.base import Layer

__all__ = ["PsfSoftmax", "psf_softmax", "psf_softmax_backward", "psf_to_otf", "psf_to_otf_backward"]


def psf_softmax(logits, side):
    """Softmax over the support: non-negative PSFs that sum to 1.

    Parameters
    ----------
    logits : array (..., side²)
    side : int

    Returns
    -------
    array (..., side, side)
    """
    xp = array_module(logits)
    psf = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    psf /= psf.sum(axis=-1, keepdims=True)
    return psf.reshape(*logits.shape[:-1], side, side)


def psf_softmax_backward(dpsf, psf):
    """Gradient of the logits: ``psf · (dpsf − Σ psf·dpsf)``, flattened to (..., side²)."""
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

    def __init__(self, side):
        self.side = side

    def forward(self, logits, *, train=False):
        psf = psf_softmax(logits, self.side)
        return psf, (psf if train else None)

    def backward(self, dpsf, psf):
        return psf_softmax_backward(dpsf, psf)


@functools.cache
def _dft_factors(side, shape, dtype):
    """Column factor (H, side) and row factor (side, W//2+1) of the DFT of a centred small array."""
    height, width = shape
    place = np.arange(side) - side // 2  # the centre of the PSF is the origin of the transform
    columns = np.exp(-2j * np.pi * np.outer(np.arange(height), place) / height)
    rows = np.exp(-2j * np.pi * np.outer(place, np.arange(width // 2 + 1)) / width)
    return columns.astype(dtype), rows.astype(dtype)


def _factors_like(psf, side, shape):
    xp = array_module(psf)
    dtype = np.complex64 if psf.dtype in (np.float32, np.complex64) else np.complex128
    columns, rows = _dft_factors(side, tuple(shape), dtype)
    return xp, xp.asarray(columns), xp.asarray(rows)


def psf_to_otf(psf, shape):
    """Half spectrum, on a grid of ``shape``, of a PSF whose centre becomes the origin.

    Parameters
    ----------
    psf : array (..., side, side)
    shape : (int, int)
        Height and width of the grid, at least ``side``.

    Returns
    -------
    complex array (..., H, W//2 + 1)

    Notes
    -----
    Two small matrix products instead of a zero-padded FFT: most of the padded grid is zero.
    """
    side = psf.shape[-1]
    xp, columns, rows = _factors_like(psf, side, shape)
    # Real times complex as one real product on the interleaved parts.
    half = xp.matmul(psf.reshape(-1, side), rows.view(psf.dtype).reshape(side, -1)).view(rows.dtype)
    half = half.reshape(-1, side, rows.shape[1])
    return xp.matmul(columns, half).reshape(*psf.shape[:-2], *columns.shape[:1], rows.shape[1])


def psf_to_otf_backward(dotf, side, shape):
    """Adjoint of `psf_to_otf`: gradient (..., side, side) from ``∂L/∂Re + i ∂L/∂Im``."""
    xp, columns, rows = _factors_like(dotf, side, shape)
    dhalf = xp.matmul(columns.conj().T, dotf)  # (..., side, W//2+1)
    flat = xp.ascontiguousarray(dhalf).view(rows.real.dtype).reshape(-1, 2 * rows.shape[1])
    dpsf = xp.matmul(flat, xp.ascontiguousarray(rows.view(rows.real.dtype).reshape(side, -1).T))
    return dpsf.reshape(*dotf.shape[:-2], side, side)
