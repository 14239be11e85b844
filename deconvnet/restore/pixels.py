"""Pixels as users hand them over, as floats in [0, 1]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from deconvnet.backend import Array, cupy, to_device, to_host
from deconvnet.errors import DeconvnetError, is_whole, short

__all__ = ["as_array", "as_floats", "as_given", "taken"]


def as_array(given: Any, name: str) -> np.ndarray:
    """What a user hands over as a NumPy array.

    Parameters
    ----------
    given : array-like
        A NumPy or CuPy array, anything with DLPack on the CPU (a PyTorch tensor), nested lists.
    name : str
        What messages call it: "the photo", "frame 3".

    Returns
    -------
    array
        It may be the one that was given.

    Raises
    ------
    DeconvnetError
        If it is none: nested lists of different lengths, a tensor that needs gradients or lies on another device.
    """
    try:
        found = np.from_dlpack(given) if _by_dlpack(given) else to_host(given)
    except Exception as error:  # other libraries raise whatever they like
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeconvnetError(
            f"{name} ({type(given).__name__}) cannot be taken as a NumPy array: {reason.rstrip('.')}; "
            "convert it first, a tensor by .detach().cpu()"
        ) from error
    if found.dtype.kind == "O":
        raise DeconvnetError(f"{name} ({type(given).__name__}) is no array of numbers: hand over pixels")
    return found


def _by_dlpack(given: Any) -> bool:
    """Whether it is another library's array that is handed over by DLPack."""
    on_gpu = cupy is not None and isinstance(given, cupy.ndarray)
    return hasattr(given, "__dlpack__") and not on_gpu and not isinstance(given, (np.ndarray, np.generic))


def as_given(result: np.ndarray, given: Any) -> Any:
    """A result as an array of the library of what was given: CuPy, or by DLPack; else as it is."""
    if cupy is not None and isinstance(given, cupy.ndarray):
        return to_device(result, "cuda")
    if _by_dlpack(given):
        library = sys.modules.get(type(given).__module__.partition(".")[0])
        if hasattr(library, "from_dlpack"):
            return library.from_dlpack(result)  # type: ignore[union-attr]
    return result


def taken(given: Any, name: str, channel_axis: int | None = -1) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """A picture as a NumPy array with its channels last, and the way back.

    Parameters
    ----------
    given : array-like, 2 or 3 axes
    name : str
        What messages call it.
    channel_axis : int or None
        Axis of the channels; None for a grey picture. A picture of two axes has none.

    Returns
    -------
    array : array (H, W) or (H, W, C)
    give_back : callable
        Takes a picture with as many axes, its channels last, and returns it with the axes and of the library of what
        was given.

    Raises
    ------
    DeconvnetError
        As `as_array`, or if there is no such axis.
    """
    array = as_array(given, name)
    if channel_axis is None:
        if array.ndim != 2:
            raise DeconvnetError(f"{name} has the shape {array.shape}, and channel_axis=None is for grey (H, W)")
        return array, lambda result: as_given(result, given)
    if array.ndim != 3:
        return array, lambda result: as_given(result, given)
    if not is_whole(channel_axis, -3, 2):
        raise DeconvnetError(
            f"{name} has three axes, and none is {short(channel_axis)}: channel_axis is -1 for (H, W, C)"
        )

    def give_back(result: np.ndarray) -> Any:
        return as_given(np.ascontiguousarray(np.moveaxis(result, -1, channel_axis)), given)

    return np.moveaxis(array, channel_axis, -1), give_back


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
