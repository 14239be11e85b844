"""How restored photographs are scored: PSNR, SSIM and error ratio, free of the shift that no blind method can know.

The protocol of Levin et al. 2009, "Understanding and evaluating blind deconvolution algorithms": the border is left
out, the restored picture is moved by up to 5 px in quarter-pixel steps to where it fits the truth best, and its summed
squared difference is divided by that of the deconvolution with the true PSF.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psnr, squared_difference, ssim

__all__ = [
    "BORDER",
    "REACH",
    "PhotoCase",
    "Score",
    "aligned_score",
    "find_shift",
    "load_levin",
    "load_psfs",
    "score",
]

#: Pixels left out of the scores on each side.
BORDER = 15
#: Largest shift that is tried, pixels each way.
REACH = 5
#: Positions tried per pixel.
PARTS = 4


class PhotoCase(NamedTuple):
    """A blurry photograph of which everything is known.

    Attributes
    ----------
    name : str
    sharp, blurry : float32 array (H, W)
        In [0, 1], the same part of the scene; they may be shifted against each other by up to `REACH` pixels.
    psf : float32 array (h, w)
        Such that ``blurry ≈ psf * sharp`` (true convolution, centre at ``(h // 2, w // 2)``), of sum 1.
    """

    name: str
    sharp: np.ndarray
    blurry: np.ndarray
    psf: np.ndarray


class Score(NamedTuple):
    """How near a picture comes to the truth.

    Attributes
    ----------
    psnr : float
        dB, peak 1; see `deconvnet.metrics.psnr`.
    ssim : float
        See `deconvnet.metrics.ssim`.
    ssd : float
        Sum of squared differences; of all channels.
    shift : (float, float)
        Pixels down and right by which the picture was sampled away from the truth's pixels.
    """

    psnr: float
    ssim: float
    ssd: float
    shift: tuple[float, float] = (0.0, 0.0)


def score(picture, truth, border=0):
    """PSNR, SSIM and squared difference without any search.

    Parameters
    ----------
    picture : float array (H, W) or (H, W, C)
        Clipped to [0, 1] here, as a file would be.
    truth : float array, shape of the picture
    border : int
        Pixels left out on each side.

    Returns
    -------
    Score
        With the shift (0, 0).
    """
    picture = np.clip(picture, 0, 1)
    how = {"border": border}
    return Score(psnr(picture, truth, **how), ssim(picture, truth, **how), squared_difference(picture, truth, **how))


def _box_sums(image, height, width):
    """Sums over all windows ``height × width`` of an image, by cumulative sums."""
    total = np.pad(image.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]


def _differences_on_grid(wide, truth, parts):
    """Summed squared differences for all shifts: an array indexed by the whole and the fractional steps together.

    ``wide`` (h + 2r, w + 2r) surrounds ``truth`` (h, w) by r pixels; entry (i, j) belongs to the shift
    ``(i / parts − r, j / parts − r)``.
    """
    height, width = truth.shape
    rows, columns = wide.shape[0] - height + 1, wide.shape[1] - width + 1
    # Dot products of windows with the truth, and with windows one step further.
    windows = np.lib.stride_tricks.sliding_window_view(wide, truth.shape)
    cross = np.array([[np.einsum("ij,ij", windows[i, j], truth) for j in range(columns)] for i in range(rows)])
    own = _box_sums(wide * wide, height, width)
    right = _box_sums(wide[:, :-1] * wide[:, 1:], height, width)
    down = _box_sums(wide[:-1] * wide[1:], height, width)
    falling = _box_sums(wide[:-1, :-1] * wide[1:, 1:], height, width)
    rising = _box_sums(wide[:-1, 1:] * wide[1:, :-1], height, width)
    energy = float(np.einsum("ij,ij", truth, truth))
    found = np.empty(((rows - 1) * parts + 1, (columns - 1) * parts + 1))
    for p in range(parts if rows > 1 else 1):
        for q in range(parts if columns > 1 else 1):
            a, b = p / parts, q / parts
            n, m = rows - (p > 0), columns - (q > 0)
            # Weights of the windows at (0, 0), (0, 1), (1, 0), (1, 1); those that are zero have no window there.
            at = {(0, 0): (1 - a) * (1 - b), (0, 1): (1 - a) * b, (1, 0): a * (1 - b), (1, 1): a * b}
            at = {corner: weight for corner, weight in at.items() if weight > 0}
            ssd = np.full((n, m), energy)
            for (y, x), weight in at.items():
                ssd += weight**2 * own[y : y + n, x : x + m] - 2 * weight * cross[y : y + n, x : x + m]
            if q:
                ssd += 2 * at[0, 0] * at[0, 1] * right[:n, :m]
            if p:
                ssd += 2 * at[0, 0] * at[1, 0] * down[:n, :m]
            if p and q:
                ssd += 2 * at[1, 0] * at[1, 1] * right[1 : 1 + n, :m]
                ssd += 2 * at[0, 1] * at[1, 1] * down[:n, 1 : 1 + m]
                ssd += 2 * at[0, 0] * at[1, 1] * falling[:n, :m] + 2 * at[0, 1] * at[1, 0] * rising[:n, :m]
            found[p::parts, q::parts] = ssd
    return found


def find_shift(picture, truth, border=BORDER, reach=REACH, parts=PARTS):
    """The shift at which a picture fits the truth best, of all on a grid.

    Parameters
    ----------
    picture, truth : float array (H, W)
    border : int
        Pixels of the truth left out on each side, at least `reach`.
    reach : int
        Largest shift in pixels, each way.
    parts : int
        Positions per pixel.

    Returns
    -------
    (float, float)
        Pixels down and right: the truth's pixel (i, j) is met by the picture at (i + down, j + right).

    Raises
    ------
    ValueError
        If the shapes differ, nothing is left inside the border, or the border is narrower than the reach.

    Notes
    -----
    The picture is interpolated linearly between its pixels, as in the code of Levin et al. 2009, so each moved picture
    is a weighted sum of four windows of it, and its squared difference to the truth a quadratic form in the dot
    products of windows with the truth and with their neighbours. There are only (2·reach + 1)² of the former, and five
    tables of cumulative sums give the latter: all (2·reach·parts + 1)² differences are exact, in 7 ms for the
    benchmark's 255×255 pixels.
    """
    if picture.shape != truth.shape or picture.ndim != 2:
        raise ValueError(f"two grey pictures of one size are wanted, not {picture.shape} and {truth.shape}")
    if border < reach or min(truth.shape) <= 2 * border:
        raise ValueError(f"a border of {border} px does not go with a reach of {reach} px and {truth.shape} pixels")
    outer = border - reach
    mean = float(truth.mean())  # without the mean little is lost to rounding
    wide = picture[outer : picture.shape[0] - outer, outer : picture.shape[1] - outer].astype(np.float64) - mean
    inner = truth[border : truth.shape[0] - border, border : truth.shape[1] - border].astype(np.float64) - mean
    differences = _differences_on_grid(wide, inner, parts)
    i, j = np.unravel_index(differences.argmin(), differences.shape)
    return float(i / parts - reach), float(j / parts - reach)


def _moved(picture, shift, border):
    """The picture at the truth's pixels inside the border, moved by a shift, interpolated linearly."""
    height, width = picture.shape[:2]
    moved = 0
    (down, a), (right, b) = ((int(np.floor(s)), s - np.floor(s)) for s in shift)
    for y, x, weight in ((0, 0, (1 - a) * (1 - b)), (0, 1, (1 - a) * b), (1, 0, a * (1 - b)), (1, 1, a * b)):
        if weight > 0:
            top, left = border + down + y, border + right + x
            moved = moved + weight * picture[top : top + height - 2 * border, left : left + width - 2 * border]
    return moved


def aligned_score(picture, truth, border=BORDER, reach=REACH):
    """Scores of a picture where it fits the truth best.

    Parameters
    ----------
    picture : float array (H, W) or (H, W, 3)
        Clipped to [0, 1] here.
    truth : float array, shape of the picture
        In [0, 1].
    border, reach : int
        See `find_shift`; of colour pictures, the luminances are laid on each other.

    Returns
    -------
    Score
    """
    picture = np.clip(picture, 0, 1).astype(np.float64)
    shift = find_shift(luminance(picture), luminance(truth), border, reach)
    inside = tuple(slice(border, side - border) for side in truth.shape[:2])
    return score(_moved(picture, shift, border), truth[inside])._replace(shift=shift)


def _load_mat(file):
    """The variables of a .mat file."""
    from scipy.io import loadmat

    try:
        return loadmat(file)
    except OSError as error:
        raise DeconvnetError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # broken files make the reader raise whatever it likes
        raise DeconvnetError(f"{file} cannot be read as a .mat file: {error or type(error).__name__}") from error


def load_levin(folder, limit=None):
    """The cases of Levin et al.'s benchmark in a folder.

    Parameters
    ----------
    folder : path-like
        With ``.mat`` files that hold ``x`` (sharp), ``y`` (blurry) and ``f`` (the PSF, turned by 180°).
    limit : int, optional
        Only the first so many, by name.

    Returns
    -------
    list of PhotoCase

    Raises
    ------
    DeconvnetError
        If there are none, or a file does not hold these three.
    """
    files = sorted(Path(folder).glob("*.mat"))[:limit]
    if not files:
        raise DeconvnetError(f"no .mat files in {folder}: name the folder of Levin et al.'s benchmark")
    cases = []
    for file in files:
        held = _load_mat(file)
        if not all(np.ndim(held.get(name)) == 2 for name in "xyf") or held["x"].shape != held["y"].shape:
            raise DeconvnetError(f"{file} holds no x, y and f: a file of Levin et al.'s benchmark is wanted")
        psf = np.rot90(held["f"], 2).astype(np.float32)
        sharp, blurry = (np.clip(held[name], 0, 1).astype(np.float32) for name in "xy")
        cases.append(PhotoCase(file.stem, sharp, blurry, np.ascontiguousarray(psf / psf.sum())))
    return cases


def load_psfs(path):
    """PSFs from a ``.mat`` file, a picture, or a folder of pictures.

    Parameters
    ----------
    path : path-like
        A ``.mat`` file whose variables are PSFs or cells of PSFs, a picture of a PSF, or a folder of those.

    Returns
    -------
    list of float32 array (h, w)
        Each of sum 1; with an odd side, and its centre of mass nearest the middle.

    Raises
    ------
    DeconvnetError
        If there are none, or one is empty or negative.
    """
    from deconvnet.io import list_pictures, read_image

    path = Path(path)
    if path.suffix.lower() == ".mat":
        arrays = []
        for name, value in sorted(_load_mat(path).items()):
            if not name.startswith("__"):
                arrays += list(value.ravel()) if value.dtype == object else [value]
    else:
        files = list_pictures(path) if path.is_dir() else [path]
        arrays = [luminance(read_image(file).pixels) for file in files]
    psfs = [_centred(np.asarray(a, dtype=np.float32), path) for a in arrays if np.ndim(a) == 2]
    if not psfs:
        raise DeconvnetError(f"{path} holds no PSFs: arrays of two axes are wanted")
    return psfs


def _centred(psf, path):
    """The PSF of sum 1 in the smallest odd square that has its centre of mass in the middle."""
    if not np.isfinite(psf).all() or psf.min() < 0 or not psf.sum() > 0:
        raise DeconvnetError(f"{path} holds a PSF with negative values or without any light")
    rows, columns = np.nonzero(psf)
    weights = psf[rows, columns] / psf.sum()
    down, right = round(float(rows @ weights)), round(float(columns @ weights))
    half = int(max(abs(rows - down).max(), abs(columns - right).max()))
    out = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    out[rows - down + half, columns - right + half] = weights
    return out
