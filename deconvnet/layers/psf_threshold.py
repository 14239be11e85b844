"""A PSF without its faint pixels: a soft threshold, relative to the brightest one."""

from __future__ import annotations

from deconvnet.backend import Array, array_module

__all__ = ["psf_threshold", "psf_threshold_backward"]


def psf_threshold(psf: Array, share: float) -> tuple[Array, tuple]:
    """PSFs less a share of their maximum, non-negative, of sum 1.

    Parameters
    ----------
    psf : real array (B, k, k)
        Non-negative; need not have the sum 1.
    share : float
        In [0, 1): of the maximum.

    Returns
    -------
    array (B, k, k)
        Where a PSF is nothing but zeros, no blur at all: a delta, without a gradient.
    cache : tuple
        What `psf_threshold_backward` needs.

    Notes
    -----
    With m the maximum, q = max(psf − share·m, 0) and s = Σ q the result is r = q / s. Backward, with
    ``Δq = [q > 0] · (Δ − Σ Δ·r) / s``: Δpsf = Δq, at the maximum less ``share · Σ Δq``; ``Δshare = −m Σ Δq``.
    Where a support is much larger than the path in it, the many faint pixels of noise that a clip at zero leaves are
    together as bright as the path.
    """
    xp = array_module(psf)
    flat = psf.reshape(len(psf), -1)
    brightest = flat.argmax(axis=1)
    largest = flat[xp.arange(len(psf)), brightest]
    left = xp.maximum(flat - psf.dtype.type(share) * largest[:, None], 0)
    total = left.sum(axis=1, keepdims=True)
    empty = total <= 0
    total = xp.where(empty, 1, total).astype(psf.dtype)
    result = (left / total).reshape(psf.shape)
    result[:, psf.shape[1] // 2, psf.shape[2] // 2] += empty[:, 0]
    return result, (result, left > 0, total, largest, brightest, share)


def psf_threshold_backward(dpsf: Array, cache: tuple) -> tuple[Array, float]:
    """Gradients ``(dpsf, dshare)`` of `psf_threshold`, the second a float."""
    result, active, total, largest, brightest, share = cache
    xp = array_module(dpsf)
    inner = (dpsf * result).sum(axis=(-2, -1))[:, None]
    dleft = active * (dpsf.reshape(len(dpsf), -1) - inner) / total
    summed = dleft.sum(axis=1)
    dleft[xp.arange(len(dpsf)), brightest] -= dpsf.dtype.type(share) * summed
    return dleft.reshape(dpsf.shape), -float((largest * summed).sum())
