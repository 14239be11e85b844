"""What the rivals share: the pyramid, convolution with small PSFs, and the least squares for a PSF."""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy.signal import fftconvolve

from deconvnet.backend import Array
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.edge_taper import edge_taper_factors
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample

__all__ = ["Level", "centred", "coarse_to_fine", "correlations", "finished", "least_squares_psf"]


def correlations(sharp: Array, blurry: Array, side: int) -> tuple[Array, Array]:
    """What the least squares for a PSF need: autocorrelation of sharp images, correlation of sharp with blurry ones.

    Parameters
    ----------
    sharp, blurry : float array (M, H, W)
        Pairs, summed over M; faded at their borders.
    side : int
        Odd side k of the PSF.

    Returns
    -------
    own : float array (2k − 1, 2k − 1)
        The lag 0 is in the middle.
    cross : float array (k, k)
    """
    shape = sharp.shape[-2:]
    sharp_hat, blurry_hat = (scipy.fft.rfft2(images) for images in (sharp, blurry))
    own = scipy.fft.irfft2((abs(sharp_hat) ** 2).sum(0), shape)
    cross = scipy.fft.irfft2((sharp_hat.conj() * blurry_hat).sum(0), shape)
    lags, pixels = np.arange(1 - side, side), np.arange(side) - side // 2
    return own[np.ix_(lags % shape[0], lags % shape[1])], cross[np.ix_(pixels % shape[0], pixels % shape[1])]


def least_squares_psf(own: Array, cross: Array, start: Array, weights: Array | float, steps: int) -> Array:
    """``argmin_k Σ ‖k ∗ sharp − blurry‖² + Σ weights · k²`` by conjugate gradients from a start.

    Parameters
    ----------
    own, cross : float array
        Of `correlations`.
    start : float array (k, k)
    weights : float or float array (k, k)
    steps : int
        Few of them keep the PSF smooth.

    Returns
    -------
    float array (k, k)
        It may be negative.
    """
    side = len(cross)
    scale = (own[side - 1, side - 1] + weights) ** -0.5  # conjugate gradients for psf / scale see a unit diagonal

    def normal(scaled):
        psf = scale * scaled
        return scale * (fftconvolve(own, psf, mode="valid") + weights * psf)

    target, found = scale * cross, start.astype(own.dtype) / scale
    residual = target - normal(found)
    direction, power = residual, float((residual**2).sum())
    for _ in range(steps):
        if power <= 1e-12 * float((target**2).sum()):
            break
        image = normal(direction)
        step = power / float((direction * image).sum())
        found, residual = found + step * direction, residual - step * image
        before, power = power, float((residual**2).sum())
        direction = residual + power / before * direction
    return scale * found


def centred(psf: Array) -> Array:
    """The PSF of sum 1, moved by whole pixels so that its centre of mass is nearest the middle."""
    offset = np.arange(len(psf)) - len(psf) // 2
    shift = [-round(float(psf.sum(axis=1 - axis) @ offset / psf.sum())) for axis in (0, 1)]
    reach = np.max(np.abs(shift))
    moved = np.roll(np.pad(psf, reach), shift, (0, 1))[reach : reach + len(psf), reach : reach + len(psf)]
    return moved / moved.sum()


def finished(psf: Array, threshold: float) -> Array:
    """The PSF of sum 1 without negative values and what is below a share of its maximum; a point if nothing is left."""
    psf = np.where(psf >= max(threshold * psf.max(), 0), psf, 0)
    if not psf.sum() > 0:
        psf[len(psf) // 2, len(psf) // 2] = 1
    return psf / psf.sum()


class Level:
    """A blurry picture at one resolution, continued periodically.

    Parameters
    ----------
    image : float array (H, W)
    side : int
        Of the PSF there, odd.

    Attributes
    ----------
    y : float array (gh, gw)
        The picture at the top left, and what continues it.
    inside : (slice, slice)
        Of its differences, those that need no continuation.
    window : float array
        Fades what is inside towards its borders.
    """

    def __init__(self, image: Array, side: int) -> None:
        self.side, self.shape = side, image.shape
        self.grid = extended_shape(image.shape, 2 * side)
        self.y = extend_periodically(image, self.grid)
        self.inside = tuple(slice(0, n - 1) for n in image.shape)
        down, across = edge_taper_factors(tuple(n - 1 for n in image.shape), side, like=image)
        self.window = down[:, None] * across

    def otf(self, psf: Array) -> Array:
        """Transfer function (gh, gw//2 + 1) of a PSF (k, k)."""
        return psf_to_otf(psf[None].astype(self.y.dtype), self.grid)[0]

    def faded(self, images: Array) -> Array:
        """What is inside of images (M, gh, gw), faded, with zeros around it."""
        out = np.zeros_like(images)
        out[(slice(None), *self.inside)] = images[(slice(None), *self.inside)] * self.window
        return out


def coarse_to_fine(image: Array, size: int, smallest: int = 3):
    """The picture on the levels of a pyramid, each finer by √2 than the one before, and how a PSF gets to the next.

    Parameters
    ----------
    image : float array (H, W)
    size : int
        Odd side of the PSF on the finest level.
    smallest : int
        Odd side on the coarsest one.

    Yields
    ------
    level : Level
    enlarged : callable
        ``enlarged(array, is_psf)`` brings a PSF or an image of the level before (its own part of the picture) here.
    """
    count = int(np.ceil(2 * np.log2(size / smallest))) if size > smallest else 0
    for scale in 2.0 ** (-np.arange(count, -1, -1) / 2):
        side = max(smallest, 2 * round((size * scale - 1) / 2) + 1)
        shape = tuple(round(n * scale) for n in image.shape)
        level = Level(image if scale == 1 else resample(image, shape), side)

        def enlarged(array, is_psf, level=level):
            if is_psf:
                return finished(resample(array, (level.side, level.side)), 0)
            return resample(np.ascontiguousarray(array), level.shape)

        yield level, enlarged
