"""Pictures larger than the memory: TIFF files and Zarr arrays, read window by window and written row by row."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.files import replacing
from deconvnet.files.decode import tell_pages, upright
from deconvnet.files.encode import add_directories, encode, tiff_options
from deconvnet.files.formats import is_tiff, needs
from deconvnet.files.metadata import ORIENTATION, Metadata, kept_exif, read_exif

__all__ = ["ZARR", "LargePicture", "can_be_read_by_windows", "check_new_array", "open_large", "write_rows"]

#: Suffix of Zarr arrays, which are folders.
ZARR = ".zarr"
#: Sides of the tiles of TIFF files, and of the chunks of Zarr arrays, that are written.
TIFF_TILE, ZARR_CHUNK = 256, 1024
#: From so many bytes of pixels on a TIFF file is a BigTIFF: beyond 4 GiB no other can be addressed.
BIG_TIFF = 2**32 - 2**25
#: The largest piece of a file that is decoded at once.
LARGEST_PIECE = 2**28
#: Colour spaces of TIFF: white is zero, black is zero, RGB, YCbCr, which JPEG's decoder makes RGB of.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
JPEG = 7


class LargePicture:
    """A picture whose pixels are read when it is sliced: ``picture[rows, columns]`` is float32 in [0, 1], upright.

    Parameters
    ----------
    stored : array-like (H, W) or (H, W, C)
        As the file holds it: anything that gives arrays when it is sliced; of 2 or 4 channels the last is alpha.
    largest : int
        The value that stands for 1.
    metadata : Metadata
    orientation : int
        Of EXIF, 1 to 8, which is applied.
    inverted : bool
        Whether 0 stands for white.
    alpha : {"white", "kept", "dropped"}
        Whether transparent parts are laid on white, or alpha stays the last channel, or colours stay as they are
        under it.

    Attributes
    ----------
    shape : tuple of int
        Upright: (H, W), (H, W, 3), or with alpha (H, W, 2) or (H, W, 4).
    bits : {8, 16, 32}
    """

    def __init__(
        self,
        stored: Any,
        largest: int,
        metadata: Metadata,
        *,
        orientation: int = 1,
        inverted: bool = False,
        alpha: str = "white",
    ) -> None:
        self.stored, self.largest, self.metadata = stored, largest, metadata
        self.orientation, self.inverted, self.alpha = orientation, inverted, alpha
        self.bits = 8 if largest == 255 else 32 if largest == 1 else 16
        sides = stored.shape[1::-1] if orientation in (5, 6, 7, 8) else stored.shape[:2]
        self._part = slice(0, sides[0]), slice(0, sides[1])

    @property
    def shape(self) -> tuple[int, ...]:
        channels = self.stored.shape[2] if len(self.stored.shape) == 3 else 1
        channels -= channels % 2 == 0 and self.alpha != "kept"
        return (*(part.stop - part.start for part in self._part), *((channels,) if channels > 1 else ()))

    def part(self, rows: slice, columns: slice) -> LargePicture:
        """A part of it; nothing is read."""
        found = copy.copy(self)
        found._part = self._inside(rows, columns)
        return found

    def colours(self) -> LargePicture:
        """The same without an alpha channel that was kept; nothing is read."""
        found = copy.copy(self)
        found.alpha = "dropped" if self.alpha == "kept" else self.alpha
        return found

    def _inside(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Rows and columns of the upright picture for those of this part."""
        found = []
        for whole, index, n in zip(self._part, (rows, columns), self.shape):
            start, stop, _ = index.indices(n)
            found.append(slice(whole.start + start, whole.start + stop))
        return found[0], found[1]

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        rows, columns = self._inside(*index)
        height, width = self.stored.shape[:2]
        if self.orientation in (5, 6, 7, 8):  # rows of the file are columns of the picture
            rows, columns = columns, rows
        if self.orientation in (3, 4, 6, 7):  # from the bottom
            rows = slice(height - rows.stop, height - rows.start)
        if self.orientation in (2, 3, 7, 8):  # from the right
            columns = slice(width - columns.stop, width - columns.start)
        found = upright(np.asarray(self.stored[rows, columns]), self.orientation)
        pixels = (self.largest - found if self.inverted else found).astype(np.float32)
        pixels /= self.largest
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN neither
            raise DeconvnetError("the picture holds values that are none of 8 bits, 16 bits or floats in [0, 1]")
        if pixels.ndim == 3 and pixels.shape[-1] % 2 == 0 and self.alpha != "kept":
            colours, alpha = pixels[..., :-1], pixels[..., -1:]
            pixels = colours * alpha + (1 - alpha) if self.alpha == "white" else colours
        return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels


class _Contiguous:
    """Pixels that lie in a file one after the other, mapped for every window anew: what was read is not kept."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(mapped[index])


def can_be_read_by_windows(path: str | Path) -> bool:
    """Whether it is a TIFF file, or the folder of a Zarr array."""
    path = Path(path)
    if path.is_dir():
        return path.suffix.lower() == ZARR
    with contextlib.suppress(OSError), path.open("rb") as file:
        return is_tiff(file.read(4))
    return False


def check_new_array(path: str | Path) -> None:
    """Make sure, before any long work, that `write_rows` will be able to make a Zarr array there.

    Raises
    ------
    DeconvnetError
        If there is something already, or no folder that can be written, or zarr is not installed.
    """
    path = Path(path)
    _zarr()
    if path.exists():
        raise DeconvnetError(f"{path} is there already: a Zarr array is not replaced, move it away")
    if not path.parent.is_dir():
        raise DeconvnetError(f"there is no folder {path.parent} to write to: make it first")
    if not os.access(path.parent, os.W_OK):
        raise DeconvnetError(f"{path} cannot be written: the folder is read-only")


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise needs("Zarr arrays, and TIFF files in pieces, are read and written by zarr", "tiles") from None
    return zarr


@contextlib.contextmanager
def open_large(path: str | Path, *, alpha: str = "white") -> Iterator[LargePicture]:
    """``with open_large(path) as picture:`` read a TIFF file or Zarr array window by window.

    Parameters
    ----------
    path : path-like
        TIFF or BigTIFF, its first page in tiles, strips or one piece without compression; or a Zarr array of 8 bits,
        16 bits or floats, (H, W) or (H, W, C) with 1 to 4 channels. With the extra ``tiles``.
    alpha : str
        As of `LargePicture`.

    Yields
    ------
    LargePicture

    Raises
    ------
    DeconvnetError
        If it is none of these, or is one compressed piece.
    """
    path = Path(path)
    if path.suffix.lower() == ZARR and path.is_dir():
        yield _open_zarr(path, alpha)
        return
    import tifffile

    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tifffile.TiffFile(path))
            pages = sum(not getattr(page, "is_reduced", False) for page in file.pages)
            picture = _of_page(path, file.pages[0], alpha)
        except (DeconvnetError, MemoryError):
            raise
        except Exception as error:  # as of any decoder
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DeconvnetError(f"{path} cannot be read in tiles, it is no TIFF file or damaged: {reason}") from error
        tell_pages(path, pages)
        yield picture


def _of_page(path: Path, page: Any, alpha: str) -> LargePicture:
    photometric, bits, dtype = int(page.photometric), page.bitspersample, page.dtype
    plain = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) or (photometric == YCBCR and page.compression == JPEG)
    if not plain or page.imagedepth > 1 or page.samplesperpixel > 4 or dtype is None or dtype.kind not in "uf":
        raise DeconvnetError(f"{path} is no grey or RGB picture of 8 bits, 16 bits or floats: convert it")
    if bits < 8 or dtype.itemsize > (8 if dtype.kind == "f" else 2):
        raise DeconvnetError(f"{path} has {bits} bits a channel: 8, 16 or floats are wanted")
    if page.is_contiguous and page.axes in ("YX", "YXS") and page.fillorder == 1:
        order = page.parent.byteorder
        stored: Any = _Contiguous(path, page.dataoffsets[0], page.shape, dtype.newbyteorder(order))
    else:
        piece = int(np.prod([max(n, 1) for n in page.chunks])) * dtype.itemsize
        if piece > LARGEST_PIECE:
            raise DeconvnetError(
                f"{path} is compressed in pieces of {piece / 2**20:.0f} MB: write it in tiles first, or leave --tiles"
            )
        stored = _zarr().open_array(page.aszarr(), mode="r")
        if page.axes == "SYX":
            stored = _ChannelsLast(stored)
    exif = read_exif(path)
    tags = page.tags
    profile = bytes(tags[34675].value) if 34675 in tags else b""
    return LargePicture(
        stored,
        1 if dtype.kind == "f" else 2**bits - 1,
        Metadata(kept_exif(exif), profile),
        orientation=exif.get(ORIENTATION, 1),
        inverted=photometric == WHITE_IS_ZERO,
        alpha=alpha,
    )


class _ChannelsLast:
    """An array (C, H, W) as (H, W, C)."""

    def __init__(self, stored: Any) -> None:
        self.stored, self.shape = stored, (*stored.shape[1:], stored.shape[0])

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        return np.moveaxis(np.asarray(self.stored[(slice(None), *index)]), 0, -1)


def _open_zarr(path: Path, alpha: str) -> LargePicture:
    zarr = _zarr()
    try:
        stored = zarr.open_array(path, mode="r")
    except Exception as error:  # a group, or anything else
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeconvnetError(f"{path} cannot be read as a Zarr array: {reason}") from error
    kinds = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}
    fits = stored.ndim == 2 or (stored.ndim == 3 and stored.shape[2] in (1, 2, 3, 4))
    if not fits or 0 in stored.shape or str(stored.dtype) not in kinds:
        raise DeconvnetError(
            f"{path} is an array {stored.shape} of {stored.dtype}: (H, W) or (H, W, C) of uint8, uint16 or floats, "
            "of 1 to 4 channels, is wanted"
        )
    return LargePicture(stored, kinds[str(stored.dtype)], Metadata(), alpha=alpha)


def write_rows(
    path: str | Path, rows: Iterable[np.ndarray], shape: tuple[int, ...], dtype: Any, metadata: Metadata
) -> None:
    """Write a picture that comes from top to bottom.

    Parameters
    ----------
    path : path-like
        TIFF files (BigTIFF from 4 GB on) and Zarr arrays hold what was written in tiles, and nothing of it stays in
        the memory; for other formats the whole picture is kept. A Zarr array must not be there yet.
    rows : iterable of arrays (h, W) or (h, W, C)
        Of this dtype; below each other they are the picture.
    shape : tuple of int
        (H, W) or (H, W, C).
    dtype : {uint8, uint16, float32}
    metadata : Metadata
        Zarr arrays hold none of it.

    Raises
    ------
    DeconvnetError
        If it cannot be written; nothing is left behind then.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    if suffix == ZARR:
        _write_zarr(path, rows, shape, dtype)
        return
    if suffix not in (".tif", ".tiff"):
        whole = np.empty(shape, dtype)
        _fill(whole, rows)
        with replacing(path) as part:
            part.write_bytes(encode(whole, suffix, metadata))
        return
    import tifffile

    metadata = metadata.for_channels(1 if len(shape) == 2 or shape[-1] == 2 else 3)
    big = int(np.prod(shape)) * np.dtype(dtype).itemsize > BIG_TIFF
    with replacing(path) as part:
        tifffile.imwrite(
            part,
            _tiles(rows),
            shape=shape,
            dtype=dtype,
            tile=(TIFF_TILE, TIFF_TILE),
            byteorder="<",
            bigtiff=big,
            **tiff_options(shape, metadata),
        )
        with part.open("r+b") as file:
            add_directories(file, metadata)


