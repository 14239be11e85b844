"""Work items: what is to be done with which files, as plain data, and the one function that does it.

An item can be pickled and sent to another process; `run_item` there reads the files, restores and writes.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.progress import recorded, step

if TYPE_CHECKING:
    from deconvnet.files.large import LargePicture

__all__ = ["BurstItem", "Common", "Item", "PhotoItem", "Result", "check_item", "run_item"]

#: What became of an item: JSON-able. ``output``, ``inputs``, ``width``, ``height``, ``bits``, ``psf_size``,
#: ``confidence`` (photos), ``seconds`` (of every step), ``warnings``.
Result = dict[str, Any]
#: Side of the part that a preview restores if none is named.
PREVIEW_SIDE = 512
#: Grey columns between the two halves of a preview.
PREVIEW_GAP = 8
#: From so many pixels on a photo is restored in tiles: at once it would need 2 GB, and 125 bytes for each pixel more.
LARGE = 2**24
#: Rows that are copied at once, and local PSFs that are drawn each way, where the blur varies.
BAND, SHOWN_PSFS = 1024, 5
#: Side of the part of the result by which its place in the input is found.
COMPARED = 1024


@dataclass(frozen=True)
class Common(abc.ABC):
    """What photos and bursts have in common.

    Attributes
    ----------
    output : str
        The picture to write.
    bits : int or None
        Bits a channel of it: 8, 16 or 32; None for those of the input, as far as the format has them.
    only : (x, y, width, height) or None
        The part to restore, in pixels of the upright picture.
    preview : bool
        Restore only a part, the middle if ``only`` is None, and write it beside the same part of the input.
    model : str
    psf_out : str or None
        Where to draw PSFs: a picture for a photo, a folder for a burst.
    before_out : str or None
        Where to write, with 8 bits, the part of the input that the output shows: of a burst, of its sharpest frame.
    device : {"auto", "cpu", "cuda"}
    """

    output: str
    bits: int | None = None
    only: tuple[int, int, int, int] | None = None
    preview: bool = False
    model: str = ""
    psf_out: str | None = None
    before_out: str | None = None
    device: str = "auto"

    @property
    @abc.abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The files that are read."""


@dataclass(frozen=True)
class PhotoItem(Common):
    """One photograph; the options are those of `deconvnet.deblur`, ``psf`` being a file.

    Attributes
    ----------
    tiles : bool
        Read a TIFF file or Zarr array window by window, restore it tile by tile and write it row by row, without
        ever holding it. Photos of many pixels are restored in tiles anyway.
    """

    photo: str = ""
    model: str = "photo"
    psf: str | None = None
    psf_size: str = "auto"
    refine: bool = True
    psf_sharpen: float = 0.0
    psf_threshold: float = 0.05
    nonblind: str = "hyper-laplacian"
    noise: float | None = None
    varying: bool = False
    tiles: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.photo, *((self.psf,) if self.psf else ()))


@dataclass(frozen=True)
class BurstItem(Common):
    """One burst; the options are those of `deconvnet.deblur_burst`.

    Attributes
    ----------
    frames : tuple of str
    lenient : bool
        Leave out a frame that cannot be read, with a warning; otherwise it is an error.
    """

    frames: tuple[str, ...] = ()
    lenient: bool = False
    model: str = "burst"
    method: str = "network"
    stride: int = 10
    channels: str = "luma"
    register: str = "auto"
    p: float = 11.0
    refine: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.frames


Item: TypeAlias = PhotoItem | BurstItem


def _same_file(a: str, b: str) -> bool:
    return Path(a).resolve() == Path(b).resolve()


@functools.lru_cache(maxsize=2)
def _loaded(model: str, kind: str, device: str, changed: int) -> Any:
    from deconvnet.networks.io import load_network

    return load_network(model, kind=kind, device=device)


def _network(model: str, kind: str, device: str) -> Any:
    """A network, loaded once in a process unless its file changes."""
    from deconvnet.weights import find_model

    return _loaded(model, kind, device, find_model(model).stat().st_mtime_ns)


