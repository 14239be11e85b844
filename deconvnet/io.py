"""Pictures on disk: read as floats in [0, 1], written beside and renamed, so that no half picture is ever seen."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deconvnet.errors import DeconvnetError
from deconvnet.files import part_name, replacing

__all__ = [
    "READABLE",
    "WITH_ALPHA",
    "WRITABLE",
    "Picture",
    "check_writable",
    "list_pictures",
    "read_image",
    "write_image",
]

#: Suffixes of the files that are taken from a folder.
READABLE = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: Suffixes that can be written, and with how many bits.
WRITABLE = {
    ".bmp": (8,),
    ".jpeg": (8,),
    ".jpg": (8,),
    ".png": (8, 16),
    ".tif": (8, 16),
    ".tiff": (8, 16),
    ".webp": (8,),
}
#: Those of them that can hold an alpha channel.
WITH_ALPHA = (".png", ".tif", ".tiff", ".webp")
#: PNG's number for grey, grey and alpha, RGB, RGB and alpha.
_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
#: Modes of Pillow that are read as they are; palettes, CMYK and others are converted to RGB first.
_PLAIN_MODES = frozenset(("F", "I", "I;16", "I;16B", "I;16L", "L", "LA", "RGB", "RGBA"))


class Picture(NamedTuple):
    """What `read_image` returns.

    Attributes
    ----------
    pixels : float32 array (H, W, 3) or (H, W)
        Colour or grey, in [0, 1], upright; (H, W, 4) or (H, W, 2) if an alpha channel was kept.
    bits : int
        8 or 16 per channel as read; 32 for a file of floats.
    """

    pixels: np.ndarray
    bits: int


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_array(path: Path) -> np.ndarray:
    """The pixels as the file holds them, upright."""
    import imageio.v3 as iio

    if path.suffix.lower() in (".tif", ".tiff"):
        # Pillow would cut 16-bit colour to 8 bits.
        import tifffile

        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            if page.samplesperpixel > 1 and page.bitspersample == 16:
                return page.asarray()
    picture: Any  # the plugin for Pillow takes more options than imageio's interface declares
    with iio.imopen(path, "r", plugin="pillow") as picture:
        mode = picture.metadata(index=0, exclude_applied=False).get("mode")
        return picture.read(index=0, mode=None if mode in _PLAIN_MODES else "RGB", rotate=True)


def read_image(path: str | Path, *, keep_alpha: bool = False) -> Picture:
    """Read a picture file.

    Parameters
    ----------
    path : path-like
        JPEG, PNG, TIFF, WebP, BMP, or another format that Pillow reads; of several pages the first.
    keep_alpha : bool
        Leave an alpha channel as the last channel. By default transparent parts are laid on white, and the alpha
        channel is gone.

    Returns
    -------
    Picture
        ``(pixels, bits)``, turned upright by its EXIF orientation. PNG files with 16-bit colour are read with 8 bits,
        and the orientation tag of TIFF files with 16-bit colour is not looked at: Pillow's limits.

    Raises
    ------
    DeconvnetError
        If the file is missing, is no picture, or holds values that are none of 8 bits, 16 bits or floats in [0, 1].
    """
    path = Path(path)
    if not path.exists():
        raise DeconvnetError(f"there is no file {path}")
    if not path.is_file():
        raise DeconvnetError(f"{path} is no file: name a picture")
    try:
        array = _read_array(path)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like on broken files
        raise DeconvnetError(f"{path} cannot be read as a picture: {_first_line(error)}") from error
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (2, 3, 4)) or array.size == 0:
        raise DeconvnetError(f"{path} is no picture that can be used: its array has the shape {array.shape}")
    if array.dtype == np.uint8:
        bits, largest = 8, 255
    elif array.dtype.kind in "iu":
        bits, largest = 16, 65535
    else:
        bits, largest = 32, 1
    if not (np.min(array) >= 0 and np.max(array) <= largest):
        raise DeconvnetError(f"{path} holds values that are none of 8 bits, 16 bits or floats in [0, 1]")
    pixels = array.astype(np.float32)
    pixels /= largest
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) and not keep_alpha:
        alpha = pixels[..., -1:]
        pixels = pixels[..., :-1] * alpha + (1 - alpha)
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return Picture(np.ascontiguousarray(pixels), bits)


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


def check_writable(path: str | Path, bits: int = 8) -> None:
    """Make sure, before any long work, that `write_image` will be able to write there.

    Parameters
    ----------
    path : path-like
        An existing picture there will be replaced.
    bits : {8, 16}

    Raises
    ------
    DeconvnetError
        If the format is unknown or cannot hold the bits, or the folder is missing or not writable.
    """
    path = Path(path)
    depths = WRITABLE.get(path.suffix.lower())
    if depths is None:
        raise DeconvnetError(f"{path}: the name must end in one of {', '.join(WRITABLE)}")
    if bits not in depths:
        raise DeconvnetError(f"{path} cannot hold {bits} bits a channel: use .png or .tif, or 8 bits")
    if path.is_dir():
        raise DeconvnetError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise DeconvnetError(f"there is no folder {path.parent} to write to: make it first")
    try:
        part_name(path).touch()
        part_name(path).unlink()
    except OSError as error:
        raise DeconvnetError(f"{path} cannot be written: {error.strerror}") from error


def _png_16(image: np.ndarray) -> bytes:
    """The bytes of a 16-bit PNG file: Pillow writes none in colour.

    Each row is stored as its difference from the row above (filter type 2), which deflates much better.
    """
    height, width = image.shape[:2]
    rows = image.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.full((height, rows.shape[1] + 1), 2, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]  # modulo 256, as the format has it
    channels = 1 if image.ndim == 2 else image.shape[-1]
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _encode(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of a picture file."""
    import imageio.v3 as iio

    if suffix == ".png" and image.dtype == np.uint16:
        return _png_16(image)
    if suffix in (".tif", ".tiff"):
        import io

        import tifffile

        memory = io.BytesIO()
        colour = image.ndim == 3 and image.shape[-1] > 2
        layout: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
        if image.ndim == 3:
            layout["planarconfig"] = "contig"
            if image.shape[-1] % 2 == 0:
                layout["extrasamples"] = ("unassalpha",)
        tifffile.imwrite(memory, image, **layout)
        return memory.getvalue()
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    return iio.imwrite("<bytes>", image, plugin="pillow", extension=suffix, **options)


def write_image(path: str | Path, image: npt.ArrayLike, bits: int = 8) -> None:
    """Write a picture file: beside it first, then renamed.

    Parameters
    ----------
    path : path-like
        The suffix tells the format, see `WRITABLE`.
    image : float array (H, W) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)
        In [0, 1]; values outside are clipped.
    bits : {8, 16}
        Per channel; 16 for PNG and TIFF only.

    Raises
    ------
    DeconvnetError
        As `check_writable`, or if the image is not finite, has alpha where the format has none (see `WITH_ALPHA`), or
        the disk is full; nothing is left behind then.
    """
    path = Path(path)
    check_writable(path, bits)
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] in (2, 4) and path.suffix.lower() not in WITH_ALPHA:
        raise DeconvnetError(f"{path} cannot hold an alpha channel: use one of {', '.join(WITH_ALPHA)}")
    if not np.isfinite(image).all():
        raise DeconvnetError(f"{path} is not written: the picture holds values that are not finite")
    largest = 2**bits - 1
    whole = np.rint(np.clip(image, 0, 1) * largest).astype(np.uint8 if bits == 8 else np.uint16)
    with replacing(path) as part:
        part.write_bytes(_encode(whole, path.suffix.lower()))