def _fill(target: Any, rows: Iterable[np.ndarray]) -> None:
    first = 0
    for band in rows:
        target[first : first + len(band)] = band
        first += len(band)


def _tiles(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The tiles of a TIFF file, from left to right and top to bottom; the last ones may be smaller."""
    waiting: np.ndarray | None = None
    for band in itertools.chain(rows, [None]):
        if band is not None:
            waiting = band if waiting is None or not len(waiting) else np.concatenate([waiting, band])
        while waiting is not None and len(waiting) >= (TIFF_TILE if band is not None else 1):
            for left in range(0, waiting.shape[1], TIFF_TILE):
                yield np.ascontiguousarray(waiting[:TIFF_TILE, left : left + TIFF_TILE])
            waiting = waiting[TIFF_TILE:]


def _write_zarr(path: Path, rows: Iterable[np.ndarray], shape: tuple[int, ...], dtype: Any) -> None:
    check_new_array(path)
    chunks = tuple(min(n, ZARR_CHUNK) for n in shape[:2]) + tuple(shape[2:])
    with replacing(path) as part:
        _fill(_zarr().create_array(part, shape=shape, dtype=dtype, chunks=chunks), _whole_chunks(rows))


def _whole_chunks(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows, as many at a time as a chunk of a Zarr array has, which is then written once."""
    waiting: list[np.ndarray] = []
    for band in rows:
        waiting.append(band)
        while sum(map(len, waiting)) >= ZARR_CHUNK:
            joined = np.concatenate(waiting)
            yield joined[:ZARR_CHUNK]
            waiting = [joined[ZARR_CHUNK:]]
    yield np.concatenate(waiting)