def check_item(item: Item) -> None:
    """Refuse before any long work what can be refused then.

    Raises
    ------
    DeconvnetError
        If a file is missing or cannot be written, or options or the model do not fit.
    """
    from deconvnet.backend import resolve_device
    from deconvnet.files.large import ZARR, can_be_read_by_windows, check_new_array
    from deconvnet.io import check_writable
    from deconvnet.restore.photo.psf import check_psf_options

    device = resolve_device(item.device)
    in_tiles = isinstance(item, PhotoItem) and item.tiles and not item.preview
    for name in item.inputs:
        if not (Path(name).is_file() or (in_tiles and name == item.inputs[0] and can_be_read_by_windows(name))):
            raise DeconvnetError(f"there is no file {name}")
        if _same_file(name, item.output):
            what = "is one of the frames" if isinstance(item, BurstItem) else "would replace what is read"
            raise DeconvnetError(f"{item.output} {what}: choose another name or folder for the output")
    if in_tiles and Path(item.output).suffix.lower() == ZARR:
        check_new_array(item.output)
    else:
        check_writable(item.output, item.bits or 8)
    if isinstance(item, PhotoItem):
        if item.psf_out:
            check_writable(item.psf_out)
            if any(_same_file(name, item.psf_out) for name in item.inputs):
                raise DeconvnetError(f"{item.psf_out} would replace what is read: choose another name")
            if _same_file(item.output, item.psf_out):
                raise DeconvnetError(f"{item.output} is named for the picture and for the PSF: choose two names")
        if item.psf and item.varying:
            raise DeconvnetError("a known PSF holds for the whole photo: leave either --psf or --varying away")
        if not item.psf:
            network = _network(item.model, "photo", device)
            check_psf_options(network, item.psf_size, item.psf_sharpen, item.psf_threshold, item.refine)
        return
    if len(item.frames) < 2:
        only = f"{item.frames[0]} is the only one" if item.frames else "there is none"
        raise DeconvnetError(f"a burst needs at least two frames, and {only}")
    if item.psf_out and item.method != "network":
        raise DeconvnetError(f"--method {item.method} estimates no PSFs: leave --psf-out away")
    if item.method == "network":
        _network(item.model, "burst", device)


@contextlib.contextmanager
def _heard(tell: Callable[[str], None]) -> Iterator[list[str]]:
    """Hand warnings on as they come, one line each, and collect them."""
    heard: list[str] = []

    def show(message: Any, *_: Any, **__: Any) -> None:
        heard.append(str(message))
        tell(heard[-1])

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield heard


def run_item(item: Item, tell: Callable[[str], None] = lambda line: None, *, progress: bool = False) -> Result:
    """Do what an item says: read, restore, write.

    Parameters
    ----------
    item : PhotoItem or BurstItem
    tell : callable
        Gets every warning, as one line.
    progress : bool
        Show bars.

    Returns
    -------
    Result

    Raises
    ------
    DeconvnetError
        If something cannot be used; the message says what to do.
    """
    with recorded() as seconds, _heard(tell) as heard:
        check_item(item)
        found = _photo(item, progress) if isinstance(item, PhotoItem) else _burst(item, progress)
    return {
        "output": item.output,
        "inputs": list(item.inputs),
        **found,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "warnings": heard,
    }


def _part(item: Common, shape: tuple[int, ...], what: str) -> tuple[slice, slice]:
    """Rows and columns that an item asks for, of a picture of this shape."""
    height, width = shape[:2]
    if item.only is None:
        if not item.preview:
            return slice(0, height), slice(0, width)
        h, w = min(height, PREVIEW_SIDE), min(width, PREVIEW_SIDE)
        x, y = (width - w) // 2, (height - h) // 2
    else:
        x, y, w, h = item.only
        if x + w > width or y + h > height:
            raise DeconvnetError(f"{what} is {width}×{height} pixels: --only {x},{y},{w},{h} reaches beyond it")
    return slice(y, y + h), slice(x, x + w)


