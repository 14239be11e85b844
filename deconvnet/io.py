"""Pictures on disk: read as floats in [0, 1], written beside and renamed, so that no half picture is ever seen."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from deconvnet.errors import DeconvnetError
from deconvnet.files import part_name, replacing
from deconvnet.files.formats import HEIF, READABLE, WITH_ALPHA, WRITABLE, needs
from deconvnet.files.metadata import Metadata

if TYPE_CHECKING:
    from deconvnet.files.decode import Decoded

__all__ = [
    "READABLE",
    "WITH_ALPHA",
    "WRITABLE",
    "Metadata",
    "Picture",
    "check_writable",
    "depth_for",
    "list_pictures",
    "read_image",
    "read_stored",
    "write_image",
]


_ROWS = 256  # that are converted at once: bounds the memory


class Picture(NamedTuple):
    """What `read_image` returns.

    Attributes
    ----------
    pixels : float32 array (H, W, 3) or (H, W)
        Colour or grey, in [0, 1], upright; (H, W, 4) or (H, W, 2) if an alpha channel was kept.
    bits : int
        8 or 16 per channel as read; 32 for a file of floats.
    metadata : Metadata
        EXIF and colour profile, for `write_image`.
    """

    pixels: np.ndarray
    bits: int
    metadata: Metadata


def read_image(path: str | Path, *, keep_alpha: bool = False, linear_raw: bool = False) -> Picture:
    """Read a picture file.

    Parameters
    ----------
    path : path-like
        JPEG, PNG, TIFF, WebP, BMP, AVIF, or another format that Pillow reads; HEIC with the extra ``heif``; a
        camera's RAW with the extra ``raw``, as sRGB of 16 bits, not sharpened. What it is, its content says (of RAW
        files the suffix); of several pages the first is read.
    keep_alpha : bool
        Leave an alpha channel as the last channel. By default transparent parts are laid on white, and the alpha
        channel is gone.
    linear_raw : bool
        Leave a camera's RAW in linear light, in which shake is a convolution, with the primaries of sRGB
        (`deconvnet.blur.camera.linear_to_srgb` has the curve). No other format changes.

    Returns
    -------
    Picture
        ``(pixels, bits, metadata)``, turned upright by its EXIF orientation. The values are those of the file's own
        colour profile; CMYK and Lab are converted to sRGB.

    Raises
    ------
    DeconvnetError
        If the file is missing, is no picture, has more pixels than Pillow takes for safe (179 million, if
        `PIL.Image.MAX_IMAGE_PIXELS` is as it was), or holds values that are none of 8 bits, 16 bits or floats in
        [0, 1].

    Warns
    -----
    UserWarning
        If the file has several pages or frames.
    """
    from deconvnet.files.large import LargePicture

    stored = read_stored(path, linear_raw=linear_raw)
    picture = LargePicture(*stored, alpha="kept" if keep_alpha else "white")
    return Picture(np.ascontiguousarray(picture[:, :]), picture.bits, picture.metadata)


def read_stored(path: str | Path, *, linear_raw: bool = False) -> Decoded:
    """Read a picture file as it holds its pixels, upright; the parameters and errors are those of `read_image`.

    Returns
    -------
    deconvnet.files.decode.Decoded
        ``(array, largest, metadata)``: values from 0 to ``largest``, an alpha channel the last of 2 or 4.
    """
    from deconvnet.files.decode import Decoded, decode

    path = Path(path)
    if not path.exists():
        raise DeconvnetError(f"there is no file {path}")
    if not path.is_file():
        raise DeconvnetError(f"{path} is no file: name a picture")
    array, largest, metadata = decode(path, linear_raw=linear_raw)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (2, 3, 4)) or array.size == 0:
        raise DeconvnetError(f"{path} is no picture that can be used: its array has the shape {array.shape}")
    if largest == 1 and not np.isfinite(array).all():
        raise DeconvnetError(f"{path} holds values that are not finite (NaN or infinite): mend them first")
    if largest > 65535 or not (np.min(array) >= 0 and np.max(array) <= largest):
        raise DeconvnetError(f"{path} holds values that are none of 8 bits, 16 bits or floats in [0, 1]: scale them")
    return Decoded(array, largest, metadata)


def depth_for(path: str | Path, bits: int) -> int:
    """Bits a channel with which a picture of so many bits is written there: as many, or as near as the format has.

    Parameters
    ----------
    path : path-like
        Its suffix tells the format.
    bits : {8, 16, 32}

    Returns
    -------
    int
    """
    depths = WRITABLE.get(Path(path).suffix.lower(), (8,))
    return max(depth for depth in depths if depth <= bits)


def list_pictures(folder: str | Path) -> list[Path]:
    """The picture files in a folder (not in those inside it), sorted by name.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of Path
        Files with a suffix of `READABLE`; hidden files are left out.

    Raises
    ------
    DeconvnetError
        If there is none.
    """
    folder = Path(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DeconvnetError(f"the folder {folder} cannot be read: {error.strerror}") from error
    found = [f for f in entries if f.suffix.lower() in READABLE and not f.name.startswith(".") and f.is_file()]
    if not found:
        raise DeconvnetError(f"no pictures in {folder}: {', '.join(READABLE)} files are wanted")
    return found


@functools.cache
def _has_avif() -> bool:
    from PIL import features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # versions that do not know it warn
        return bool(features.check("avif"))


def check_writable(path: str | Path, bits: int = 8) -> None:
    """Make sure, before any long work, that `write_image` will be able to write there.

    Parameters
    ----------
    path : path-like
        An existing picture there will be replaced.
    bits : {8, 16, 32}
        32 are floats.

    Raises
    ------
    DeconvnetError
        If the format is unknown, needs an extra that is not installed, or cannot hold the bits, or the folder is
        missing or not writable.
    """
    path = Path(path)
    depths = WRITABLE.get(path.suffix.lower())
    if depths is None:
        raise DeconvnetError(f"{path}: the name must end in one of {', '.join(WRITABLE)}")
    if bits not in depths:
        raise DeconvnetError(f"{path} cannot hold {bits} bits a channel: use .png or .tif, or fewer bits")
    if path.suffix.lower() in HEIF and importlib.util.find_spec("pillow_heif") is None:
        raise needs(f"{path} is to be a HEIC picture", "heif")
    if path.suffix.lower() == ".avif" and not _has_avif():
        raise DeconvnetError(f"{path} cannot be written: this Pillow has no AVIF, use another format")
    if path.is_dir():
        raise DeconvnetError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise DeconvnetError(f"there is no folder {path.parent} to write to: make it first")
    try:
        part_name(path).touch()
        part_name(path).unlink()
    except OSError as error:
        raise DeconvnetError(f"{path} cannot be written: {error.strerror}") from error


def write_image(path: str | Path, image: npt.ArrayLike, bits: int = 8, metadata: Metadata | None = None) -> None:
    """Write a picture file: beside it first, then renamed.

    Parameters
    ----------
    path : path-like
        The suffix tells the format, see `WRITABLE`.
    image : float array (H, W) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)
        In [0, 1]; values outside are clipped.
    bits : {8, 16, 32}
        Per channel; 16 for PNG and TIFF only, 32, which are floats, for TIFF only.
    metadata : Metadata, optional
        What `read_image` found in the file that the picture comes from. A colour profile that does not fit the number
        of channels is left out; BMP files hold none of it.

    Raises
    ------
    DeconvnetError
        As `check_writable`, or if the image is not finite, has alpha where the format has none (see `WITH_ALPHA`), or
        the disk is full; nothing is left behind then.
    """
    from deconvnet.files.encode import encode

    path = Path(path)
    check_writable(path, bits)
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) and path.suffix.lower() not in WITH_ALPHA:
        raise DeconvnetError(f"{path} cannot hold an alpha channel: use one of {', '.join(WITH_ALPHA)}")
    whole = np.empty(pixels.shape, {8: np.uint8, 16: np.uint16, 32: np.float32}[bits])
    for first in range(0, len(pixels), _ROWS):
        rows = pixels[first : first + _ROWS]
        if not np.isfinite(rows).all():
            raise DeconvnetError(f"{path} is not written: the picture holds values that are not finite")
        rows = np.clip(rows.astype(np.promote_types(rows.dtype, np.float32), copy=False), 0, 1)
        whole[first : first + _ROWS] = rows if bits == 32 else np.rint(rows * (2**bits - 1))
    with replacing(path) as part:
        part.write_bytes(encode(whole, path.suffix.lower(), metadata or Metadata()))
