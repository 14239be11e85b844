"""Losses of a predicted patch or PSF against its truth; each returns the loss and its gradient at once.

A loss ends the forward pass and starts the backward pass, so the pair is one function here.
"""

from __future__ import annotations

from deconvnet.backend import array_module

__all__ = ["clipped_squared_error", "log_squared_error", "relative_psf_error", "squared_error"]


def squared_error(prediction, truth):
    """Mean squared error ``mean (prediction − truth)²`` and its gradient.

    Parameters
    ----------
    prediction, truth : array (B, ...)

    Returns
    -------
    loss : float array ()
    dprediction : array, shape of ``prediction``
    """
    residual = prediction - truth
    return (residual * residual).mean(), residual * (2 / residual.size)


def clipped_squared_error(prediction, truth, bound=1.0):
    """`squared_error` of residuals clipped to ±bound (Chakrabarti 2016): outliers have no gradient."""
    xp = array_module(prediction)
    residual = prediction - truth
    clipped = xp.clip(residual, -bound, bound)
    inside = abs(residual) <= bound
    return (clipped * clipped).mean(), clipped * inside * (2 / residual.size)


def log_squared_error(prediction, truth, floor=3e-5):
    """Mean over examples of ``½ log(MSE + floor)``: patches count by ratio, as they do in PSNR.

    Parameters
    ----------
    prediction, truth : array (B, ...)
    floor : float
        Error below which an example hardly matters any more; 3e-5 is 45 dB.

    Returns
    -------
    loss : float array ()
    dprediction : array, shape of ``prediction``

    Notes
    -----
    With the plain mean a few contrasty patches own the gradient. d/dp ½ log(m + c) = r / (n (m + c)).
    """
    xp = array_module(prediction)
    residual = prediction - truth
    axes = tuple(range(1, residual.ndim))
    error = (residual * residual).mean(axis=axes, keepdims=True) + floor
    per_example = residual.size // residual.shape[0]
    loss = 0.5 * xp.log(error).mean()
    return loss, residual / (error * (per_example * residual.shape[0]))


def relative_psf_error(psf, truth):
    """Mean of ``‖psf − truth‖² / ‖truth‖²`` over the PSFs and its gradient (Schuler et al. 2015, L2 on the PSF).

    Parameters
    ----------
    psf, truth : array (..., k, k)

    Returns
    -------
    loss : float array ()
    dpsf : array (..., k, k)
    """
    residual = psf - truth
    energy = (truth * truth).sum(axis=(-2, -1), keepdims=True)
    count = energy.size
    loss = ((residual * residual).sum(axis=(-2, -1), keepdims=True) / energy).mean()
    return loss, residual * (2 / count) / energy