def _same_part(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The part of a picture that another one shows, which was cropped a little: where their edges agree most."""
    from scipy.signal import fftconvolve

    from deconvnet.colour import luminance

    if before.shape[:2] == after.shape[:2]:
        return before
    spare = [a - b for a, b in zip(before.shape[:2], after.shape[:2])]
    first = [max(0, side - COMPARED) // 2 for side in after.shape[:2]]
    part = after[tuple(slice(f, f + COMPARED) for f in first)]
    room = before[tuple(slice(f, f + n + s) for f, n, s in zip(first, part.shape, spare))]
    across, along = (
        [np.diff(luminance(picture[..., :3] if picture.ndim == 3 else picture), axis=axis) for picture in (room, part)]
        for axis in (0, 1)
    )
    agreement = sum(fftconvolve(edges, wanted[::-1, ::-1], mode="valid") for edges, wanted in (across, along))
    top, left = np.unravel_index(int(np.argmax(agreement)), agreement.shape)
    return before[top : top + after.shape[0], left : left + after.shape[1]]


def _beside(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Two pictures of one size beside each other."""
    gap = np.full((after.shape[0], PREVIEW_GAP, *after.shape[2:]), 0.5, after.dtype)
    if after.ndim == 3 and after.shape[-1] in (2, 4):
        gap[..., -1] = 1
    return np.concatenate([before, gap, after], axis=1)


def _stored(pixels: np.ndarray, linear: bool) -> np.ndarray:
    """A picture as files hold it: linear light, as RAW files are restored in, gets the curve of sRGB."""
    from deconvnet.blur.camera import linear_to_srgb

    return linear_to_srgb(pixels) if linear else pixels


def _photo(item: PhotoItem, progress: bool) -> Result:
    from deconvnet.files.large import ZARR, LargePicture, can_be_read_by_windows, open_large
    from deconvnet.io import WITH_ALPHA, read_stored

    alpha = "kept" if Path(item.output).suffix.lower() in (*WITH_ALPHA, ZARR) else "white"
    with contextlib.ExitStack() as stack:
        with step("reading", shown=progress):
            if item.tiles and can_be_read_by_windows(item.photo):
                picture = stack.enter_context(open_large(item.photo, alpha=alpha))
            else:
                array, largest, metadata = read_stored(item.photo, linear_raw=True)
                picture = LargePicture(array, largest, metadata, alpha=alpha)
                del array
        picture = picture.part(*_part(item, picture.shape, item.photo))
        large = item.tiles or (picture.shape[0] * picture.shape[1] > LARGE and not item.varying)
        return (_in_tiles if large and not item.preview else _at_once)(item, picture, progress)


def _options_of(item: PhotoItem) -> dict[str, Any]:
    """Those that `deblur` and `plan_tiles` have in common."""
    from deconvnet.backend import resolve_device
    from deconvnet.colour import luminance
    from deconvnet.io import read_image

    device = resolve_device(item.device)
    return {
        "model": "" if item.psf else _network(item.model, "photo", device),
        "psf_size": item.psf_size,
        "refine": item.refine,
        "psf_sharpen": item.psf_sharpen,
        "psf_threshold": item.psf_threshold,
        "psf": luminance(read_image(item.psf).pixels) if item.psf else None,
        "noise": item.noise,
        "varying": item.varying,
        "device": device,
    }


def _at_once(item: PhotoItem, picture: LargePicture, progress: bool) -> Result:
    from deconvnet.files.formats import is_raw
    from deconvnet.io import write_image
    from deconvnet.restore.photo.deblur import deblur

    bits, metadata, pixels = picture.bits, picture.metadata, np.ascontiguousarray(picture[:, :])
    del picture  # as the file holds it
    sharp, psf, confidence = deblur(
        pixels,
        **_options_of(item),
        nonblind=item.nonblind,
        progress=progress,
        return_psf=True,
        return_confidence=True,
    )
    pixels, sharp = (_stored(values, is_raw(item.photo)) for values in (pixels, sharp))
    shown = _beside(pixels, sharp) if item.preview else sharp
    bits = _depth(item, bits)
    with step("writing", shown=progress):
        write_image(item.output, shown, bits, metadata.signed())
        if item.before_out:
            write_image(item.before_out, pixels, metadata=metadata.signed())
    _draw_psf(item, psf)
    return _described(shown.shape, bits, psf, confidence)


def _in_tiles(item: PhotoItem, picture: LargePicture, progress: bool) -> Result:
    from deconvnet.files.formats import is_raw
    from deconvnet.files.large import write_rows
    from deconvnet.restore.photo.tiles import deblur_rows, plan_tiles

    options, colours = _options_of(item), picture.colours()
    plan = plan_tiles(colours, **options, progress=progress)
    bits, linear = _depth(item, picture.bits), is_raw(item.photo)
    dtypes = {8: np.uint8, 16: np.uint16, 32: np.float32}

    def with_alpha(bands: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        first = 0
        for band in bands:
            if colours.shape != picture.shape:
                alpha = picture[first : first + len(band), :][..., -1:]
                band = np.concatenate([band.reshape(*band.shape[:2], -1), alpha], axis=-1)
            first += len(band)
            yield band

    def as_stored(bands: Iterator[np.ndarray], bits: int) -> Iterator[np.ndarray]:
        for band in bands:
            values = _stored(band, linear)
            yield values if bits == 32 else np.rint(values * (2**bits - 1)).astype(dtypes[bits])

    rows = with_alpha(deblur_rows(colours, plan, nonblind=item.nonblind, device=options["device"], progress=progress))
    metadata = picture.metadata.signed()
    write_rows(item.output, as_stored(rows, bits), picture.shape, dtypes[bits], metadata)
    if item.before_out:
        height = picture.shape[0]
        before = (picture[first : first + BAND, :] for first in range(0, height, BAND))
        write_rows(item.before_out, as_stored(before, 8), picture.shape, np.uint8, metadata)
    psf = plan.psfs[0]
    if len(plan.psfs) > 1:
        psf = plan.psfs_at(*(n * (np.arange(SHOWN_PSFS) + 0.5) / SHOWN_PSFS for n in picture.shape[:2]))
    _draw_psf(item, psf)
    return _described(picture.shape, bits, psf, plan.confidence)


def _depth(item: Common, bits: int) -> int:
    """Bits a channel of the output, for an input of so many."""
    from deconvnet.files.large import ZARR
    from deconvnet.io import depth_for

    return item.bits or (bits if Path(item.output).suffix.lower() == ZARR else depth_for(item.output, bits))


def _draw_psf(item: PhotoItem, psf: np.ndarray) -> None:
    """Write the PSF (k, k), or those of a grid, where the item wants it."""
    from deconvnet.inspect.psf_picture import draw_psf_grid
    from deconvnet.io import Metadata, depth_for, write_image

    if item.psf_out and psf.ndim == 2:  # as it is, so that it can be read again with --psf
        write_image(item.psf_out, psf / psf.max(), depth_for(item.psf_out, 16), Metadata().signed())
    elif item.psf_out:
        write_image(item.psf_out, draw_psf_grid(psf), metadata=Metadata().signed())


def _described(shape: tuple[int, ...], bits: int, psf: np.ndarray, confidence: float | None) -> Result:
    found = {"psf_size": list(psf.shape[-2:]), "confidence": None if confidence is None else round(confidence, 3)}
    return {"width": shape[1], "height": shape[0], "bits": bits, **found}


def _left_out(name: str, reason: object) -> None:
    warnings.warn(f"{name} is left out: {reason}", stacklevel=3)


def _read_frames(item: BurstItem, progress: bool) -> tuple[list[str], list[Any]]:
    """The frames that can be used together, their names and what `read_image` gave."""
    from deconvnet.files.formats import is_raw
    from deconvnet.io import read_image

    names, found = [], []
    with step("reading", len(item.frames), "frame", shown=progress) as reading:
        for name in item.frames:
            try:
                found.append(read_image(name))
                names.append(name)
            except DeconvnetError as error:
                if not item.lenient:
                    raise
                text = str(error)
                _left_out(name, f"it{text.removeprefix(name)}" if text.startswith(name) else text)
            reading.update()
    shapes = [picture.pixels.shape[:2] for picture in found]
    usual = max(shapes, key=shapes.count) if shapes else (0, 0)
    kept: list[tuple[str, Any]] = []
    for name, picture in zip(names, found):
        height, width = picture.pixels.shape[:2]
        if (height, width) != usual:
            _left_out(name, f"it is {width}×{height} pixels, and the others are {usual[1]}×{usual[0]}")
        elif kept and picture.metadata.profile != kept[0][1].metadata.profile:
            _left_out(name, f"its colour profile is not that of {kept[0][0]}: convert it")
        elif kept and is_raw(name) != is_raw(kept[0][0]):
            _left_out(name, f"of it and {kept[0][0]} only one is RAW: develop it first")
        else:
            kept.append((name, picture))
    if len(kept) < 2:
        raise DeconvnetError(f"a burst needs at least two frames of one size, and there is {len(kept) or 'none'}")
    return [name for name, _ in kept], [picture for _, picture in kept]


def _burst(item: BurstItem, progress: bool) -> Result:
    from deconvnet.backend import resolve_device
    from deconvnet.inspect.psf_picture import draw_psfs
    from deconvnet.io import Metadata, depth_for, write_image
    from deconvnet.restore.burst.deblur import deblur_burst
    from deconvnet.restore.burst.registration import sharpness

    device = resolve_device(item.device)
    folder = _psf_folder(item.psf_out) if item.psf_out else None
    names, pictures = _read_frames(item, progress)
    part = _part(item, pictures[0].pixels.shape, names[0])
    metadata, bits = pictures[0].metadata, min(picture.bits for picture in pictures)
    frames = [picture.pixels[part] for picture in pictures]
    before = max(frames, key=sharpness) if item.preview or item.before_out else None
    del pictures

    def emptied() -> Iterator[np.ndarray]:
        while frames:
            yield frames.pop(0)

    with _named(names):
        result = deblur_burst(
            emptied(),
            model=_network(item.model, "burst", device) if item.method == "network" else None,
            method=item.method,
            stride=item.stride,
            channels=item.channels,
            register=item.register,
            p=item.p,
            refine=item.refine,
            device=device,
            progress=progress,
            return_psfs=folder is not None,
        )
    picture, psfs = (result, None) if folder is None else result
    before = None if before is None else _same_part(before, picture)
    shown = _beside(before, picture) if item.preview and before is not None else picture
    bits = item.bits or depth_for(item.output, bits)
    with step("writing", shown=progress):
        write_image(item.output, shown, bits, metadata.signed())
        if item.before_out and before is not None:
            write_image(item.before_out, before, metadata=metadata.signed())
    if folder is not None and psfs is not None:
        for index in range(psfs.shape[2]):
            drawn = draw_psfs(picture, psfs[:, :, index])
            write_image(folder / f"psf_{index + 1:02d}.png", drawn, metadata=Metadata().signed())
    size = None if psfs is None else list(psfs.shape[-2:])
    return {"width": shown.shape[1], "height": shown.shape[0], "bits": bits, "psf_size": size, "frames": len(names)}


@contextlib.contextmanager
def _named(names: list[str]) -> Iterator[None]:
    """Let messages that speak of ``frame 3`` name its file too."""

    def named(text: str) -> str:
        return re.sub(r"\bframe (\d+)\b", lambda m: f"frame {m[1]} ({Path(names[int(m[1]) - 1]).name})", text)

    inner = warnings.showwarning

    def show(message: Any, *args: Any, **options: Any) -> None:
        inner(named(str(message)), *args, **options)

    warnings.showwarning = show
    try:
        yield
    except DeconvnetError as error:
        raise DeconvnetError(named(str(error))) from error
    finally:
        warnings.showwarning = inner


def _psf_folder(name: str) -> Path:
    """The folder for pictures of PSFs, made if its parent exists."""
    from deconvnet.io import check_writable

    folder = Path(name)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DeconvnetError(f"the folder {folder} cannot be made: {error.strerror}") from error
    check_writable(folder / "psf_01.png")
    return folder
