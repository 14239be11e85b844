"""Fourier burst accumulation on patches: at each frequency a weighted mean that favours the sharpest frames.

Vanilla (Delbracio & Sapiro 2015, doi:10.1109/TIP.2015.2442914; Wieschollek et al. 2016, Eqs. 4 and 5,
doi:10.1007/978-3-319-54190-7_3) and with learned weights (their Eq. 6).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.coefficient import CoefficientNet

__all__ = [
    "FLOOR",
    "LearnableFBA",
    "accumulate",
    "accumulate_backward",
    "fba",
    "fba_backward",
    "log_magnitude",
    "log_magnitude_backward",
    "periodic_gaussian",
]

#: Magnitude below which a Fourier coefficient of a [0, 1] patch counts as zero, so that its logarithm is finite.
FLOOR = 1e-6


def periodic_gaussian(size: int, sigma: float) -> np.ndarray:
    """Gaussian on a circle of frequencies, by which magnitudes are smoothed.

    Parameters
    ----------
    size : int
        Bins of the circle.
    sigma : float
        Standard deviation in bins.

    Returns
    -------
    float64 array (size,)
        Of sum 1, its middle at index 0.

    Examples
    --------
    >>> periodic_gaussian(5, 1.0).round(3).tolist()
    [0.403, 0.244, 0.054, 0.054, 0.244]
    """
    bins = np.arange(size)
    profile = np.exp(-0.5 * (np.minimum(bins, size - bins) / sigma) ** 2)
    return profile / profile.sum()


@functools.cache
def _smoothing_matrix(size: int, sigma: float, dtype: DTypeLike) -> np.ndarray:
    """Circulant matrix (size, size) of the periodic convolution with `periodic_gaussian`."""
    bins = np.arange(size)
    return periodic_gaussian(size, sigma)[(bins[:, None] - bins) % size].astype(dtype)


def _smooth(magnitude: Array, width: int, sigma: float) -> Array:
    """Gaussian smoothing of a half spectrum of magnitudes, which are even, over the full periodic spectrum."""
    xp = array_module(magnitude)
    height, half = magnitude.shape[-2:]
    full = xp.empty((*magnitude.shape[:-1], width), dtype=magnitude.dtype)
    full[..., :half] = magnitude
    mirror_y = -xp.arange(height) % height
    full[..., half:] = magnitude[..., mirror_y, 1 : width - half + 1][..., ::-1]
    rows = xp.asarray(_smoothing_matrix(height, sigma, magnitude.dtype))
    columns = xp.asarray(_smoothing_matrix(width, sigma, magnitude.dtype))
    return xp.matmul(rows, xp.matmul(full, columns[:, :half]))


def _smooth_backward(dsmooth: Array, width: int, sigma: float) -> Array:
    """Adjoint of `_smooth`: the smoothing is symmetric, and the mirrored half folds back."""
    xp = array_module(dsmooth)
    height, half = dsmooth.shape[-2:]
    rows = xp.asarray(_smoothing_matrix(height, sigma, dsmooth.dtype))
    columns = xp.asarray(_smoothing_matrix(width, sigma, dsmooth.dtype))
    dfull = xp.matmul(xp.matmul(rows, dsmooth), columns[:half])
    mirror_y = -xp.arange(height) % height
    dmagnitude = dfull[..., :half].copy()
    dmagnitude[..., 1 : width - half + 1] += dfull[..., half:][..., ::-1][..., mirror_y, :]
    return dmagnitude


def log_magnitude(frames_hat: Array, width: int, sigma: float = 0.0) -> tuple[Array, tuple]:
    """``log( G_σ √(|α̂|² + FLOOR²) )``: the logarithm of the, optionally smoothed, magnitudes.

    Parameters
    ----------
    frames_hat : complex array (..., H, W//2 + 1)
        Unnormalised half spectra of images in [0, 1].
    width : int
        Width W of the images.
    sigma : float
        Standard deviation of the Gaussian, in frequency bins; 0 smooths nothing. Delbracio & Sapiro use
        min(H, W)/50 for whole pictures. The borders of the spectrum are periodic.

    Returns
    -------
    logs : real array (..., H, W//2 + 1)
    cache : tuple

    Notes
    -----
    The floor keeps log|0| and its gradient finite. Backward: ``dα̂ = dm · α̂ / m`` with m the floored magnitude and
    ``dm`` the adjoint smoothing of ``dlogs / G m``.
    """
    magnitude = array_module(frames_hat).sqrt(frames_hat.real**2 + frames_hat.imag**2 + FLOOR**2)
    smooth = _smooth(magnitude, width, sigma) if sigma > 0 else magnitude
    return array_module(smooth).log(smooth), (frames_hat, magnitude, smooth, width, sigma)


def log_magnitude_backward(dlogs: Array, cache: tuple) -> Array:
    """Gradient of the spectra of `log_magnitude`, ``∂L/∂Re + i ∂L/∂Im``."""
    frames_hat, magnitude, smooth, width, sigma = cache
    dmagnitude = dlogs / smooth
    if sigma > 0:
        dmagnitude = _smooth_backward(dmagnitude, width, sigma)
    return frames_hat * (dmagnitude / magnitude)


def accumulate(frames_hat: Array, logits: Array, width: int) -> tuple[Array, tuple]:
    """``u = F⁻¹[ Σ_i w_i α̂_i ]`` with w the softmax of the logits over the frames.

    Parameters
    ----------
    frames_hat : complex array (B, N, H, W//2 + 1)
    logits : real array (B, N, H, W//2 + 1)
    width : int

    Returns
    -------
    image : real array (B, H, W)
    cache : tuple

    Notes
    -----
    Backward, with G the gradient of the summed spectrum: ``dα̂_i = w_i G``, ``dw_i = Re(conj(G) α̂_i)``,
    ``dlogit_i = w_i (dw_i − Σ_j w_j dw_j)``.
    """
    xp = array_module(frames_hat, logits)
    weights = xp.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    image = irfft2((weights * frames_hat).sum(axis=1), (logits.shape[-2], width))
    return image, (frames_hat, weights)


def accumulate_backward(dimage: Array, cache: tuple) -> tuple[Array, Array]:
    """Gradients ``(dframes_hat, dlogits)`` of `accumulate`."""
    frames_hat, weights = cache
    dsum = irfft2_backward(dimage)[:, None]
    dweights = dsum.real * frames_hat.real + dsum.imag * frames_hat.imag
    dlogits = weights * (dweights - (weights * dweights).sum(axis=1, keepdims=True))
    return weights * dsum, dlogits


def fba(frames: Array, p: float | Array = 11.0, *, sigma: float = 0.0) -> tuple[Array, tuple]:
    """Fourier burst accumulation of patches: ``u = F⁻¹[ Σ_i w_i α̂_i ]``, ``w_i = |α̂_i|^p / Σ_j |α̂_j|^p``.

    Parameters
    ----------
    frames : real array (B, N, H, W)
        Registered frames, luminance in [0, 1].
    p : float or real array ()
        0 is the mean of the frames, a large p takes each frequency from the frame where it is strongest.
    sigma : float
        Smoothing of the magnitudes, see `log_magnitude`.

    Returns
    -------
    image : real array (B, H, W)
    cache : tuple
        What `fba_backward` needs.

    Notes
    -----
    Computed as a softmax over the frames of ``p · log|α̂_i|``: the power itself overflows float32. Borders are periodic.
    Delbracio & Sapiro 2015, Eqs. (5) and (6), doi:10.1109/TIP.2015.2442914, who use p = 11.

    Examples
    --------
    >>> import numpy as np
    >>> sharp = np.random.default_rng(0).random((8, 8))
    >>> frames = np.stack([np.full((8, 8), sharp.mean()), sharp])[None]  # a frame that is blurred away, and a sharp one
    >>> image, _ = fba(frames)
    >>> bool(abs(image[0] - sharp).max() < 1e-6)
    True
    """
    width = frames.shape[-1]
    frames_hat = rfft2(frames)
    logs, logs_cache = log_magnitude(frames_hat, width, sigma)
    image, cache = accumulate(frames_hat, p * logs, width)
    return image, (p, logs, logs_cache, cache, frames.shape[-2:])


def fba_backward(dimage: Array, cache: tuple) -> tuple[Array, Array]:
    """Gradients ``(dframes (B, N, H, W), dp ())`` of `fba`."""
    p, logs, logs_cache, accumulated, shape = cache
    dframes_hat, dlogits = accumulate_backward(dimage, accumulated)
    dframes_hat += log_magnitude_backward(p * dlogits, logs_cache)
    return rfft2_backward(dframes_hat, shape), (dlogits * logs).sum()


class LearnableFBA(Layer):
    """Fourier burst accumulation with learned weights.

    Parameters
    ----------
    frames : int or None
        Number of frames for h_φ, or None for the permutation-equivariant one; see `CoefficientNet`.
    hidden : int
        Units between the two 1×1 convolutions of h_φ.
    rng : numpy.random.Generator
    p : float
        Start of the learned power.
    fusion : {"softmax", "eq6"}
        Where h_φ comes in, see below.
    dtype : numpy dtype

    Notes
    -----
    h_φ is two 1×1 convolutions across the frames of the log magnitudes at each frequency (Wieschollek et al. 2016,
    Eq. 6, doi:10.1007/978-3-319-54190-7_3). Its output layer starts at zero, so the layer starts exactly as `fba`::

        softmax   u = F⁻¹[ Σ_i softmax_i(p · log|α̂| + h_φ) α̂_i ]       weights are positive and sum to one
        eq6       u = F⁻¹[ Σ_i (softmax_i(p · log|α̂|) + h_φ,i) α̂_i ]   weights are whatever is learned, as printed
    """

    def __init__(
        self,
        frames: int | None,
        hidden: int,
        rng: np.random.Generator,
        *,
        p: float = 11.0,
        fusion: str = "softmax",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if fusion not in ("softmax", "eq6"):
            raise ValueError(f"unknown fusion {fusion!r}: use softmax or eq6")
        self.fusion = fusion
        self.p = Parameter(np.full(1, p, dtype=dtype))
        self.correction = CoefficientNet(frames, hidden, rng, residual=False, dtype=dtype)

    def forward(self, frames: Array, *, train: bool = False, sigma: float = 0.0) -> tuple[Array, tuple | None]:
        """Image (B, H, W) of the frames (B, N, H, W); ``sigma`` smooths the magnitudes, as in `log_magnitude`."""
        batch, count, height, width = frames.shape
        frames_hat = rfft2(frames)
        logs, logs_cache = log_magnitude(frames_hat, width, sigma)
        h, h_cache = self.correction.forward(logs.reshape(batch, count, -1), train=train)
        h = h.reshape(logs.shape)
        if self.fusion == "softmax":
            image, accumulated = accumulate(frames_hat, self.p.value * logs + h, width)
        else:
            image, accumulated = accumulate(frames_hat, self.p.value * logs, width)
            image = image + irfft2((h * frames_hat).sum(axis=1), (height, width))
            accumulated = (*accumulated, h)
        return image, ((logs, logs_cache, h_cache, accumulated, (height, width)) if train else None)

    def backward(self, dimage: Array, cache: tuple) -> Array:
        """Gradient (B, N, H, W) of the frames."""
        logs, logs_cache, h_cache, accumulated, shape = cache
        dframes_hat, dlogits = accumulate_backward(dimage, accumulated[:2])
        dh = dlogits
        if self.fusion == "eq6":
            frames_hat, _, h = accumulated
            dsum = irfft2_backward(dimage)[:, None]
            dframes_hat += h * dsum
            dh = dsum.real * frames_hat.real + dsum.imag * frames_hat.imag
        self.p.grad += (dlogits * logs).sum()
        dlogs = self.p.value * dlogits
        dlogs += self.correction.backward(dh.reshape(*dh.shape[:2], -1), h_cache).reshape(dlogs.shape)
        dframes_hat += log_magnitude_backward(dlogs, logs_cache)
        return rfft2_backward(dframes_hat, shape)
