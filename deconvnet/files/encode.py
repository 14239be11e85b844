"""Picture files out of pixels, by the library that knows the format best."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO, cast

import numpy as np

from deconvnet.files.formats import HEIF, needs
from deconvnet.files.metadata import EXIF_IFD, GPS_IFD, INTEROP_IFD, MAKER_NOTE, Metadata, exif_of, kept_exif

__all__ = ["add_directories", "encode", "tiff_options"]

_FORMATS = {".avif": "AVIF", ".bmp": "BMP", ".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_LOSSY = {"quality": 95}
#: Of 8-bit PNG: more takes twice the time for two per cent.
_PNG_LEVEL = 4
#: Longest EXIF block that fits into JPEG's marker.
_JPEG_EXIF = 65533
#: Where tifffile lets no directory be named: the free tags just before those of the EXIF and GPS directories.
_PLACES = {EXIF_IFD: EXIF_IFD - 1, GPS_IFD: GPS_IFD - 1}


def encode(image: np.ndarray, suffix: str, metadata: Metadata) -> bytes:
    """The bytes of a picture file.

    Parameters
    ----------
    image : uint8, uint16 or float32 array (H, W) or (H, W, C)
        Of a depth that the format has (`deconvnet.files.formats.WRITABLE`); C is 1 to 4, alpha the last of 2 or 4.
    suffix : str
        ``".png"``, …
    metadata : Metadata

    Returns
    -------
    bytes
    """
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    image = np.ascontiguousarray(image)
    metadata = metadata.for_channels(1 if image.ndim == 2 or image.shape[-1] == 2 else 3)
    if suffix in (".tif", ".tiff"):
        return _tiff(image, metadata)
    if suffix == ".png" and image.dtype == np.uint16:
        return _deep_png(image, metadata)
    from PIL import Image

    options: dict[str, Any] = {"format": _FORMATS.get(suffix, "HEIF")}
    if suffix in HEIF:
        try:
            import pillow_heif
        except ImportError:
            raise needs(f"{suffix} pictures are not written here", "heif") from None
        pillow_heif.register_heif_opener()
    if suffix not in (".bmp", ".png"):
        options |= _LOSSY
    if suffix == ".png":
        options["compress_level"] = _PNG_LEVEL
    if suffix != ".bmp":
        options |= {"exif": metadata.exif} if metadata.exif else {}
        options |= {"icc_profile": metadata.profile} if metadata.profile else {}
    if suffix in (".jpg", ".jpeg") and len(metadata.exif) > _JPEG_EXIF:
        shorter = kept_exif(exif_of(metadata.exif), without=(MAKER_NOTE,))
        options["exif"] = shorter if len(shorter) <= _JPEG_EXIF else b""
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, **options)
    return memory.getvalue()


def _deep_png(image: np.ndarray, metadata: Metadata) -> bytes:
    """A PNG file of 16 bits, which Pillow does not write in colour."""
    import imagecodecs
    from PIL import PngImagePlugin

    png = imagecodecs.PNG  # fast, and for pictures as small as the slowest
    data = bytes(
        imagecodecs.png_encode(
            image, level=png.COMPRESSION.SPEED, strategy=png.STRATEGY.FILTERED, filter=png.FILTER.SUB
        )
    )
    chunks = io.BytesIO()
    if metadata.profile:
        PngImagePlugin.putchunk(chunks, b"iCCP", b"ICC profile\0\0", _deflated(metadata.profile))
    if metadata.exif:
        PngImagePlugin.putchunk(chunks, b"eXIf", metadata.exif.removeprefix(b"Exif\0\0"))
    header = 33  # signature and the chunk IHDR, which comes first
    return data[:header] + chunks.getvalue() + data[header:]


def _deflated(data: bytes) -> bytes:
    import zlib

    return zlib.compress(data)


def _tiff(image: np.ndarray, metadata: Metadata) -> bytes:
    """A TIFF file, with the directories of EXIF and GPS behind the pixels."""
    import tifffile

    memory = io.BytesIO()
    tifffile.imwrite(memory, image, byteorder="<", **tiff_options(image.shape, metadata))
    add_directories(memory, metadata)
    return memory.getvalue()


def tiff_options(shape: tuple[int, ...], metadata: Metadata) -> dict[str, Any]:
    """What `tifffile.imwrite` is told of a picture (H, W) or (H, W, C); `add_directories` completes the metadata."""
    exif = exif_of(metadata.exif)
    colour = len(shape) == 3 and shape[-1] > 2
    options: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack", "metadata": None, "software": False}
    if len(shape) == 3:
        options["planarconfig"] = "contig"
        if shape[-1] % 2 == 0:
            options["extrasamples"] = ("unassalpha",)
    if metadata.profile:
        options["iccprofile"] = metadata.profile
    texts = [(tag, value.encode("latin-1", "replace")) for tag, value in exif.items() if isinstance(value, str)]
    tags: list[Any] = [(tag, 2, len(text) + 1, text + b"\0", True) for tag, text in texts]
    tags += [(_PLACES[pointer], 4, 1, 0, True) for pointer in _PLACES if pointer in exif]
    return {**options, "extratags": tags}


def add_directories(file: BinaryIO, metadata: Metadata) -> None:
    """Write the directories of EXIF and GPS behind a TIFF file (little-endian) that was made with `tiff_options`.

    Parameters
    ----------
    file : binary file
        That can be read and written at any place.
    metadata : Metadata
    """
    import tifffile
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    exif = exif_of(metadata.exif)
    directories = {pointer: dict(exif.get_ifd(pointer)) for pointer in _PLACES if pointer in exif}
    if not directories:
        return
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        big, page = tiff.is_bigtiff, cast(Any, tiff.pages[0])
        entries = {pointer: page.tags[_PLACES[pointer]].offset for pointer in directories}
    header, entry = (b"II+\0\x08\0\0\0" + bytes(8), "<HHQQ") if big else (b"II*\0\x08\0\0\0", "<HHII")
    for pointer, content in directories.items():
        directory = ImageFileDirectory_v2(header, group=pointer)
        for tag, value in content.items():
            directory[tag] = dict(exif.get_ifd(INTEROP_IFD)) if tag == INTEROP_IFD else value
        file.seek(0, io.SEEK_END)
        file.write(b"\0" * (-file.tell() % 4))
        place = file.tell()
        file.write(directory.tobytes(place))
        file.seek(entries[pointer])
        file.write(struct.pack(entry, pointer, 16 if big else 4, 1, place))
