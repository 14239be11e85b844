"""The quotient layer (Schuler et al. 2015, Sec. 3.1.2 and Appendix A): regularised division of spectra.

It estimates a PSF from pairs of feature images, a latent image from a PSF and a blurry image, and a
latent image from several frames and their PSFs: the same formula every time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward, to_host
from deconvnet.kernels.photo.psf_quotient import psf_quotient
from deconvnet.kernels.photo.quotient import quotient_spectrum, quotient_spectrum_backward
from deconvnet.layers.base import Layer, Parameter

__all__ = ["Quotient", "quotient", "quotient_backward"]


def _flat_beta(xp, beta, like, size):
    """β as (1 or B, F): from a scalar, one value per frequency, or one per example and frequency."""
    beta = xp.asarray(beta, dtype=like.real.dtype)
    if beta.ndim == 0:
        return xp.full((1, size), beta, dtype=beta.dtype)
    return xp.ascontiguousarray(beta.reshape(-1, size))


def quotient(x: Array, y: Array, beta: Array | float) -> tuple[Array, tuple]:
    """``z = F⁻¹[ Σ_m conj(F x_m) · F y_m / ( Σ_m |F x_m|² + β ) ]``.

    Parameters
    ----------
    x, y : real array (B, M, H, W)
        M pairs of images of equal size; borders are taken as periodic.
    beta : float, or real array (H, W//2+1) or (B, H, W//2+1)
        Positive regulariser: scalar, per frequency, or per example and frequency.

    Returns
    -------
    z : real array (B, H, W)
        Its origin is at index (0, 0).
    cache : tuple
        What `quotient_backward` needs.

    Notes
    -----
    With X, Y the spectra, D the denominator and Z the quotient, and G the gradient of Z:
    ΔX_m = conj(G) Y_m / D − 2 Re(conj(G) Z) X_m / D,  ΔY_m = G X_m / D,  Δβ = −Re(conj(G) Z) / D
    (Schuler et al. 2015, Appendix A).

    Examples
    --------
    The PSF that blurred a picture, here a shift by two pixels to the right:

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((1, 1, 8, 8))
    >>> z, _ = quotient(x, np.roll(x, 2, axis=-1), 1e-9)
    >>> np.argwhere(z[0] > 0.5).tolist(), float(z.sum().round(3))
    ([[0, 2]], 1.0)
    """
    xp = array_module(x, y)
    batch, pairs, height, width = x.shape
    half = height * (width // 2 + 1)
    x_hat = rfft2(x).reshape(batch, pairs, half)
    y_hat = rfft2(y).reshape(batch, pairs, half)
    z_hat, denominator = quotient_spectrum(x_hat, y_hat, _flat_beta(xp, beta, x_hat, half))
    z = irfft2(z_hat.reshape(batch, height, width // 2 + 1), (height, width))
    return z, (x_hat, y_hat, z_hat, denominator, (height, width), beta)


def quotient_backward(dz: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Gradients ``(dx, dy, dbeta)`` of `quotient`; ``dbeta`` has the shape of ``beta``."""
    x_hat, y_hat, z_hat, denominator, shape, beta = cache
    xp = array_module(dz)
    batch, pairs, half = x_hat.shape
    dz_hat = irfft2_backward(dz).reshape(batch, half)
    dx_hat, dy_hat, dbeta = quotient_spectrum_backward(dz_hat, x_hat, y_hat, z_hat, denominator)
    grid = (batch, pairs, shape[0], shape[1] // 2 + 1)
    dx = rfft2_backward(dx_hat.reshape(grid), shape)
    dy = rfft2_backward(dy_hat.reshape(grid), shape)
    beta = xp.asarray(beta)
    if beta.ndim == 0:
        dbeta = dbeta.sum()
    elif beta.ndim == 2:
        dbeta = dbeta.sum(axis=0).reshape(beta.shape)
    else:
        dbeta = dbeta.reshape(beta.shape)
    return dx, dy, dbeta


class Quotient(Layer):
    """`quotient` as a layer with a learned or fixed regulariser.

    Parameters
    ----------
    beta : float or array (H, W//2+1)
        Start of the regulariser. A learned one is stored as log β, so that it stays positive.
    learned : bool
    dtype : numpy dtype
    """

    def __init__(self, beta: Array | float, *, learned: bool = False, dtype: Any = "float32") -> None:
        value = np.asarray(beta, dtype=dtype)
        if learned:
            self.log_beta = Parameter(np.log(value))
        else:
            self.fixed_beta = value
        self.learned = learned

    def forward(self, x: Array, y: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        z, cache = quotient(x, y, self._beta(array_module(x, y)))
        return z, (cache if train else None)

    def middle(self, maps: Array, window: tuple[Array, Array], grid: tuple[int, int], side: int) -> Array:
        """What `forward` gives around the origin, for faded images that are continued with zeros; without training.

        Parameters
        ----------
        maps : real array (B, 2M, H, W)
            The x_m, then the y_m.
        window : (real array (H,), real array (W,))
            Factors of the window that they are multiplied by.
        grid : (int, int)
            Size to which they are continued.
        side : int
            Odd side of what is wanted. β must be a scalar.

        Returns
        -------
        real array (B, side, side)
            Its origin is at index (0, 0).
        """
        return psf_quotient(maps, *window, tuple(grid), self.beta, side)

    @property
    def beta(self) -> float:
        """The regulariser, where it is a single number."""
        return float(np.exp(to_host(self.log_beta.value)) if self.learned else self.fixed_beta)

    def _beta(self, xp):
        return xp.exp(self.log_beta.value) if self.learned else self.fixed_beta

    def backward(self, dz: Array, cache: tuple) -> tuple[Array, Array]:
        dx, dy, dbeta = quotient_backward(dz, cache)
        if self.learned:
            self.log_beta.grad += dbeta * cache[-1]  # d log β = β dβ
        return dx, dy
