"""Two widgets for napari (extra ``napari``), which its menu *Plugins* lists by the manifest ``napari.yaml`` here.

What they compute are `restore_photo` and `restore_burst`; the widgets run these in a thread of their own and add what
comes out as new layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.restore.burst.deblur import deblur_burst
from deconvnet.restore.photo.deblur import deblur

if TYPE_CHECKING:
    from magicgui.widgets import FunctionGui
    from napari.qt.threading import FunctionWorker

__all__ = ["burst_widget", "photo_widget", "restore_burst", "restore_photo"]

#: What napari adds a layer from: the array, its attributes, the kind of layer.
LayerData = tuple[np.ndarray, dict[str, Any], str]


def _psf_layers(psfs: np.ndarray, name: str) -> list[LayerData]:
    """PSFs (..., k, k), each divided by its maximum; leading axes become sliders."""
    highest = np.maximum(psfs.max(axis=(-2, -1), keepdims=True), 1e-30)
    return [(psfs / highest, {"name": name, "visible": False, "interpolation2d": "nearest"}, "image")]


def restore_photo(
    pixels: np.ndarray, rgb: bool, name: str, *, psf_size: int = 0, noise: float = 0.0, varying: bool = False
) -> list[LayerData]:
    """Layers of a restored photograph and its PSF.

    Parameters
    ----------
    pixels : array (H, W), or (H, W, 3) or (H, W, 4) with ``rgb``
        As for `deconvnet.deblur`.
    rgb : bool
        Whether the last axis are colours.
    name : str
        Of the layer that is restored.
    psf_size : int
        Odd; 0 finds it.
    noise : float
        As for `deconvnet.deblur`; 0 estimates it.
    varying : bool
        The blur differs over the picture.

    Returns
    -------
    list of (array, dict, str)

    Raises
    ------
    DeconvnetError
        If the pixels are a stack, or `deconvnet.deblur` refuses them.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != (3 if rgb else 2):
        raise DeconvnetError(f"the layer {name!r} is a stack: for frames of one scene take the widget for bursts")
    options: dict[str, Any] = {"psf_size": psf_size or "auto", "noise": noise or None, "varying": varying}
    sharp, psf = deblur(pixels, channel_axis=-1 if rgb else None, return_psf=True, **options)
    picture = (sharp, {"name": f"{name} restored", "rgb": rgb}, "image")
    return [picture, *_psf_layers(psf, f"{name} PSF")]


def restore_burst(
    frames: np.ndarray, rgb: bool, name: str, *, register: str = "auto", refine: bool = True
) -> list[LayerData]:
    """Layers of the picture of a burst and the PSFs of its frames.

    Parameters
    ----------
    frames : array (N, H, W), or (N, H, W, 3) with ``rgb``
        A stack, as napari makes one of several files.
    rgb : bool
    name : str
        Of the layer that is restored.
    register, refine
        As for `deconvnet.deblur_burst`.

    Returns
    -------
    list of (array, dict, str)

    Raises
    ------
    DeconvnetError
        If the layer is no stack, or `deconvnet.deblur_burst` refuses the frames.
    """
    frames = np.asarray(frames)
    if frames.ndim != (4 if rgb else 3):
        raise DeconvnetError(f"the layer {name!r} is no stack of frames: open the files of a burst as a stack")
    axis = -1 if rgb else None
    sharp, psfs = deblur_burst(list(frames), channel_axis=axis, register=register, refine=refine, return_psfs=True)
    picture = (sharp, {"name": f"{name} restored", "rgb": rgb}, "image")
    return [picture, *_psf_layers(psfs, f"{name} PSFs (row, column, frame)")]


def _started(work: Callable[..., list[LayerData]], *args: Any, **options: Any) -> FunctionWorker[list[LayerData]]:
    """A worker that begins once napari, which adds the layers that it returns, has been told of it."""
    from napari.qt.threading import create_worker
    from qtpy.QtCore import QTimer

    worker = create_worker(work, *args, **options)
    QTimer.singleShot(0, worker.start)
    return worker


def photo_widget() -> FunctionGui:
    """The widget for photographs: napari calls this."""
    from magicgui import magicgui
    from napari.layers import Image
    from napari.qt.threading import FunctionWorker
    from napari.types import LayerDataTuple

    def photo(image: Image, psf_size: int = 0, noise: float = 0.0, varying: bool = False):
        given = image.data, image.rgb, image.name
        return _started(restore_photo, *given, psf_size=psf_size, noise=noise, varying=varying)

    photo.__annotations__ |= {"image": Image, "return": FunctionWorker[list[LayerDataTuple]]}
    sizes = {"label": "size of the blur", "max": 999, "tooltip": "odd, in pixels; 0 finds it"}
    noises = {"max": 0.1, "step": 0.001, "tooltip": "0 estimates it; more is smoother"}
    return magicgui(photo, call_button="Restore", psf_size=sizes, noise=noises)


def burst_widget() -> FunctionGui:
    """The widget for bursts: napari calls this."""
    from magicgui import magicgui
    from napari.layers import Image
    from napari.qt.threading import FunctionWorker
    from napari.types import LayerDataTuple

    def burst(stack: Image, register: str = "auto", refine: bool = True):
        given = stack.data, stack.rgb, stack.name
        return _started(restore_burst, *given, register=register, refine=refine)

    burst.__annotations__ |= {"stack": Image, "return": FunctionWorker[list[LayerDataTuple]]}
    choices = {"choices": ["auto", "translation", "homography", "none"]}
    return magicgui(burst, call_button="Restore", register=choices)
