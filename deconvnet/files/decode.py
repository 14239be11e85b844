"""Pixels out of picture files, by the library that knows the format best."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.files.formats import is_heif, is_raw, is_tiff, needs
from deconvnet.files.metadata import ORIENTATION, Metadata, damage_ignored, exif_of, kept_exif, read_exif

__all__ = ["Decoded", "decode", "tell_pages", "upright"]

#: Modes of Pillow whose pixels are taken as they are.
_PLAIN_MODES = ("F", "I;16", "I;16B", "I;16L", "L", "LA", "RGB", "RGBA")
_CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}


class Decoded(NamedTuple):
    """What `decode` returns.

    Attributes
    ----------
    array : uint8, uint16 or float array (H, W) or (H, W, C)
        Upright, C being 1 to 4, alpha the last of 2 or 4.
    largest : int
        The value that stands for 1.
    metadata : Metadata
    """

    array: np.ndarray
    largest: int
    metadata: Metadata


def decode(path: Path, *, linear_raw: bool = False) -> Decoded:
    """The pixels of a picture file as it holds them, upright.

    Parameters
    ----------
    path : Path
        Of an existing file.
    linear_raw : bool
        A camera's RAW as linear light, not with the curve of sRGB.

    Returns
    -------
    Decoded

    Raises
    ------
    DeconvnetError
        If the file cannot be read, and why; the extra that reads it, where one does.

    Warns
    -----
    UserWarning
        If only the first of several pages is read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            raise DeconvnetError(f"{path} is empty: the file has no bytes")
        if is_raw(path):
            return _raw(path, linear_raw)
        if is_heif(head):
            return _heif(path)
        deep = _deep_tiff(path) if is_tiff(head) else None
        return deep or _pillow(path)
    except (DeconvnetError, MemoryError):
        raise
    except PermissionError as error:
        raise DeconvnetError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # decoders raise whatever they like on broken files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeconvnetError(f"{path} cannot be read as a picture, it is damaged or cut off: {reason}") from error


def _most_pixels() -> int:
    """Pixels beyond which Pillow takes a file for a decompression bomb; `PIL.Image.MAX_IMAGE_PIXELS` sets it."""
    from PIL import Image

    return 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS else 1 << 62


def _too_large(path: Path, size: str = "") -> DeconvnetError:
    most = _most_pixels() / 1e6
    return DeconvnetError(
        f"{path} is too large{size}: pictures of up to {most:.0f} megapixels are read; crop it, or --tiles of a TIFF"
    )


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > _most_pixels():
        raise _too_large(path, f" ({width}×{height} pixels)")


def tell_pages(path: Path, pages: int) -> None:
    """Warn that of several pages one is used."""
    if pages > 1:
        warnings.warn(f"{path} has {pages} pages or frames: the first one is used", stacklevel=2)


def upright(array: np.ndarray, orientation: Any) -> np.ndarray:
    """An array (H, W, …) turned by the number of its EXIF orientation, 1 to 8."""
    turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    turned = np.rot90(array, turns)
    return turned[:, ::-1] if orientation in (2, 4) else turned[::-1] if orientation in (5, 7) else turned


