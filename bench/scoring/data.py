"""What the quality tables are measured on: photographs that are blurred here, pairs, and folders with real bursts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bench.scoring.protocol import PhotoCase, load_psfs
from deconvnet.blur.convolve import convolve
from deconvnet.blur.photographs import Photographs, default_photographs, split_photographs
from deconvnet.blur.psf import sample_gp_psfs, sample_recorded_psfs
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.io import READABLE, list_pictures, read_image

__all__ = [
    "SAMPLED_PSFS",
    "blurred_photographs",
    "burst_folders",
    "chosen_psfs",
    "mosaic",
    "paired_files",
    "sharp_photographs",
]

#: PSFs that are sampled where none are named.
SAMPLED_PSFS = 8
#: Height of the rows of a mosaic, in pixels.
MOSAIC_ROW = 300


def _spread(count, limit):
    """At most `limit` of `count` indices, evenly over all of them."""
    kept = count if limit is None else min(count, limit)
    return np.linspace(0, count - 1, kept).round().astype(int)


def _centre(image, side):
    """The middle of an image, at most ``side`` pixels each way; None for all of it."""
    if side is None:
        return image
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return image[top : top + side, left : left + side]


def _luminance(image):
    """A file's or an 8-bit picture's luminance, float32 (H, W) in [0, 1]."""
    return luminance(read_image(image).pixels) if isinstance(image, Path) else image.astype(np.float32) / 255


def mosaic(images, side):
    """Photographs joined to one picture of ``side`` pixels each way, row by row.

    Parameters
    ----------
    images : iterator of float array (H, W)
        Taken from as many as are needed; those that are higher than wide lie on their side.
    side : int

    Returns
    -------
    float array (side, side), or None
        None if there are not enough.
    """
    rows, height = [], 0
    while height < side:
        row, width = [], 0
        while width < side:
            image = next(images, None)
            if image is None:
                return None
            row.append((image if image.shape[0] <= image.shape[1] else image.T)[:MOSAIC_ROW])
            width += row[-1].shape[1]
        rows.append(np.concatenate([np.pad(i, ((0, MOSAIC_ROW - len(i)), (0, 0)), "reflect") for i in row], axis=1))
        height += MOSAIC_ROW
    return np.ascontiguousarray(np.concatenate([row[:, :side] for row in rows])[:side])


def sharp_photographs(folder, *, limit=None, unseen=False, side=None, least=1, joined=None):
    """Sharp photographs as luminance.

    Parameters
    ----------
    folder : path-like or None
        Searched with the folders in it; None for the photographs that scikit-image carries.
    limit : int, optional
        At most so many, spread evenly over the sorted list.
    unseen : bool
        Only those that ``python -m train.burst --images FOLDER`` and ``train.photo`` keep for validation.
    side : int, optional
        Use only the middle, of so many pixels each way.
    least : int
        What is shorter than this on a side (after the cut) is left out, and named on the standard error.

    joined : int, optional
        Join photographs to mosaics of so many pixels each way, where single ones are too small for the blur.

    Returns
    -------
    dict of str to float32 array (H, W)
        In [0, 1], by name.

    Raises
    ------
    DeconvnetError
        If none can be used.
    """
    if folder is None:
        listed = default_photographs(leaves=0)
    else:
        folder = Path(folder)
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in READABLE and f.is_file())
        if not files:
            raise DeconvnetError(f"no photographs in {folder}: JPEG, PNG, TIFF, WebP or BMP files are wanted")
        listed = Photographs(files, [f.relative_to(folder).as_posix() for f in files])
    if unseen:  # decided by the names alone, so that only what is needed is read
        _, listed = split_photographs(listed)
    found = {}
    if joined is not None:
        order = np.random.default_rng(joined).permutation(len(listed))
        images = (_luminance(listed.images[i]) for i in order)
        while len(found) < (limit or len(listed)) and (picture := mosaic(images, joined)) is not None:
            found[f"mosaic {len(found) + 1}"] = picture
        if not found:
            raise DeconvnetError(f"too few photographs for a mosaic of {joined} px: at least {joined} px are wanted")
        return found
    for index in _spread(len(listed), limit):
        name, image = listed.names[index], listed.images[index]
        try:
            image = np.ascontiguousarray(_centre(_luminance(image), side))
        except DeconvnetError as error:
            print(f"quality: skipped: {error}", file=sys.stderr)
            continue
        if min(image.shape) < least:
            print(f"quality: skipped {name}: its shorter side has fewer than {least} pixels", file=sys.stderr)
            continue
        found[name] = image
    if not found:
        raise DeconvnetError(f"no photograph in {folder or 'scikit-image'} can be used: at least {least} px are wanted")
    return found


def chosen_psfs(path, supports, shake, seed):
    """PSFs by name: those of a file or folder, or sampled ones.

    Parameters
    ----------
    path : path-like or None
        See `bench.scoring.protocol.load_psfs`.
    supports : list of int
        Without a path: supports of the sampled PSFs in pixels, `SAMPLED_PSFS` of each.
    shake : Shake or None
        Recorded shake to sample from; a Gaussian process otherwise.
    seed : int

    Returns
    -------
    dict of str to float32 array (h, w)
    """
    if path is not None:
        return {f"psf {i + 1}": psf for i, psf in enumerate(load_psfs(path))}
    found = {}
    for support in supports:
        rng = np.random.default_rng([seed, support])
        if shake is None:
            psfs = sample_gp_psfs(rng, SAMPLED_PSFS, support)
        else:
            psfs = sample_recorded_psfs(rng, shake, SAMPLED_PSFS, support)
        found |= {f"{support} px, psf {i + 1}": psf for i, psf in enumerate(psfs)}
    return found


def blurred_photographs(photographs, psfs, noise, seed, limit=None):
    """Every photograph under every PSF, with Gaussian noise.

    Parameters
    ----------
    photographs : dict of str to float32 array (H, W)
    psfs : dict of str to float32 array (h, w)
    noise : float
        Standard deviation.
    seed : int
    limit : int, optional
        Only the first so many cases. Their order goes through all photographs, each time with other PSFs, so that few
        cases show many of both.

    Returns
    -------
    list of PhotoCase
        Clipped to [0, 1]. A case is the same whatever the limit.
    """
    names, blurs = list(photographs), list(psfs)
    pairs = [(i, (i + turn) % len(blurs)) for turn in range(len(blurs)) for i in range(len(names))]
    cases = []
    for i, j in pairs[:limit]:
        sharp, psf = photographs[names[i]], psfs[blurs[j]]
        blurry = convolve(sharp, psf)
        rng = np.random.default_rng([seed, i, j])
        blurry += noise * rng.standard_normal(blurry.shape, dtype=np.float32)
        top, left = (n - 1 - n // 2 for n in psf.shape)
        truth = sharp[top : top + blurry.shape[0], left : left + blurry.shape[1]]
        cases.append(PhotoCase(f"{names[i]}, {blurs[j]}", truth, np.clip(blurry, 0, 1), psf))
    return cases


def paired_files(blurry, sharp, limit=None):
    """Pictures that have the same name, apart from the suffix, in two folders.

    Parameters
    ----------
    blurry, sharp : path-like
    limit : int, optional

    Returns
    -------
    list of (Path, Path)
        Blurry and sharp file, sorted by name.

    Raises
    ------
    DeconvnetError
        If there is no pair.
    """
    truth = {file.stem: file for file in list_pictures(sharp)}
    pairs = [(file, truth[file.stem]) for file in list_pictures(blurry) if file.stem in truth]
    if not pairs:
        raise DeconvnetError(f"no picture in {blurry} has the name of one in {sharp}: equal names are wanted")
    return pairs[:limit]


def burst_folders(folder, limit=None):
    """The folder itself if it holds pictures, else the folders in it that do.

    Parameters
    ----------
    folder : path-like
    limit : int, optional

    Returns
    -------
    list of Path

    Raises
    ------
    DeconvnetError
        If there are none.
    """
    folder = Path(folder)
    within = [folder, *sorted(f for f in folder.iterdir() if f.is_dir())]
    found = [f for f in within if any(p.suffix.lower() in READABLE for p in f.iterdir())]
    if not found:
        raise DeconvnetError(f"no pictures in {folder} or in the folders in it: a burst's frames are wanted")
    return found[:1] if found[0] == folder else found[:limit]
