"""A burst of shaky photographs becomes one picture: checks, registration, the method, colours."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.colour import luminance, transfer_colour
from deconvnet.errors import DeconvnetError
from deconvnet.networks.io import as_network
from deconvnet.restore.burst.fba import fourier_burst_accumulation, mean
from deconvnet.restore.burst.registration import METHODS as REGISTRATIONS
from deconvnet.restore.burst.registration import register as register_frames
from deconvnet.restore.pixels import as_floats

__all__ = ["CHANNELS", "METHODS", "MIN_SIDE", "deblur_burst"]

METHODS = ("network", "fba", "mean")
CHANNELS = ("luma", "rgb")
#: Side of the smallest patch the networks take.
MIN_SIDE = 65


def _as_float(frame, number):
    """One frame as float32 in [0, 1]; refusals name it by its number."""
    frame = np.asarray(frame)
    if frame.ndim == 3 and frame.shape[-1] == 1:
        frame = frame[..., 0]
    if frame.ndim != 2 and not (frame.ndim == 3 and frame.shape[-1] == 3):
        raise DeconvnetError(
            f"frame {number} has the shape {frame.shape}: (H, W) for grey or (H, W, 3) for colour is wanted"
        )
    if min(frame.shape[:2]) < MIN_SIDE:
        raise DeconvnetError(
            f"frame {number} is {frame.shape[1]}×{frame.shape[0]} pixels: at least {MIN_SIDE} on each side are needed"
        )
    return as_floats(frame, f"frame {number}")


def _checked(frames):
    """The frames as a list of float32 arrays of one shape."""
    frames = list(frames)
    if len(frames) < 2:
        raise DeconvnetError(f"a burst needs at least two frames, and there is {len(frames) or 'none'}")
    shape = np.shape(frames[0])
    for number, frame in enumerate(frames, start=1):
        frames[number - 1] = _as_float(frame, number)
        if np.shape(frame)[:2] != shape[:2]:
            other = np.shape(frame)
            raise DeconvnetError(
                f"frame {number} is {other[1]}×{other[0]} pixels and frame 1 is {shape[1]}×{shape[0]}: "
                "all frames must have one size"
            )
        if frames[number - 1].ndim != frames[0].ndim:
            raise DeconvnetError(f"frame {number} and frame 1 are not both grey or both colour: convert them first")
    return frames


def deblur_burst(
    frames,
    *,
    model="burst",
    method="network",
    stride=5,
    channels="luma",
    register="auto",
    p=11.0,
    refine=True,
    device="auto",
    progress=False,
    return_psfs=False,
):
    """One sharp picture from a burst of shaky photographs.

    Parameters
    ----------
    frames : sequence of arrays (H, W) or (H, W, 3)
        At least two, all of one size, at least 65 px on each side, all grey or all colour: sRGB as floats in [0, 1],
        uint8 (divided by 255) or uint16 (divided by 65535).
    model : str, path-like or Layer
        Burst network for ``method="network"``: the name of one that ships, the ``model.safetensors`` of a training
        run, or a loaded network.
    method : {"network", "fba", "mean"}
        The network, vanilla Fourier burst accumulation of whole frames, or the mean of the registered frames.
    stride : int
        Distance of neighbouring patches for the network, in pixels, 1 to 16: smaller is smoother and slower.
    channels : {"luma", "rgb"}
        Run the network on the luminance and take colours from Fourier burst accumulation, or, three times as slow,
        on red, green and blue alike. Grey frames are their own luminance.
    register : {"auto", "translation", "homography", "none"}
        See `deconvnet.restore.burst.registration.register`.
    p : float
        Power of the Fourier burst accumulation, at least 0.
    refine : bool
        For networks that estimate PSFs: refine these by the frames
        (`deconvnet.restore.burst.refine.refine_burst_psfs`). It takes up to three times as long again, and most
        bursts gain decibels.
    device : {"auto", "cpu", "cuda"}
        Where the network and the accumulation run. Registration runs on the CPU.
    progress : bool
        Show bars.
    return_psfs : bool
        Return the network's estimated PSFs too.

    Returns
    -------
    picture : float32 array (H', W') or (H', W', 3)
        In [0, 1]: the part that all registered frames cover.
    psfs : float32 array (rows, columns, N, k, k)
        Only with ``return_psfs``: one PSF per kept frame on a grid spread evenly over the picture, from corner to
        corner. With ``channels="rgb"`` those of the green channel.

    Raises
    ------
    DeconvnetError
        If the frames, the model or an option cannot be used; the message says what to do.
    """
    for name, value, known in (
        ("method", method, METHODS),
        ("channels", channels, CHANNELS),
        ("register", register, REGISTRATIONS),
    ):
        if value not in known:
            raise DeconvnetError(f"unknown {name} {value!r}: use one of {', '.join(known)}")
    if not (isinstance(stride, (int, np.integer)) and 1 <= stride <= 16):
        raise DeconvnetError(f"the stride must be a whole number from 1 to 16, not {stride}")
    if not (np.isfinite(p) and p >= 0):
        raise DeconvnetError(f"the power p must be a finite number from 0 up, not {p}")
    if return_psfs and method != "network":
        raise DeconvnetError(f"method {method!r} estimates no PSFs: use a network")
    device = resolve_device(device)
    # A model that is missing or of another kind is refused before the frames are even read.
    network = as_network(model, "burst", device) if method == "network" else None
    if return_psfs and not hasattr(network, "estimate_psfs"):
        raise DeconvnetError(f"the network {network.name!r} estimates no PSFs: use one of the kind 'quotient'")
    frames = register_frames(_checked(frames), register, progress=progress).frames
    if min(frames[0].shape[:2]) < MIN_SIDE:
        height, width = frames[0].shape[:2]
        raise DeconvnetError(
            f"the registered frames have only {width}×{height} pixels in common, and {MIN_SIDE} on each side are "
            "needed: leave out the frames that moved most, or use --no-register (register='none')"
        )
    if method == "mean":
        return np.clip(mean(frames), 0, 1)

    colour = frames[0].ndim == 3
    accumulated = None
    if method == "fba" or (colour and channels == "luma"):
        on_device = (to_device(frame, device) for frame in frames)
        accumulated = to_host(fourier_burst_accumulation(_Sized(on_device, len(frames)), p, progress=progress))
    if method == "fba":
        return np.clip(accumulated, 0, 1)

    from deconvnet.restore.burst.patches import restore_frames

    def restore(planes):
        return restore_frames(network, np.stack(planes), stride=stride, refine=refine, progress=progress, device=device)

    if not colour:
        picture, psfs = restore(frames)
    elif channels == "luma":
        sharp, psfs = restore([luminance(frame) for frame in frames])
        picture = transfer_colour(sharp, accumulated)
    else:
        picture = np.empty_like(frames[0])
        for channel in range(3):
            picture[..., channel], found = restore([frame[..., channel] for frame in frames])
            psfs = found if channel <= 1 else psfs
    picture = np.clip(picture, 0, 1)
    return (picture, psfs) if return_psfs else picture


class _Sized:
    """An iterator with a length, so that progress bars know their end."""

    def __init__(self, items, length):
        self.items, self.length = items, length

    def __iter__(self):
        return iter(self.items)

    def __len__(self):
        return self.length