def _pillow(path: Path) -> Decoded:
    """Everything that Pillow reads without loss, and PNG files of 16 bits, which it opens but cuts to 8."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged EXIF, and sizes near the limit
        try:
            image: Any = Image.open(path)
        except Image.DecompressionBombError:
            raise _too_large(path) from None
        except UnidentifiedImageError:
            raise DeconvnetError(f"{path} is no picture in a format that is known here, whatever its name") from None
        with image:
            # Of a telephone's several pictures the others are previews and depth maps.
            pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            image.seek(0)
            depth = [part[3] for part in image.tile if isinstance(part[3], str)]
            profile = image.info.get("icc_profile") or b""
            if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and any("16" in raw for raw in depth):
                import imagecodecs

                array, largest = imagecodecs.png_decode(path.read_bytes()), 65535
            else:
                plain, profile = _plain(image, profile)
                array = np.asarray(plain)
                largest = 255 if array.dtype == np.uint8 else 65535 if array.dtype.kind in "iu" else 1
            exif = Image.Exif()
            with damage_ignored():
                exif = image.getexif()
            if image.format == "TIFF":
                exif = read_exif(path)  # all of it
            else:  # Pillow has turned TIFF files itself
                array = upright(array, exif.get(ORIENTATION, 1))
            found = Decoded(array, largest, Metadata(kept_exif(exif), profile))
    tell_pages(path, pages)
    return found


def _plain(image: Any, profile: bytes) -> tuple[Any, bytes]:
    """A picture of Pillow in one of the plain modes, and the profile that then holds."""
    from PIL import ImageCms

    image.load()
    if image.mode in ("P", "RGB", "L") and "transparency" in image.info:
        return image.convert("LA" if image.mode == "L" else "RGBA"), profile
    if image.mode == "I":  # 16 bits in older versions of Pillow
        return image, profile
    if image.mode in ("CMYK", "LAB"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            source: Any = ImageCms.createProfile("LAB")
            if image.mode == "CMYK":
                source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"), b""
        profile = b""
    if image.mode in _PLAIN_MODES:
        return image, profile
    return image.convert(_CONVERTED.get(image.mode, "RGB")), profile


def _deep_tiff(path: Path) -> Decoded | None:
    """TIFF files of 16 bits or floats, grey or RGB; None for the others, which Pillow reads."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        photometric, bits = int(page.photometric), page.bitspersample
        if bits <= 8:
            return None
        if photometric not in (0, 1, 2):
            raise DeconvnetError(f"{path} has {bits} bits in a colour space that is neither grey nor RGB: convert it")
        _check_size(path, page.imagewidth, page.imagelength)
        if page.samplesperpixel > 4 or page.imagedepth > 1:
            raise DeconvnetError(
                f"{path} has {page.samplesperpixel} channels in {page.imagedepth} planes: it is no photo"
            )
        pages = [other for other in file.pages if not getattr(other, "is_reduced", False)]
        tell_pages(path, len(pages))
        array, tags = page.asarray(), page.tags
        if page.axes.startswith("S"):
            array = np.moveaxis(array, 0, -1)
        largest = 1 if array.dtype.kind == "f" else 2**bits - 1
        if photometric == 0:
            array = largest - array
        profile = tags[34675].value if 34675 in tags else b""
    exif = read_exif(path)
    array = upright(array, exif.get(ORIENTATION, 1))
    return Decoded(array, largest, Metadata(kept_exif(exif), bytes(profile)))


def _heif(path: Path) -> Decoded:
    """HEIC by the extra ``heif``: 10 and 12 bits come as 16. The library has turned the picture upright."""
    try:
        import pillow_heif
    except ImportError:
        raise needs(f"{path} is a HEIC picture", "heif") from None

    picture = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
    _check_size(path, *picture.size)
    exif = exif_of(picture.info.get("exif") or b"")
    array = np.asarray(picture)
    metadata = Metadata(kept_exif(exif), picture.info.get("icc_profile") or b"")
    return Decoded(array, 255 if array.dtype == np.uint8 else 65535, metadata)


def _raw(path: Path, linear: bool) -> Decoded:
    """Camera RAW by the extra ``raw``: 16 bits, primaries of sRGB and its curve or none, the camera's white balance.

    Nothing is sharpened, denoised or brightened.
    """
    try:
        import rawpy
    except ImportError:
        raise needs(f"{path} is a camera's RAW file", "raw") from None

    with rawpy.imread(str(path)) as raw:
        _check_size(path, raw.sizes.width, raw.sizes.height)
        curve = (1, 1) if linear else (2.4, 12.92)
        # Without a threshold of 0 the brightest pixel would set the scale, for each frame of a burst another.
        array = raw.postprocess(
            use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0.0, output_bps=16, gamma=curve
        )
    return Decoded(array, 65535, Metadata(kept_exif(read_exif(path))))
