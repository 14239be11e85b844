"""Picture files: read as float arrays in [0, 1], written beside the target and then renamed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deconvnet.errors import DeconvnetError

__all__ = ["PICTURE_SUFFIXES", "check_writable", "frame_files", "read_image", "write_image"]

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def frame_files(names):
    """The picture files meant by a list of files, or by one folder (sorted by name).

    Raises
    ------
    DeconvnetError
        If a name does not exist, or a folder holds no pictures.
    """
    paths = [Path(name) for name in names]
    files = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
            if not inside:
                raise DeconvnetError(f"{path} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise DeconvnetError(f"there is no file {path}")
    return files


def read_image(path):
    """A picture as float32 in [0, 1], upright by its EXIF orientation.

    Parameters
    ----------
    path : path-like
        JPEG, PNG, TIFF, WebP or BMP with 8 or 16 bits.

    Returns
    -------
    float32 array (H, W) or (H, W, 3)
        Grey or RGB; an alpha channel is dropped.

    Raises
    ------
    DeconvnetError
        If the file is missing or is no picture.
    """
    import imageio.v3 as iio

    path = Path(path)
    if not path.is_file():
        raise DeconvnetError(f"there is no file {path}")
    try:
        with iio.imopen(path, "r", plugin="pillow") as file:
            mode = file.metadata(index=0, exclude_applied=False).get("mode", "RGB")
            plain = mode in ("L", "LA", "RGB", "RGBA") or mode.startswith("I")
            image = file.read(index=0, mode=None if plain else "RGB", rotate=True)
    except Exception as error:  # decoders raise whatever they like on broken files
        raise DeconvnetError(f"{path} cannot be read as a picture") from error
    if image.ndim == 3 and image.shape[2] in (2, 4):
        image = image[..., :-1]
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or image.dtype.kind not in "iu":
        raise DeconvnetError(f"{path} is not a grey or RGB picture with 8 or 16 bits")
    return image.astype(np.float32) / (255 if image.dtype == np.uint8 else 65535)


def check_writable(path):
    """Refuse an output path before any long work.

    Raises
    ------
    DeconvnetError
        If its folder is missing or cannot be written, it is a folder, or its suffix is no picture's.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise DeconvnetError(f"{path}: the output's name must end in one of {', '.join(PICTURE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise DeconvnetError(f"{path.parent} is no folder: make it first, or write elsewhere")
    if path.is_dir() or not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise DeconvnetError(f"{path} cannot be written: choose another output")
    return path


def write_image(path, image, *, bits=8):
    """Write a picture given as floats; values are clipped to [0, 1] and rounded.

    Parameters
    ----------
    path : path-like
        The suffix chooses the format. An existing file is replaced in one step.
    image : array (H, W) or (H, W, 3)
    bits : {8, 16}
        16 needs PNG or TIFF, and a grey picture.

    Raises
    ------
    DeconvnetError
        If it cannot be written.
    """
    import imageio.v3 as iio

    path = check_writable(path)
    top = 255 if bits == 8 else 65535
    pixels = (np.clip(image, 0, 1) * top + 0.5).astype(np.uint8 if bits == 8 else np.uint16)
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    options = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    try:
        iio.imwrite(beside, pixels, plugin="pillow", **options)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DeconvnetError(f"{path} cannot be written ({error.strerror or error})") from error
