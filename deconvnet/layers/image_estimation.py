"""Image estimation (Schuler et al. 2015, Sec. 3.1.3): the latent image from the blurry one and a PSF.

It is the quotient layer again, with the PSF in the place of the sharp features; what is special is that the PSF is
small, that its gradient is what matters, and that the blurry image must be extended at its borders first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward
from deconvnet.kernels.photo.image_quotient import image_quotient, image_spectrum
from deconvnet.kernels.photo.quotient import quotient_spectrum, quotient_spectrum_backward
from deconvnet.layers.base import Layer, Parameter
from deconvnet.ops.border import extend_periodically, extend_periodically_backward, extended_shape
from deconvnet.ops.psf import psf_to_otf, psf_to_otf_backward

__all__ = ["ImageEstimation", "blurry_spectrum", "estimate_image", "estimate_image_backward"]


def blurry_spectrum(y: Array, margin: int) -> tuple[Array, tuple[int, int]]:
    """Half spectra of blurry images after their periodic extension, and the extended size.

    Parameters
    ----------
    y : real array (B, H, W)
    margin : int
        Pixels to add at least, as far as the images are that large.

    Returns
    -------
    y_hat : complex array (B, gh, gw//2 + 1)
    grid : (int, int)
        gh and gw.
    """
    grid = extended_shape(y.shape[-2:], margin)
    return rfft2(extend_periodically(y, grid)), grid


def estimate_image(
    y_hat: Array, psf: Array, beta: float, grid: tuple[int, int], shape: tuple[int, int]
) -> tuple[Array, tuple]:
    """``x = F⁻¹[ conj(F psf) · F y / ( |F psf|² + β ) ]``, cropped to the image.

    Parameters
    ----------
    y_hat : complex array (B, gh, gw//2 + 1)
        As of `blurry_spectrum`.
    psf : real array (B, k, k)
    beta : float
        Positive regulariser.
    grid, shape : (int, int)
        Extended size, and the size of the image.

    Returns
    -------
    x : real array (B, H, W)
    cache : tuple

    Notes
    -----
    The gradients are those of the quotient layer (Schuler et al. 2015, Appendix A), with the spectrum of the PSF for
    X, that of the image for Y.
    """
    xp = array_module(y_hat, psf)
    batch, half = len(psf), y_hat[0].size
    otf = psf_to_otf(psf, grid).reshape(batch, 1, half)
    flat_beta = xp.full((1, half), beta, dtype=psf.dtype)
    y_flat = y_hat.reshape(batch, 1, half)
    x_hat, denominator = quotient_spectrum(otf, y_flat, flat_beta)
    x = irfft2(x_hat.reshape(y_hat.shape), grid)[:, : shape[0], : shape[1]]
    return xp.ascontiguousarray(x), (otf, y_flat, x_hat, denominator, psf.shape[-1], grid, shape)


def estimate_image_backward(dx: Array, cache: tuple, *, need_dy: bool = True) -> tuple[Array | None, Array, Array]:
    """Gradients ``(dy, dpsf, dbeta)`` of `estimate_image` and `blurry_spectrum` together.

    ``dy`` is that of the blurry *image*, before its extension; None unless needed.
    """
    otf, y_hat, x_hat, denominator, side, grid, shape = cache
    xp = array_module(dx)
    batch = len(dx)
    dgrid = xp.zeros((batch, *grid), dtype=dx.dtype)
    dgrid[:, : shape[0], : shape[1]] = dx
    dx_hat = irfft2_backward(dgrid).reshape(batch, -1)
    dotf, dy_hat, dbeta = quotient_spectrum_backward(dx_hat, otf, y_hat, x_hat, denominator, need_dy=need_dy)
    half_grid = (batch, grid[0], grid[1] // 2 + 1)
    dpsf = psf_to_otf_backward(dotf.reshape(half_grid), side, grid)
    dy = None
    if need_dy:
        dy = extend_periodically_backward(rfft2_backward(dy_hat.reshape(half_grid), grid), shape)
    return dy, dpsf, dbeta.sum()


class ImageEstimation(Layer):
    """`estimate_image` with a learned regulariser, stored as log β so that it stays positive.

    Parameters
    ----------
    margin : int
        Pixels by which the blurry image is extended at least.
    beta : float
        Start of the regulariser.
    dtype : numpy dtype
    """

    def __init__(self, margin: int, *, beta: float = 1e-2, dtype: Any = np.float32) -> None:
        self.margin = margin
        self.log_beta = Parameter(np.log(np.asarray(beta, dtype=dtype)))

    def spectrum(self, y: Array, *, train: bool = False) -> tuple[Array, tuple[int, int]]:
        """What `forward` needs of blurry images ``y (B, H, W)``, whatever the PSF; for as many calls as there are.

        It is the `image_spectrum` of the extended images (with training, their half spectra), and their size.
        """
        if train:
            return blurry_spectrum(y, self.margin)
        grid = extended_shape(y.shape[-2:], self.margin)
        return image_spectrum(extend_periodically(y, grid)), grid

    def forward(
        self, y: Array, psf: Array, *, spectrum: tuple[Array, tuple[int, int]] | None = None, train: bool = False
    ) -> tuple[Array, tuple | None]:
        """Latent images of blurry ones ``y (B, H, W)``; ``spectrum`` saves a second call of `spectrum`."""
        y_hat, grid = self.spectrum(y, train=train) if spectrum is None else spectrum
        beta = float(array_module(y).exp(self.log_beta.value))
        if not train:
            return image_quotient(y_hat, psf, beta, grid, y.shape[-2:]), None
        x, cache = estimate_image(y_hat, psf, beta, grid, y.shape[-2:])
        return x, (cache, beta)

    def backward(self, dx: Array, cache: tuple, *, need_dy: bool = True) -> tuple[Array | None, Array]:
        inner, beta = cache
        dy, dpsf, dbeta = estimate_image_backward(dx, inner, need_dy=need_dy)
        self.log_beta.grad += dbeta * beta  # d log β = β dβ
        return dy, dpsf
