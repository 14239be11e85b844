"""Which picture formats there are, how deep they are, and which of them need an extra."""

from __future__ import annotations

from pathlib import Path

from deconvnet.errors import DeconvnetError

__all__ = ["HEIF", "RAW", "READABLE", "WITH_ALPHA", "WRITABLE", "is_big_tiff", "is_heif", "is_raw", "is_tiff", "needs"]

#: Suffixes of camera RAW files: by their content many of them are TIFF files.
RAW = (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
#: Suffixes of HEIF files with HEVC inside, which telephones write.
HEIF = (".heic", ".heif")
#: Suffixes that can be written, and with how many bits a channel; 32 are floats.
WRITABLE = {
    ".avif": (8,),
    ".bmp": (8,),
    ".heic": (8,),
    ".heif": (8,),
    ".jpeg": (8,),
    ".jpg": (8,),
    ".png": (8, 16),
    ".tif": (8, 16, 32),
    ".tiff": (8, 16, 32),
    ".webp": (8,),
}
#: Those of them that can hold an alpha channel.
WITH_ALPHA = (".avif", ".heic", ".heif", ".png", ".tif", ".tiff", ".webp")
#: Suffixes of the files that are taken from a folder.
READABLE = tuple(sorted((*WRITABLE, *RAW)))
#: First bytes of TIFF and BigTIFF, in both byte orders.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Brands of HEIF files with HEVC inside.
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_raw(path: str | Path) -> bool:
    """Whether a file of this name is taken for a camera's RAW."""
    return Path(path).suffix.lower() in RAW


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF file (or one of the RAW formats that are built like it)."""
    return head[:4] in _TIFF


def is_big_tiff(head: bytes) -> bool:
    """Whether such a file is a BigTIFF, whose places have 64 bits."""
    return head[:4] in _TIFF[2:]


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these bytes (32 or more) is HEIF with HEVC inside; AVIF is not."""
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, len(head) - 3, 4))]
    return head[4:8] == b"ftyp" and b"avif" not in brands and any(brand in _BRANDS for brand in brands)


def needs(what: str, extra: str) -> DeconvnetError:
    """The refusal of a file that needs an extra which is not installed."""
    return DeconvnetError(f"{what}: install what reads it, pip install 'deconvnet[{extra}]'")
