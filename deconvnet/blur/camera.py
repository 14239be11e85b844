"""What a camera adds to blur: the sRGB curve, sensor noise, and JPEG."""

from __future__ import annotations

from typing import Any

from deconvnet.backend import Array, array_module
from deconvnet.kernels.synthesis import srgb
from deconvnet.kernels.synthesis.jpeg import jpeg_degradation

__all__ = ["add_noise", "jpeg", "linear_to_srgb", "noise_coefficients", "srgb_to_linear"]

#: Signal at which a noise level is meant: middle grey, in linear light and as stored.
MIDDLE_GREY = {True: 0.2, False: 0.5}


def srgb_to_linear(image: Array) -> Array:
    """Linear light from sRGB values.

    Parameters
    ----------
    image : float array (...)
        sRGB values in [0, 1]; values outside are carried on (linearly below 0, by the power above 1).

    Returns
    -------
    float array (...)
        Same shape and dtype.

    Notes
    -----
    ``v / 12.92`` up to 0.04045, else ``((v + 0.055) / 1.055)^2.4`` (IEC 61966-2-1).

    Examples
    --------
    >>> import numpy as np
    >>> srgb_to_linear(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.   , 0.214, 1.   ])
    """
    return srgb.srgb_to_linear(image).astype(image.dtype, copy=False)


def linear_to_srgb(image: Array) -> Array:
    """sRGB values from linear light, the inverse of `srgb_to_linear`.

    Parameters
    ----------
    image : float array (...)
        Linear light in [0, 1]; values outside are carried on.

    Returns
    -------
    float array (...)
        Same shape and dtype.

    Notes
    -----
    ``12.92 v`` up to 0.0031308, else ``1.055 v^(1/2.4) − 0.055`` (IEC 61966-2-1).
    """
    return srgb.linear_to_srgb(image).astype(image.dtype, copy=False)


def noise_coefficients(level: float | Array, read_share: float | Array, linear: bool) -> tuple[Any, Any]:
    """Coefficients (read, shot) of ``variance = read + shot · signal`` for a noise level as people see it.

    Parameters
    ----------
    level : float or array
        Standard deviation at middle grey, in sRGB values (range [0, 1]).
    read_share : float or array
        Share of that variance that does not depend on the signal, 0 to 1.
    linear : bool
        Whether the noise is added in linear light (middle grey 0.2, where sRGB rises by 1.124 per unit of light) or
        to the stored values (middle grey 0.5).

    Returns
    -------
    tuple
        read, shot; floats or arrays like the inputs.
    """
    middle = MIDDLE_GREY[linear]
    slope = 1.055 / 2.4 * middle ** (1 / 2.4 - 1) if linear else 1.0
    variance = (level / slope) ** 2
    return read_share * variance, (1 - read_share) * variance / middle


def add_noise(rng: Any, image: Array, read: float | Array, shot: float | Array = 0.0) -> Array:
    """Gaussian noise whose variance grows with the signal.

    Parameters
    ----------
    rng : numpy.random.Generator, or CuPy's for a CuPy image
    image : float array (...)
    read, shot : float or array that broadcasts to ``image``
        Variance = read + shot · max(signal, 0).

    Returns
    -------
    float array (...)
        Same shape and dtype; not clipped.
    """
    xp = array_module(image)
    deviation = xp.sqrt(read + shot * xp.maximum(image, 0))
    return (image + deviation * rng.standard_normal(image.shape, dtype=image.dtype)).astype(image.dtype, copy=False)


def jpeg(image: Array, quality: float, offset: tuple[int, int] = (0, 0)) -> Array:
    """What JPEG's compression leaves of a grey image.

    Parameters
    ----------
    image : float array (..., H, W)
        In [0, 1]; rounded to 8 bits before and after.
    quality : float
        1 to 100 by the Independent JPEG Group's scale.
    offset : pair of int
        Where the image lies in the grid of 8×8 blocks, 0 to 7 pixels down and right.

    Returns
    -------
    float array (...)
        Same shape and dtype, in [0, 1].

    Raises
    ------
    ValueError
        If quality or offset are out of range.

    Notes
    -----
    8×8 cosine transform, quantisation by the luminance table of ITU-T T.81 Annex K.1 scaled by the quality, and back.
    """
    if not 1 <= quality <= 100 or not all(0 <= o <= 7 for o in offset):
        raise ValueError(f"JPEG quality {quality} must be in 1..100 and the offset {offset} in 0..7")
    xp = array_module(image)
    flat = image.reshape(-1, *image.shape[-2:])
    count = len(flat)
    offsets = xp.broadcast_to(xp.asarray(offset, dtype=xp.int64), (count, 2))
    return jpeg_degradation(flat, xp.full(count, float(quality)), offsets).reshape(image.shape)
