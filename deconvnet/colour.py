"""Luminance of colour pictures, and colours for a restored luminance."""

from __future__ import annotations

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array

__all__ = ["LUMA_WEIGHTS", "luminance", "transfer_colour"]

#: Of red, green and blue: ITU-R Rec. BT.601.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
_ROWS = 64  # rows that a thread converts at once: bounds the memory


def luminance(picture: Array) -> Array:
    """Rec. 601 luma ``0.299 R + 0.587 G + 0.114 B`` of the sRGB values, not of linear light.

    Parameters
    ----------
    picture : float array (H, W, 3) or (H, W)
        sRGB in [0, 1]; a grey picture is its own luminance.

    Returns
    -------
    float array (H, W)
        In the picture's dtype; a grey picture is returned as it is, not copied.
    """
    if picture.ndim == 2:
        return picture
    red, green, blue = (picture.dtype.type(w) for w in LUMA_WEIGHTS)
    return red * picture[..., 0] + green * picture[..., 1] + blue * picture[..., 2]


def transfer_colour(restored: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The colours (CIE Lab a, b) of one picture with the luminance of another.

    Parameters
    ----------
    restored : float array (H, W)
        Restored luminance in [0, 1]; values outside are clipped.
    colours : float array (H, W, 3)
        sRGB picture in [0, 1], usually the Fourier burst accumulation; values outside are clipped.

    Returns
    -------
    float32 array (H, W, 3)
        sRGB in [0, 1]. ``luminance`` of it is ``restored``, except where the colour does not exist at that lightness
        and is clipped.

    Notes
    -----
    Luma fixes no lightness by itself (a saturated blue of the same luma is much lighter than a grey), so L is taken
    from a picture that has the restored luma and nearly the right colour: ``colours`` with the difference of the lumas
    added to R, G and B alike. With the a, b of ``colours`` it gives a picture whose luma is off by a little; that
    difference is added and L taken once more. Where nothing was restored, nothing changes. Colours by the a, b
    channels of the accumulated frames: Wieschollek et al. 2016, "End-to-End Learning for Image Burst Deblurring",
    Sec. 3.3, doi:10.1007/978-3-319-54190-7_3.
    """
    import warnings

    from skimage.color import lab2rgb, rgb2lab

    picture = np.empty(colours.shape, dtype=np.float32)

    def transfer(first: int, last: int) -> None:
        wanted = np.clip(restored[first:last], 0, 1).astype(np.float32)
        guess = np.clip(colours[first:last], 0, 1).astype(np.float32)
        lab = rgb2lab(guess)
        for _ in range(2):
            guess = np.clip(guess + (wanted - luminance(guess))[..., None], 0, 1)
            lab[..., 0] = rgb2lab(guess)[..., 0]
            guess = np.clip(lab2rgb(lab), 0, 1)
        picture[first:last] = guess

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about impossible colours, which are clipped here anyway
        parallel.run(transfer, len(picture), _ROWS)
    return picture
