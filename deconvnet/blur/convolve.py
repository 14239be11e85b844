"""True convolution of images with PSFs by FFT, with the border as an explicit argument."""

from __future__ import annotations

import scipy.fft

from deconvnet.backend import Array, array_module, irfft2, rfft2

__all__ = ["convolve"]

BORDERS = ("valid", "wrap", "reflect")


def convolve(image: Array, psf: Array, border: str = "valid") -> Array:
    """True convolution ``psf * image`` over the last two axes.

    Parameters
    ----------
    image : float array (..., H, W)
    psf : float array (..., P, Q)
        Centre at ``(P // 2, Q // 2)``. The leading axes of both broadcast.
    border : {"valid", "wrap", "reflect"}
        ``"valid"`` keeps only what needs no pixel beyond the border; ``"wrap"`` continues the image periodically;
        ``"reflect"`` mirrors it about its border pixels.

    Returns
    -------
    float array (..., H − P + 1, W − Q + 1) or (..., H, W)
        The smaller one for ``"valid"``; dtype of ``image``.

    Raises
    ------
    ValueError
        If the border's name is unknown, or the PSF is larger than the image.

    Notes
    -----
    ``y[i, j] = Σ_kl psf[k, l] · x[i + P // 2 − k, j + Q // 2 − l]`` for ``"wrap"`` and ``"reflect"``; ``"valid"`` is
    the part of it that every border agrees on.

    Examples
    --------
    >>> import numpy as np
    >>> image, psf = np.eye(3), np.array([[1.0, 2.0]])
    >>> convolve(image, psf, "wrap").round(3) + 0.0
    array([[2., 0., 1.],
           [1., 2., 0.],
           [0., 1., 2.]])
    """
    xp = array_module(image, psf)
    (height, width), (rows, columns) = image.shape[-2:], psf.shape[-2:]
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}: use one of {', '.join(BORDERS)}")
    if rows > height or columns > width:
        raise ValueError(f"a PSF of {rows}×{columns} is larger than the image of {height}×{width}")
    if border == "reflect":
        margins = [(rows - 1 - rows // 2, rows // 2), (columns - 1 - columns // 2, columns // 2)]
        image = xp.pad(image, [(0, 0)] * (image.ndim - 2) + margins, mode="reflect")
    if border == "wrap":
        shape = (height, width)
    else:  # wrapped values fall on rows and columns that are cut off, so the image needs no padding of its own
        shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in image.shape[-2:])
    padded = xp.zeros((*image.shape[:-2], *shape), image.dtype)
    padded[..., : image.shape[-2], : image.shape[-1]] = image
    kernel = xp.zeros((*psf.shape[:-2], *shape), image.dtype)
    kernel[..., :rows, :columns] = psf
    result = irfft2(rfft2(padded) * rfft2(kernel), shape)
    if border == "wrap":
        return xp.ascontiguousarray(xp.roll(result, (-(rows // 2), -(columns // 2)), axis=(-2, -1)))
    return xp.ascontiguousarray(result[..., rows - 1 : image.shape[-2], columns - 1 : image.shape[-1]])
