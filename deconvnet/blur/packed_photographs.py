"""Photographs as one file, for machines that training is sent to: 8-bit luminance in NumPy's format ``.npz``."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from deconvnet.blur.photographs import MIN_SIDE, Photographs
from deconvnet.errors import DeconvnetError
from deconvnet.files import replacing

__all__ = ["load_packed_photographs", "pack_photographs"]

_ENTRY_OVERHEAD = 200  # bytes that an entry and its line in the list of contents take at most, beside names and pixels


def pack_photographs(photographs: Photographs, path: str | Path, *, megabytes: float | None = None) -> int:
    """Write photographs to one file, losslessly compressed.

    Parameters
    ----------
    photographs : Photographs
    path : str or Path
        Ends in ``.npz``; arrays are named as the photographs are. Written beside and renamed.
    megabytes : float, optional
        Stop before the file is larger than that many million bytes: what is kept is a random choice, the same one
        every time.

    Returns
    -------
    int
        Number of photographs written.

    Raises
    ------
    DeconvnetError
        If the file does not end in ``.npz``, cannot be written, or has no room for a single photograph.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise DeconvnetError(f"packed photographs are an .npz file: write to {path.with_suffix('.npz')}")
    room = None if megabytes is None else megabytes * 1e6 - _ENTRY_OVERHEAD
    # Not the hash of the bare name: by that, photographs are kept for validation, and all of those would come first.
    order = sorted(
        range(len(photographs)), key=lambda i: hashlib.sha256(f"packed {photographs.names[i]}".encode()).digest()
    )
    written = 0
    with replacing(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for i in order:
                name, buffer = f"{photographs.names[i]}.npy", io.BytesIO()
                np.save(buffer, photographs.images[i])
                if room is not None:
                    room -= len(zlib.compress(buffer.getvalue())) + 2 * len(name.encode()) + _ENTRY_OVERHEAD
                    if room < 0:
                        break
                file.writestr(zipfile.ZipInfo(name), buffer.getvalue(), zipfile.ZIP_DEFLATED)
                written += 1
        if not written:
            raise DeconvnetError("no photograph was packed: allow a larger file, or name larger photographs")
    return written


def load_packed_photographs(path: str | Path, *, min_side: int = MIN_SIDE) -> Photographs:
    """Photographs of a file from `pack_photographs`.

    Parameters
    ----------
    path : str or Path
    min_side : int
        Photographs with a shorter side are left out, and named in ``skipped``.

    Returns
    -------
    Photographs
        Sorted by name.

    Raises
    ------
    DeconvnetError
        If there is no such file, it holds anything else, or no photograph is large enough.
    """
    path = Path(path)
    if not path.is_file():
        raise DeconvnetError(f"there is no file {path}: pack photographs with python -m train.pack_photographs")
    found = Photographs()
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in sorted(file.files):
                image = file[name]
                if image.dtype != np.uint8 or image.ndim != 2:
                    raise DeconvnetError(f"{path} does not hold photographs packed by train.pack_photographs: {name}")
                if min(image.shape) < min_side:
                    reason = f"{image.shape[1]}×{image.shape[0]} is smaller than {min_side} pixels"
                    found.skipped.append((name, reason))
                    continue
                found.images.append(image)
                found.names.append(name)
    except DeconvnetError:
        raise
    except (
        OSError,
        ValueError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # as np.load has it
        raise DeconvnetError(
            f"{path} is no file of packed photographs: make one with train.pack_photographs"
        ) from error
    if not found.images:
        raise DeconvnetError(
            f"none of the {len(found.skipped)} photographs in {path} has {min_side} pixels on each side"
        )
    return found
