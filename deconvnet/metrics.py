"""How near a picture or a PSF comes to the truth: PSNR, SSIM, PSF error, error ratio; each defined once, here."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module

__all__ = ["MOST_DECIBELS", "aligned_psf_error", "error_ratio", "psf_error", "psnr", "squared_difference", "ssim"]

#: What equal pictures score: the error that is counted is at least a ten-thousandth of the peak.
MOST_DECIBELS = 80.0


def _residual(picture: Array, truth: Array, border: int, batch: bool) -> tuple[Array, tuple[int, ...]]:
    """Differences inside the border in float64, and the axes of one picture."""
    if picture.shape != truth.shape:
        raise ValueError(f"two pictures of one size are wanted, not {picture.shape} and {truth.shape}")
    first = 1 if batch else 0
    sides = truth.shape[first : first + 2]
    if border < 0 or (border and min(sides) <= 2 * border):
        raise ValueError(f"a border of {border} px leaves nothing of {sides[0]}×{sides[1]} pixels")
    inside = (slice(None),) * first + tuple(slice(border, side - border) for side in sides)
    return picture[inside].astype(np.float64) - truth[inside], tuple(range(first, truth.ndim))


def squared_difference(picture: Array, truth: Array, *, border: int = 0, batch: bool = False) -> Array:
    """Sum of squared differences of pictures.

    Parameters
    ----------
    picture, truth : float array (H, W) or (H, W, C); with ``batch`` (B, H, W) or (B, H, W, C)
    border : int
        Pixels left out on each side.
    batch : bool
        The first axis counts pictures, each with a sum of its own.

    Returns
    -------
    float, or float64 array (B,) with ``batch``

    Raises
    ------
    ValueError
        If the shapes differ, or the border leaves nothing.
    """
    residual, axes = _residual(picture, truth, border, batch)
    sums = (residual * residual).sum(axis=axes)
    return sums if batch else float(sums)


def psnr(picture: Array, truth: Array, *, border: int = 0, peak: float = 1.0, batch: bool = False) -> Array:
    """Peak signal-to-noise ratio in dB.

    Parameters
    ----------
    picture, truth : float array (H, W) or (H, W, C); with ``batch`` (B, H, W) or (B, H, W, C)
        Not clipped here.
    border : int
        Pixels left out on each side.
    peak : float
        Value of white.
    batch : bool
        The first axis counts pictures, each with a ratio of its own.

    Returns
    -------
    float, or float64 array (B,) with ``batch``
        At most `MOST_DECIBELS`, so that equal pictures have a finite ratio and means over many stay useful.

    Raises
    ------
    ValueError
        If the shapes differ, or the border leaves nothing.

    Notes
    -----
    ``10 log₁₀(peak² / mean (picture − truth)²)``.
    """
    residual, axes = _residual(picture, truth, border, batch)
    error = (residual * residual).mean(axis=axes)
    xp = array_module(error)
    least = peak**2 * 10 ** (-MOST_DECIBELS / 10)
    ratio = 10 * xp.log10(peak**2 / xp.maximum(error, least))
    return ratio if batch else float(ratio)


def ssim(picture: np.ndarray, truth: np.ndarray, *, border: int = 0, peak: float = 1.0) -> float:
    """Structural similarity, scikit-image's with its default window of 7×7.

    Parameters
    ----------
    picture, truth : float array (H, W) or (H, W, C)
    border : int
        Pixels left out on each side, at most so many that 7 remain.
    peak : float
        Value of white.

    Returns
    -------
    float
        In [-1, 1], 1 for equal pictures.

    References
    ----------
    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
    doi:10.1109/TIP.2003.819861.
    """
    from skimage.metrics import structural_similarity

    inside = tuple(slice(border, side - border) for side in truth.shape[:2])
    a, b = picture[inside].astype(np.float64), truth[inside].astype(np.float64)
    return float(structural_similarity(b, a, data_range=peak, channel_axis=-1 if a.ndim == 3 else None))


def psf_error(psf: Array, truth: Array) -> Array:
    """Relative squared error of a PSF at the place where it is: a shift counts as an error.

    Parameters
    ----------
    psf, truth : float array (..., k, k)
        Shapes that go together.

    Returns
    -------
    float, or float array (...)
        ``‖psf − truth‖² / ‖truth‖²`` of each PSF.

    References
    ----------
    Schuler et al. 2015, "Learning to Deblur", Sec. 3.3, doi:10.1109/TPAMI.2015.2481418 (its training loss, divided by
    the energy of the PSF).
    """
    errors = ((psf - truth) ** 2).sum(axis=(-2, -1)) / (truth**2).sum(axis=(-2, -1))
    return errors if errors.ndim else float(errors)


def aligned_psf_error(psf: np.ndarray, truth: np.ndarray) -> float:
    """Relative squared error of a PSF where it fits the truth best: a shift by whole pixels is forgiven.

    Parameters
    ----------
    psf, truth : float array (h, w)
        Of any sizes; scaled to sum 1 here.

    Returns
    -------
    float
        The smallest ``‖psf moved − truth‖² / ‖truth‖²`` over whole pixels, with zeros around both.
    """
    from scipy.signal import correlate

    a, b = psf.astype(np.float64) / psf.sum(), truth.astype(np.float64) / truth.sum()
    overlap = correlate(a, b, mode="full").max()
    return float(((a**2).sum() + (b**2).sum() - 2 * overlap) / (b**2).sum())


def error_ratio(estimated: float, known: float) -> float:
    """Squared difference of the picture restored with the estimated PSF over that with the true PSF.

    Parameters
    ----------
    estimated, known : float
        `squared_difference` to the truth of the deconvolutions, by one method, with the estimated and with the true
        PSF.

    Returns
    -------
    float
        1 if the estimate is as good as the truth; up to 2, a result is called good.

    References
    ----------
    Levin et al. 2009, "Understanding and evaluating blind deconvolution algorithms", doi:10.1109/CVPR.2009.5206815.
    """
    return estimated / known
