"""Losses of a predicted patch or PSF against its truth; each returns the loss and its gradient at once.

A loss ends the forward pass and starts the backward pass, so the pair is one function here.
"""

from __future__ import annotations

from deconvnet.backend import Array, array_module

__all__ = ["clipped_squared_error", "log_squared_error", "relative_psf_error", "squared_error", "squared_psf_error"]


def squared_error(prediction: Array, truth: Array) -> tuple[Array, Array]:
    """Mean squared error ``mean (prediction − truth)²`` and its gradient.

    Parameters
    ----------
    prediction, truth : real array (B, ...)

    Returns
    -------
    loss : real array ()
    dprediction : real array (B, ...)

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = squared_error(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]))
    >>> float(loss), gradient.tolist()
    (2.0, [[0.0, 2.0]])
    """
    residual = prediction - truth
    return (residual * residual).mean(), residual * (2 / residual.size)


def clipped_squared_error(prediction: Array, truth: Array, bound: float = 1.0) -> tuple[Array, Array]:
    """`squared_error` of residuals clipped to ±bound: outliers have no gradient.

    Parameters
    ----------
    prediction, truth : real array (B, ...)
    bound : float
        In the unit of the prediction.

    Returns
    -------
    loss : real array ()
    dprediction : real array (B, ...)

    Notes
    -----
    The loss of Chakrabarti 2016, "A neural approach to blind motion deblurring", arXiv:1603.04771.
    """
    xp = array_module(prediction)
    residual = prediction - truth
    clipped = xp.clip(residual, -bound, bound)
    inside = abs(residual) <= bound
    return (clipped * clipped).mean(), clipped * inside * (2 / residual.size)


def log_squared_error(prediction: Array, truth: Array, floor: float = 3e-5) -> tuple[Array, Array]:
    """Mean over examples of ``½ log(MSE + floor)``: patches count by ratio, as they do in PSNR.

    Parameters
    ----------
    prediction, truth : real array (B, ...)
    floor : float
        Error below which an example hardly matters any more; 3e-5 is 45 dB.

    Returns
    -------
    loss : real array ()
    dprediction : real array (B, ...)

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


def relative_psf_error(psf: Array, truth: Array) -> tuple[Array, Array]:
    """Mean of ``‖psf − truth‖² / ‖truth‖²`` over the PSFs and its gradient.

    Parameters
    ----------
    psf, truth : real array (..., k, k)

    Returns
    -------
    loss : real array ()
    dpsf : real array (..., k, k)

    Notes
    -----
    The L2 loss on the PSF of Schuler et al. 2015, Sec. 3.3 (doi:10.1109/TPAMI.2015.2481418), relative to its energy.

    Examples
    --------
    >>> import numpy as np
    >>> delta = np.zeros((3, 3))
    >>> delta[1, 1] = 1
    >>> loss, gradient = relative_psf_error(np.zeros((3, 3)), delta)
    >>> float(loss), float(gradient[1, 1])
    (1.0, -2.0)
    """
    residual = psf - truth
    energy = (truth * truth).sum(axis=(-2, -1), keepdims=True)
    count = energy.size
    loss = ((residual * residual).sum(axis=(-2, -1), keepdims=True) / energy).mean()
    return loss, residual * (2 / count) / energy


def squared_psf_error(psf: Array, truth: Array) -> tuple[Array, Array]:
    """Mean of ``‖psf − truth‖²`` over the PSFs and its gradient: the loss of Schuler et al. 2015, Sec. 3.3.

    Parameters
    ----------
    psf, truth : real array (..., k, k)

    Returns
    -------
    loss : real array ()
    dpsf : real array (..., k, k)

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = squared_psf_error(np.zeros((2, 3, 3)), np.full((2, 3, 3), 1 / 9))
    >>> round(float(loss), 4), round(float(gradient[0, 1, 1]), 4)
    (0.1111, -0.1111)
    """
    residual = psf - truth
    count = residual.size // (residual.shape[-2] * residual.shape[-1])
    return (residual * residual).sum() / count, residual * (2 / count)
