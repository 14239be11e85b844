"""Estimated PSFs made fit for the deconvolution, and what tells a good one from a bad one."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module, irfft2, rfft2, to_host
from deconvnet.ops.resample import resample
from deconvnet.restore.deconvolve.solvers import ALPHA

__all__ = [
    "JUDGED",
    "SMALLEST_SIZE",
    "THRESHOLD",
    "clean_psf",
    "middle",
    "resized_psf",
    "sharpen_psf",
    "unlikeliness",
]

#: Share of a PSF's maximum below which its pixels are taken for errors of the estimate.
THRESHOLD = 0.05
#: Share of the heaviest connected part's light that another part must have to be kept.
LEAST_PART = 0.1
#: Side of the middle part of the picture that candidates for the PSF are judged on.
JUDGED = 512
#: No PSF is made smaller than this.
SMALLEST_SIZE = 3
#: Regulariser of the deconvolution that sharpens a PSF.
BETA_SHARPEN = 0.01


def clean_psf(psf, threshold=THRESHOLD, least_part=LEAST_PART):
    """An estimated PSF without its speckle.

    Parameters
    ----------
    psf : float array (k, k)
        Non-negative.
    threshold : float
        In [0, 1). Pixels below this share of the maximum become zero.
    least_part : float
        In [0, 1]. Of what is left, connected parts (with their corners) that have less than this share of the
        heaviest part's light become zero. 0 keeps all of them.

    Returns
    -------
    array (k, k)
        Of sum 1, dtype of the PSF.

    Notes
    -----
    The path of a camera is connected, the errors of an estimate are specks. With true PSFs disturbed by white noise of
    0.2, 0.4 and 0.7 of their norm and clipped, cleaning takes the relative squared error from 0.06, 0.15 and 0.30 to
    0.01, 0.04 and 0.15 and gains 2.7, 6.0 and 5.5 dB in the restored picture; with the true PSFs it costs 0.1 dB
    (eight cases of the benchmark of Levin et al. 2009). Estimates of a trained network have less speckle: there it
    changes the picture by less than 0.05 dB.
    """
    from scipy.ndimage import label

    xp = array_module(psf)
    host = to_host(psf)
    kept = host >= threshold * host.max()
    parts, _ = label(kept, np.ones((3, 3)))
    light = np.bincount(parts.ravel(), host.ravel() * kept.ravel())
    kept &= light[parts] >= least_part * light.max()
    clean = psf * xp.asarray(kept)
    return clean / clean.sum()


def resized_psf(psf, factor, size):
    """A PSF on a grid with other pixels.

    Parameters
    ----------
    psf : float array (k, k)
        Non-negative; k is odd.
    factor : float
        Pixels of the new grid in one of the old.
    size : int
        Side of the new support, odd. What is beyond it is lost.

    Returns
    -------
    array (size, size)
        Non-negative, of sum 1.
    """
    xp = array_module(psf)
    side = max(SMALLEST_SIZE, 2 * round((len(psf) * factor - 1) / 2) + 1)
    fine = xp.maximum(resample(psf, (side, side)), 0)
    if side < size:
        fine = xp.pad(fine, (size - side) // 2)
    else:
        start = (side - size) // 2
        fine = fine[start : start + size, start : start + size]
    return fine / fine.sum()


def sharpen_psf(psf, sigma):
    """A PSF deconvolved with a Gaussian.

    Parameters
    ----------
    psf : float array (k, k)
        Of sum 1.
    sigma : float
        Standard deviation of the Gaussian in pixels; with 0 the PSF is returned as it is.

    Returns
    -------
    array (k, k)
        Non-negative, of sum 1.

    Notes
    -----
    ``F⁻¹[ G F psf / ( G² + β ) ]`` with β = 0.01, cropped, clipped and normalised. Schuler et al. 2015 sharpen their
    PSFs of 33 px so, with σ = 0.5: estimates of large PSFs come out a little soft.
    """
    if sigma == 0:
        return psf
    xp = array_module(psf)
    side = len(psf)
    room = xp.pad(psf, side // 2)
    rows, columns = np.fft.fftfreq(len(room))[:, None], np.fft.rfftfreq(len(room))
    gauss = xp.asarray(np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2)), dtype=psf.dtype)
    sharp = irfft2(rfft2(room) * (gauss / (gauss**2 + BETA_SHARPEN)), room.shape)
    start = side // 2
    sharp = xp.maximum(sharp[start : start + side, start : start + side], 0)
    return sharp / sharp.sum()


def unlikeliness(image, border=0):
    """How little a picture looks like a sharp and clean photograph; for comparing pictures of one scene.

    Parameters
    ----------
    image : float array (H, W)
    border : int
        Pixels left out on each side.

    Returns
    -------
    float
        ``R · S²``, where R is the mean of |d|^0.8 and S the mean of |d| over the root mean square of d, over all
        differences d between neighbours down and across.

    Notes
    -----
    R is the prior of the deconvolution. It grows with ringing, and also with the contrast of the edges, so that alone
    it prefers what is still a little blurry. S, the normalised sparsity of Krishnan, Tay & Fergus 2011, does not depend
    on the contrast; alone it prefers what is sharpened too much. A picture without differences has 0.
    """
    xp = array_module(image)
    inside = image[border : image.shape[0] - border, border : image.shape[1] - border]
    size = xp.abs(xp.concatenate([xp.diff(inside, axis=axis).ravel() for axis in (0, 1)]))
    power = float((size**2).mean())
    return float((size**ALPHA).mean()) * float(size.mean()) ** 2 / power if power > 0 else 0.0


def middle(image, side):
    """The middle part of an image, at most ``side`` pixels each way."""
    xp = array_module(image)
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return xp.ascontiguousarray(image[top : top + side, left : left + side])
