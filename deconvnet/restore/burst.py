"""`deblur_burst`: a hand-held burst in, one sharp picture out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.restore.colour import luminance, transfer_colour
from deconvnet.restore.fba import fourier_burst_accumulation
from deconvnet.restore.patches import restore_frames
from deconvnet.restore.registration import register

__all__ = ["BurstResult", "deblur_burst", "stack_frames"]

METHODS = ("network", "fba", "mean")
SMALLEST = 65  # px: the networks' patch


class BurstResult(NamedTuple):
    """A restored burst and what was found on the way.

    Attributes
    ----------
    picture : float32 array (H, W) or (H, W, 3)
        In [0, 1].
    frames : float32 array (N, H, W) or (N, H, W, 3)
        The registered frames.
    psfs : float32 array (rows, columns, N, k, k), or None
        PSFs on a grid over the picture, if the network estimates them.
    """

    picture: np.ndarray
    frames: np.ndarray
    psfs: np.ndarray | None


def stack_frames(frames):
    """Frames as one float32 array (N, H, W) or (N, H, W, 3) in [0, 1].

    uint8 is divided by 255, uint16 by 65535; float arrays are taken as they are.

    Raises
    ------
    DeconvnetError
        If there are fewer than two, their sizes differ, one is too small, of another shape, or not finite.
    """
    frames = [np.asarray(f) for f in frames]
    if len(frames) < 2:
        raise DeconvnetError("a burst needs at least two frames")
    for i, frame in enumerate(frames, 1):
        if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
            raise DeconvnetError(f"frame {i} has the shape {frame.shape}: frames are (H, W) or (H, W, 3)")
        if frame.shape != frames[0].shape:
            raise DeconvnetError(
                f"frame {i} is {_size(frame)} and frame 1 is {_size(frames[0])}: the frames of a burst have one size"
            )
        if min(frame.shape[:2]) < SMALLEST:
            raise DeconvnetError(f"frame {i} is {_size(frame)}: frames need at least {SMALLEST} px on each side")
        if frame.dtype not in (np.uint8, np.uint16) and frame.dtype.kind != "f":
            raise DeconvnetError(f"frame {i} has the type {frame.dtype}: use uint8, uint16, or float in [0, 1]")
        if frame.dtype.kind == "f" and not np.isfinite(frame).all():
            raise DeconvnetError(f"frame {i} has pixels that are not finite")
    scale = {"u1": 255, "u2": 65535}.get(frames[0].dtype.str[1:], 1)
    return np.stack(frames).astype(np.float32) / np.float32(scale)


def _size(frame):
    colour = "colour" if frame.ndim == 3 else "grey"
    return f"{frame.shape[1]}×{frame.shape[0]} px {colour}"


def deblur_burst(
    frames,
    *,
    model=None,
    method="network",
    p=11.0,
    stride=5,
    channels="luma",
    register_by="auto",
    device="auto",
    progress=False,
    details=False,
):
    """Restore one sharp picture from a burst of blurry frames of the same scene.

    Parameters
    ----------
    frames : sequence of array (H, W) or (H, W, 3)
        At least two, of one size, 65 px or more on each side; uint8, uint16, or float in [0, 1].
    model : path-like or Layer, optional
        A trained burst network, for ``method="network"``.
    method : {"network", "fba", "mean"}
        A network; Fourier burst accumulation of the whole frames; their mean.
    p : float
        Exponent of Fourier burst accumulation, for ``method="fba"``.
    stride : int
        Distance in pixels of the network's overlapping patches: larger is faster and less smooth.
    channels : {"luma", "rgb"}
        Run the network on the luminance, or on each colour channel (three times the work). Colours (a and b
        of CIE Lab) come from Fourier burst accumulation either way.
    register_by : {"auto", "translation", "homography", "none"}
        See `deconvnet.restore.registration.register`.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show progress bars.
    details : bool
        Return a `BurstResult` with the registered frames and the PSFs.

    Returns
    -------
    float32 array (h, w) or (h, w, 3), or BurstResult
        In [0, 1]; h, w may be smaller than H, W, since registration crops to what all frames show.

    Raises
    ------
    DeconvnetError
        If frames, model, method or device cannot be used; the message says what to do.
    """
    if method not in METHODS:
        raise DeconvnetError(f"unknown method {method!r}: use one of {', '.join(METHODS)}")
    if channels not in ("luma", "rgb"):
        raise DeconvnetError(f"unknown channels {channels!r}: use luma or rgb")
    if not isinstance(stride, int) or not 1 <= stride <= 16:
        raise DeconvnetError(f"a stride of {stride} px leaves gaps or none at all: use 1 to 16")
    device = resolve_device(device)
    stack = stack_frames(frames)
    network = _network(model, device) if method == "network" else None
    stack, _ = register(stack, register_by, progress=progress)
    psfs = None
    if method == "mean":
        picture = stack.mean(axis=0)
    else:
        power = p if method == "fba" else 11.0
        picture = to_host(fourier_burst_accumulation(to_device(stack, device), power))
    if network is not None:
        options = {"stride": stride, "device": device, "progress": progress}
        if stack.ndim == 3:
            picture, psfs = restore_frames(network, stack, **options)
        elif channels == "luma":
            luma, psfs = restore_frames(network, luminance(stack), **options)
            picture = transfer_colour(luma, picture)
        else:
            restored = [restore_frames(network, stack[..., c], **options) for c in range(3)]
            psfs = restored[1][1]  # of green, which has most of the luminance
            rgb = np.stack([image for image, _ in restored], axis=-1)
            picture = transfer_colour(luminance(np.clip(rgb, 0, 1)), picture)
    picture = np.clip(picture, 0, 1).astype(np.float32)
    return BurstResult(picture, stack, psfs) if details else picture


def _network(model, device):
    from deconvnet.networks.io import load_network

    if model is None:
        raise DeconvnetError(
            "method 'network' needs a model: train one with python -m train.burst, or use the method fba"
        )
    if hasattr(model, "forward"):
        return model.to(device)
    return load_network(model, kind="burst", device=device)
