"""Pixels as users hand them over, as floats in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np

from deconvnet.backend import Array
from deconvnet.errors import DeconvnetError

__all__ = ["as_array", "as_floats"]


def as_array(given: Any, name: str) -> np.ndarray:
    """What a user hands over as a NumPy array.

    Parameters
    ----------
    given : array-like
    name : str
        What messages call it: "the photo", "frame 3".

    Returns
    -------
    array

    Raises
    ------
    DeconvnetError
        If it is none: nested lists of different lengths, a tensor that needs gradients or lies on another device.
    """
    try:
        found = np.asarray(given)
    except Exception as error:  # other libraries raise whatever they like
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeconvnetError(
            f"{name} ({type(given).__name__}) cannot be taken as a NumPy array: {reason.rstrip('.')}; "
            "convert it first, a tensor by .detach().cpu().numpy()"
        ) from error
    if found.dtype.kind == "O":
        raise DeconvnetError(f"{name} ({type(given).__name__}) is no array of numbers: hand over pixels")
    return found


def as_floats(pixels: Any, name: str) -> Array:
    """Pixels of a usual type as float32.

    Parameters
    ----------
    pixels : array, any shape
        Floats in [0, 1], uint8 (divided by 255) or uint16 (divided by 65535).
    name : str
        What messages call the picture: "the photo", "frame 3".

    Returns
    -------
    float32 array
        Same shape; floats may leave [0, 1] by 0.001.

    Raises
    ------
    DeconvnetError
        If the type is another one, or values are not finite or far outside [0, 1].
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        raise DeconvnetError(f"{name} has the type {pixels.dtype}: floats in [0, 1], uint8 or uint16 are wanted")
    if not np.isfinite(pixels).all():
        raise DeconvnetError(f"{name} holds values that are not finite: mend them first")
    if pixels.min() < -0.001 or pixels.max() > 1.001:
        raise DeconvnetError(f"{name} holds floats outside [0, 1]: scale or clip them first")
    return pixels.astype(np.float32, copy=False)
