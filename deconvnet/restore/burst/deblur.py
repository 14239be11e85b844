"""A burst of shaky photographs becomes one picture: checks, registration, the method, colours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconvnet.backend import Array, array_module, resolve_device, to_device, to_host
from deconvnet.colour import luminance, transfer_colour
from deconvnet.errors import DeconvnetError, is_number, is_whole, one_of, short
from deconvnet.kernels.ahead import needs
from deconvnet.networks.io import as_network
from deconvnet.networks.protocols import PsfBurstNetwork
from deconvnet.restore.burst.belonging import belonging
from deconvnet.restore.burst.fba import fourier_burst_accumulation, mean
from deconvnet.restore.burst.registration import METHODS as REGISTRATIONS
from deconvnet.restore.burst.registration import register as register_frames
from deconvnet.restore.pixels import as_floats, taken

__all__ = ["CHANNELS", "METHODS", "MIN_SIDE", "deblur_burst"]

METHODS = ("network", "fba", "mean")
CHANNELS = ("luma", "rgb")
#: Side of the smallest patch the networks take.
MIN_SIDE = 65


def _as_float(frame: np.ndarray, number: int) -> np.ndarray:
    """One frame as float32 in [0, 1], grey without a channel axis; refusals name it by its number."""
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


def _checked(
    frames: Iterable[ArrayLike], channel_axis: int | None
) -> tuple[list[np.ndarray], bool, Callable[[np.ndarray], Any]]:
    """The frames as a list of float32 arrays of one shape, channels last; whether the first has a single channel; and
    the way back to an array of its kind."""
    if frames is None or isinstance(frames, (str, bytes, os.PathLike)) or not np.iterable(frames):
        raise DeconvnetError(
            f"the frames are of the type {type(frames).__name__}: a sequence of arrays, (H, W) or (H, W, 3), is wanted"
        )
    checked: list[np.ndarray] = []
    single = False
    give_back: Callable[[np.ndarray], Any] = np.asarray
    for number, given in enumerate(frames, start=1):
        frame, back = taken(given, f"frame {number}", channel_axis)
        if not checked:
            single, give_back = frame.ndim == 3 and frame.shape[-1] == 1, back
        checked.append(_as_float(frame, number))
        (height, width), (other_height, other_width) = checked[0].shape[:2], checked[-1].shape[:2]
        if (height, width) != (other_height, other_width):
            raise DeconvnetError(
                f"frame {number} is {other_width}×{other_height} pixels and frame 1 is {width}×{height}: "
                "all frames must have one size"
            )
        if checked[-1].ndim != checked[0].ndim:
            raise DeconvnetError(f"frame {number} and frame 1 are not both grey or both colour: convert them first")
    if len(checked) < 2:
        raise DeconvnetError(f"a burst needs at least two frames, and there is {len(checked) or 'none'}")
    return checked, single, give_back


def deblur_burst(
    frames: Iterable[ArrayLike],
    *,
    model: Any = "burst",
    method: str = "network",
    stride: int = 10,
    channels: str = "luma",
    register: str = "auto",
    p: float = 11.0,
    refine: bool = True,
    channel_axis: int | None = -1,
    device: str = "auto",
    progress: bool = False,
    return_psfs: bool = False,
) -> Any:
    """One sharp picture from a burst of shaky photographs.

    Parameters
    ----------
    frames : iterable of arrays (H, W), (H, W, 1) or (H, W, 3)
        NumPy, CuPy, or anything with DLPack on the CPU. At least two, all of one size, at least 65 px on each side,
        all grey or all colour: sRGB as floats in [0, 1],
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
        (`deconvnet.restore.burst.refine.refine_burst_psfs`).
    channel_axis : int or None
        Axis of the channels of frames with three axes; None for grey ones.
    device : {"auto", "cpu", "cuda"}
        Where frames are resampled and accumulated, and where the network runs. The frames go there once. Motion is
        found on the CPU, in small copies.
    progress : bool
        Show bars.
    return_psfs : bool
        Return the network's estimated PSFs too.

    Returns
    -------
    picture : float32 array (H', W'), (H', W', 1) or (H', W', 3)
        In [0, 1], whatever the type of the frames, which are not changed: the part that all registered frames cover,
        with the axes of the first frame. If that is a CuPy array, or another library's that has DLPack, an array of
        that library.
    psfs : float32 array (rows, columns, N, k, k)
        Only with ``return_psfs``: one PSF per kept frame on a grid spread evenly over the picture, from corner to
        corner. With ``channels="rgb"`` those of the green channel.

    Raises
    ------
    DeconvnetError
        If the frames, the model or an option cannot be used; the message says what to do.

    Notes
    -----
    Networks and patches: Wieschollek et al. 2016, doi:10.1007/978-3-319-54190-7_3. Fourier burst accumulation:
    Delbracio & Sapiro 2015, doi:10.1109/TIP.2015.2442914.

    Examples
    --------
    Two frames of one scene, one shaken along the rows, the other along the columns:

    >>> import numpy as np
    >>> scene = np.random.default_rng(0).random((70, 80)).astype(np.float32)
    >>> frames = [sum(np.roll(scene, shift, axis) for shift in (-1, 0, 1)) / 3 for axis in (0, 1)]
    >>> picture = deblur_burst(frames, method="fba", register="none")
    >>> picture.shape, picture.dtype.name
    ((70, 80), 'float32')
    >>> error = [float(np.mean((image - scene) ** 2)) for image in (picture, *frames)]
    >>> error[0] < 0.7 * min(error[1:])
    True
    """
    for name, value, known in (
        ("method", method, METHODS),
        ("channels", channels, CHANNELS),
        ("register", register, REGISTRATIONS),
    ):
        one_of(value, known, name)
    if not is_whole(stride, 1, 16):
        raise DeconvnetError(f"the stride must be a whole number from 1 to 16, not {short(stride)}")
    if not is_number(p, 0):
        raise DeconvnetError(f"the power p must be a finite number from 0 up, not {short(p)}")
    if return_psfs and method != "network":
        raise DeconvnetError(f"method {method!r} estimates no PSFs: use a network")
    device = resolve_device(device)
    # A model that is missing or of another kind is refused before the frames are even read.
    network: Any = as_network(model, "burst", device) if method == "network" else None
    if return_psfs and not isinstance(network, PsfBurstNetwork):
        raise DeconvnetError(f"the network {network.name!r} estimates no PSFs: use one of the kind 'quotient'")
    burst, single, give_back = _checked(frames, channel_axis)
    usual = refine and isinstance(network, PsfBurstNetwork) and device == "cpu"
    with needs("burst" if usual else ""):
        taken = (to_device(frame, device) for frame in _emptied(burst))
        burst = belonging(register_frames(taken, register, progress=progress).frames)
        if min(burst[0].shape[:2]) < MIN_SIDE:
            height, width = burst[0].shape[:2]
            raise DeconvnetError(
                f"the registered frames have only {width}×{height} pixels in common, and {MIN_SIDE} on each side are "
                "needed: leave out the frames that moved most, or use --no-register (register='none')"
            )
        psfs = None
        if method == "mean":
            picture = to_host(mean(burst))
        elif method == "fba":
            picture = to_host(fourier_burst_accumulation(burst, p, extend=True, progress=progress))
        else:
            picture, psfs = _by_network(
                network, burst, channels, p, stride=stride, refine=refine, device=device, progress=progress
            )
    picture = np.clip(picture, 0, 1)
    restored = give_back(picture[..., None] if single else picture)
    return (restored, psfs) if return_psfs else restored


def _emptied(frames: list[Array]) -> Iterator[Array]:
    """The frames of a list, one by one, each for the taker alone: a burst fills the memory."""
    while frames:
        yield frames.pop(0)


def _by_network(
    network: Any, frames: list[Array], channels: str, p: float, **options: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Picture and PSFs of registered frames by a network, on their device; options are those of `restore_frames`.

    The list of frames may be empty afterwards.
    """
    from deconvnet.restore.burst.patches import restore_frames

    def restore(planes: list[Array]) -> tuple[np.ndarray, np.ndarray | None]:
        return restore_frames(network, array_module(*planes).stack(planes), **options)

    if frames[0].ndim == 2:
        return restore(frames)
    if channels == "luma":
        colours = to_host(fourier_burst_accumulation(frames, p, extend=True, progress=options["progress"]))
        sharp, psfs = restore([luminance(frame) for frame in _emptied(frames)])
        return transfer_colour(sharp, colours), psfs
    planes, found = zip(*(restore([frame[..., channel] for frame in frames]) for channel in range(3)))
    return np.stack(planes, axis=-1), found[1]
