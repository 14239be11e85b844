"""Windows along one axis; the 2-D window of a patch is the outer product of two.

All are float64, symmetric, and sampled at the middles of the pixels, so that no pixel has the weight zero.
"""

from __future__ import annotations

import numpy as np

__all__ = ["bartlett_hann", "hann", "tukey"]


def hann(length: int) -> np.ndarray:
    """Hann window ``sin²(π (n + ½) / length)``.

    Parameters
    ----------
    length : int
        Pixels, at least 1.

    Returns
    -------
    float64 array (length,)
        In (0, 1]. Copies shifted by any step that divides the length at least twice add up to a constant.

    Examples
    --------
    >>> window = hann(4)
    >>> window.round(3).tolist()
    [0.146, 0.854, 0.854, 0.146]
    >>> (window[:2] + window[2:]).round(12).tolist()
    [1.0, 1.0]
    """
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


def bartlett_hann(length: int) -> np.ndarray:
    """Bartlett-Hann window ``0.62 − 0.48 |t| + 0.38 cos 2πt`` with t in (−½, ½).

    Parameters
    ----------
    length : int
        Pixels, at least 1.

    Returns
    -------
    float64 array (length,)
        In (0, 1]. Two copies shifted by half a length add up to one.

    Notes
    -----
    The window of Schuler et al. 2015, Secs. 3.1.2 and 5.3 (doi:10.1109/TPAMI.2015.2481418).

    Examples
    --------
    >>> bartlett_hann(4).round(3).tolist()
    [0.171, 0.829, 0.829, 0.171]
    """
    t = (np.arange(length) + 0.5) / length - 0.5
    return 0.62 - 0.48 * np.abs(t) + 0.38 * np.cos(2 * np.pi * t)


def tukey(length: int, width: int) -> np.ndarray:
    """Tukey (tapered cosine) window: 1 inside, a raised cosine over ``width`` pixels at each end.

    Parameters
    ----------
    length : int
        Pixels.
    width : int
        Pixels of each ramp, at most half of the length.

    Returns
    -------
    float64 array (length,)
        In (0, 1].

    Examples
    --------
    >>> tukey(6, 2).round(3).tolist()
    [0.146, 0.854, 1.0, 1.0, 0.854, 0.146]
    """
    window = np.ones(length)
    ramp = hann(2 * width)[:width]
    window[:width], window[length - width :] = ramp, ramp[::-1]
    return window
