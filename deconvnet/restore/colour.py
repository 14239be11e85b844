"""Luminance of pictures, and the colours of one picture under the luminance of another."""

from __future__ import annotations

import numpy as np

__all__ = ["luminance", "transfer_colour"]

WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luminance(image):
    """Rec. 601 luma of the stored (sRGB) values, the quantity the networks are trained on.

    Parameters
    ----------
    image : float array (..., H, W, 3)

    Returns
    -------
    array (..., H, W)
    """
    return image @ WEIGHTS.astype(image.dtype)


def transfer_colour(luma, colours):
    """Give a restored luminance the colours of a picture.

    Parameters
    ----------
    luma : float array (H, W)
        Restored luminance in [0, 1].
    colours : float array (H, W, 3)
        RGB picture in [0, 1] that shows the same scene, for instance of Fourier burst accumulation.

    Returns
    -------
    float32 array (H, W, 3)
        In [0, 1].

    Notes
    -----
    CIE Lab: the channels a and b come from ``colours`` (Wieschollek et al. 2016, Sec. 3.3). The lightness is
    that of a picture which is ``colours`` with its luminance replaced, so that the result of an unchanged
    luminance is ``colours`` itself and a grey picture stays grey.
    """
    from skimage.color import lab2rgb, rgb2lab

    colours = np.clip(colours, 0, 1).astype(np.float32)
    shifted = np.clip(colours + (np.clip(luma, 0, 1) - luminance(colours))[..., None], 0, 1)
    lab = rgb2lab(colours)
    lab[..., 0] = rgb2lab(shifted)[..., 0]
    return np.clip(lab2rgb(lab), 0, 1).astype(np.float32)
