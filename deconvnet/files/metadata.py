"""What a picture file says beside its pixels: EXIF and the colour profile, read from one file and kept in another."""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from deconvnet._version import __version__
from deconvnet.files.formats import RAW, is_big_tiff, is_tiff

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Metadata", "capture_time", "damage_ignored", "exif_of", "kept_exif", "read_exif", "written_here"]

ORIENTATION, PROCESSING_SOFTWARE, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x000B, 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C
#: Tags of the main directory that say something of the photograph; the others say how its file is laid out.
DESCRIPTIVE = (
    *(PROCESSING_SOFTWARE, 0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C),
    *(0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
)
#: Tags of the EXIF directory that need not hold for the picture that is written: the size in pixels.
STALE = (0xA002, 0xA003)
#: What `PROCESSING_SOFTWARE` says in pictures that this package wrote.
SIGNATURE = f"deconvnet {__version__}"


class Metadata(NamedTuple):
    """What is kept beside the pixels.

    Attributes
    ----------
    exif : bytes
        An EXIF block, ``b"Exif\\0\\0…"``, without orientation and thumbnail; empty if there is none.
    profile : bytes
        ICC profile; empty if there is none: sRGB.
    """

    exif: bytes = b""
    profile: bytes = b""

    def signed(self) -> Metadata:
        """The same, and the EXIF says that this package wrote the picture (``ProcessingSoftware``)."""
        exif = exif_of(self.exif)
        exif[PROCESSING_SOFTWARE] = SIGNATURE
        return self._replace(exif=kept_exif(exif))

    def for_channels(self, channels: int) -> Metadata:
        """The same without a profile that is for another number of channels (1 or 3, without alpha)."""
        space = self.profile[16:20]
        fits = space == (b"GRAY" if channels == 1 else b"RGB ")
        return self if fits else self._replace(profile=b"")


@contextlib.contextmanager
def damage_ignored() -> Iterator[None]:
    """EXIF is often damaged, and no damage of it is worth the picture."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        yield


def exif_of(block: bytes) -> Image.Exif:
    """The EXIF block as Pillow's dictionary; empty if it cannot be read."""
    from PIL import Image

    exif = Image.Exif()
    with damage_ignored():
        exif.load(block)
        _read_directories(exif)
    return exif


def kept_exif(exif: Image.Exif, without: tuple[int, ...] = ()) -> bytes:
    """An EXIF block with all that is worth keeping: the camera, the exposure, time and place, author and rights.

    Parameters
    ----------
    exif : PIL.Image.Exif
    without : tuple of int
        Tags to leave out.

    Returns
    -------
    bytes
        Without orientation, thumbnail and sizes; entries that cannot be written are left out. Empty if nothing is
        left.
    """
    from PIL import Image

    kept = Image.Exif()

    def add(directory: Any, tag: int, value: Any) -> None:
        if tag in without:
            return
        if isinstance(value, str) and not value.isascii():
            value = value.encode("latin-1", "replace")  # the bytes that were read: Pillow would write question marks
        with damage_ignored():
            alone = Image.Exif()
            if directory is kept:
                alone[tag] = value
            else:
                alone[EXIF_IFD] = {tag: value}
            alone.tobytes()  # raises for values that the format has no type for
            directory[tag] = value

    for tag in DESCRIPTIVE:
        with damage_ignored():
            if tag in exif:
                add(kept, tag, exif[tag])
    for pointer in (EXIF_IFD, GPS_IFD):
        directory: dict[int, Any] = {}
        with damage_ignored():
            for tag, value in dict(exif.get_ifd(pointer)).items():
                if tag == INTEROP_IFD:
                    value = dict(exif.get_ifd(INTEROP_IFD))
                if tag not in STALE:
                    add(directory, tag, value)
        if directory:
            kept[pointer] = directory
    with damage_ignored():
        return kept.tobytes() if len(kept) else b""
    return b""


def read_exif(path: str | Path) -> Image.Exif:
    """The EXIF of a file without decoding its pixels; empty if there is none that can be read."""
    from PIL import Image

    path, exif = Path(path), Image.Exif()
    with damage_ignored():
        with path.open("rb") as file:
            head = file.read(16)
            if is_big_tiff(head):
                return _exif_of_big_tiff(file, head)
            if is_tiff(head):  # also where Pillow knows no such pixels
                file.seek(0)
                exif.load_from_fp(file)
                _read_directories(exif)
                return exif
        if path.suffix.lower() not in RAW:
            if path.suffix.lower() in (".heic", ".heif"):
                import pillow_heif

                return exif_of(pillow_heif.open_heif(path).info.get("exif") or b"")
            with Image.open(path) as image:
                exif = image.getexif()
                _read_directories(exif)
    return exif


def _exif_of_big_tiff(file: BinaryIO, head: bytes) -> Image.Exif:
    """The directories of a BigTIFF file, which `PIL.Image.Exif` does not load."""
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    def read(place: int, group: int | None = None) -> dict[int, Any]:
        directory = ImageFileDirectory_v2(head, group=group)
        file.seek(place)
        directory.load(file)
        return dict(directory)

    exif, main = Image.Exif(), read(ImageFileDirectory_v2(head).next)
    for tag in (*DESCRIPTIVE, ORIENTATION):
        if tag in main:
            value = main[tag]
            exif[tag] = value.encode("latin-1", "replace") if isinstance(value, str) else value
    for pointer in (EXIF_IFD, GPS_IFD):
        if pointer in main:
            inner = read(main[pointer], pointer)
            if INTEROP_IFD in inner:
                inner[INTEROP_IFD] = read(inner[INTEROP_IFD], INTEROP_IFD)
            exif[pointer] = inner
    return exif_of(exif.tobytes())


def _read_directories(exif: Image.Exif) -> None:
    """Read what lies further behind, while the file is open."""
    for pointer in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
        exif.get_ifd(pointer)


def written_here(path: str | Path) -> bool:
    """Whether this package wrote the picture: its EXIF says so."""
    with damage_ignored():
        return str(read_exif(path).get(PROCESSING_SOFTWARE, "")).startswith("deconvnet ")
    return False


def capture_time(path: str | Path) -> float | None:
    """When a photograph was taken, in seconds, as its EXIF says: to the hundredth where the camera tells sub-seconds.

    Returns
    -------
    float or None
        Seconds since 1970 as if the camera's clock were UTC: for differences. None if the file does not say.
    """
    with damage_ignored():
        exif = read_exif(path)
        inner = exif.get_ifd(EXIF_IFD)
        for text, fraction in ((0x9003, 0x9291), (0x9004, 0x9292)):
            if text in inner:
                whole = datetime.datetime.strptime(str(inner[text]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
                digits = str(inner.get(fraction, "")).strip("\0 ")
                seconds = whole.replace(tzinfo=datetime.timezone.utc).timestamp()
                return seconds + (float(f"0.{digits}") if digits.isdigit() else 0.0)
    return None
