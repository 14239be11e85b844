"""Photographs that are larger than the memory: PSFs from windows with many edges, deconvolution tile by tile.

Tiles see their neighbours as far as the PSF reaches twice, and fade into each other over one PSF: no step is left where
two of them have decided single pixels otherwise. `deblur_rows` walks over anything that can be sliced, a row of tiles
at a time; `deblur_array` is the same for Dask.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from deconvnet import parallel
from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.blur.filter_flow import patch_grid
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError, is_whole
from deconvnet.networks.io import as_network
from deconvnet.networks.protocols import PhotoNetwork
from deconvnet.progress import step
from deconvnet.restore.deconvolve.solvers import (
    ESTIMATED_PSF,
    EXACT_PSF,
    REFINED_PSF,
    check_options,
    deconvolve,
    estimate_noise,
)
from deconvnet.restore.photo.confidence import UNCERTAIN, warn_if_uncertain
from deconvnet.restore.photo.deblur import LEAST_CONTRAST, checked_photo, known_psf
from deconvnet.restore.photo.psf import FoundPsf, check_psf_options, find_psf
from deconvnet.restore.photo.psf_cleanup import THRESHOLD, moved_onto
from deconvnet.restore.photo.psf_size import padded
from deconvnet.restore.photo.varying import choose_grid, deconvolve_varying
from deconvnet.restore.pixels import as_floats

__all__ = ["TILE", "WINDOW", "Plan", "deblur_array", "deblur_rows", "plan_tiles"]

#: Side of the tiles: larger ones are no quicker, which leaves the processor's cache; and of the windows.
TILE, WINDOW = 1024, 1536
#: Pixels of its neighbours that a tile sees, in sides of the PSF: more change nothing.
OVERLAP = 2
#: Windows that are tried, from the one with most edges on, until a PSF can be trusted.
TRIES = 3
#: With blur that varies, a PSF is estimated in at most so many windows each way.
MOST_CELLS = 5


class Plan(NamedTuple):
    """What is known of a picture before its tiles are deconvolved.

    Attributes
    ----------
    psfs : float32 array (n, k, k)
        Each of sum 1: of as many places of the picture, between which it is interpolated.
    places : float array (n, 2)
        Row and column.
    trust : float array (n,)
        How much each counts, positive.
    spread : float
        Pixels after which a place counts less: a third of the distance of places.
    noise : float
    confidence : float or None
        The largest of the PSFs'; None if it was given or not refined.
    """

    psfs: np.ndarray
    places: np.ndarray
    trust: np.ndarray
    spread: float
    noise: float
    confidence: float | None

    def psfs_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The PSFs (rows, columns, k, k) of a grid of places: means of those known, by trust and nearness."""
        distance = (rows[:, None, None] - self.places[:, 0]) ** 2 + (columns[None, :, None] - self.places[:, 1]) ** 2
        logarithm = np.log(self.trust) - distance / (2 * self.spread**2)
        weights = np.exp(logarithm - logarithm.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.tensordot(weights.astype(np.float32), self.psfs, 1)


class _Axis(NamedTuple):
    """Tiles along one axis: tile i is ``bounds[i]:bounds[i + 1]``."""

    bounds: tuple[int, ...]
    depth: int
    fade: int

    @classmethod
    def of(cls, length: int, tile: int, psf_side: int) -> _Axis:
        """Tiles that differ by one pixel at most, none of which is smaller than what it shows its neighbours."""
        depth = OVERLAP * psf_side
        count = max(1, min(-(-length // tile), length // depth))
        return cls(tuple(length * i // count for i in range(count + 1)), depth, psf_side // 2)

    @property
    def number(self) -> int:
        return len(self.bounds) - 1

    def tile(self, i: int) -> slice:
        return slice(self.bounds[i], self.bounds[i + 1])

    @property
    def sides(self) -> tuple[int, ...]:
        return tuple(end - begin for begin, end in zip(self.bounds, self.bounds[1:]))

    def _with_margin(self, i: int, margin: int) -> slice:
        return slice(max(0, self.bounds[i] - margin), min(self.bounds[-1], self.bounds[i + 1] + margin))

    def seen(self, i: int) -> slice:
        """What tile i is deconvolved from."""
        return self._with_margin(i, self.depth)

    def kept(self, i: int) -> slice:
        """What is kept of it."""
        return self._with_margin(i, self.fade)

    def weights(self, i: int) -> np.ndarray:
        """How much it counts there: everywhere, the weights of all tiles sum to 1."""
        kept = self.kept(i)
        weights = np.ones(kept.stop - kept.start, np.float32)
        ramp = (np.arange(2 * self.fade, dtype=np.float32) + 0.5) / (2 * self.fade)
        if i:
            weights[: len(ramp)] = ramp
        if i < self.number - 1:
            weights[len(weights) - len(ramp) :] = ramp[::-1]
        return weights


def _axes(shape: tuple[int, ...], tile: int, psf_side: int) -> tuple[_Axis, _Axis]:
    rows, columns = (_Axis.of(length, tile, psf_side) for length in shape[:2])
    return rows, columns


def _weighted_tile(
    pixels: np.ndarray, axes: tuple[_Axis, _Axis], which: tuple[int, int], plan: Plan, nonblind: str, device: str
) -> np.ndarray:
    """What is kept of a tile, in [0, 1], times its weights, from the pixels that it sees."""
    floats = np.ascontiguousarray(as_floats(np.asarray(pixels), "the picture"))
    seen = [axis.seen(i) for axis, i in zip(axes, which)]
    kept = [axis.kept(i) for axis, i in zip(axes, which)]
    if len(plan.psfs) == 1:
        found = deconvolve(to_device(floats, device), to_device(plan.psfs[0], device), nonblind, noise=plan.noise)
    else:
        shape = floats.shape[:2]
        centres = [
            patch_grid(length, count).centres + part.start
            for length, count, part in zip(shape, choose_grid(shape, plan.psfs.shape[-1]), seen)
        ]
        psfs = plan.psfs_at(*centres)
        found = deconvolve_varying(to_device(floats, device), to_device(psfs, device), nonblind, noise=plan.noise)
    inside = tuple(slice(k.start - s.start, k.stop - s.start) for k, s in zip(kept, seen))
    weights = np.multiply.outer(*(axis.weights(i) for axis, i in zip(axes, which)))
    return to_host(found)[inside].clip(0, 1) * weights.reshape(*weights.shape, *(1,) * (floats.ndim - 2))


def _detail(block: np.ndarray) -> float:
    """Sum of the squared differences of a block's luminance."""
    grey = luminance(as_floats(np.asarray(block), "the picture"))
    return sum(float((np.diff(grey, axis=axis) ** 2).sum()) for axis in (0, 1))


_Place: TypeAlias = tuple[int, int]  # row and column of a window


class _Windows:
    """The picture in windows of about one side, and how much detail each has."""

    def __init__(self, picture: Any, side: int, progress: bool) -> None:
        self.picture = picture
        self.rows, self.columns = (_Axis.of(length, side, 1) for length in picture.shape[:2])
        self.detail = np.zeros((self.rows.number, self.columns.number))
        with step("looking for edges", self.detail.size, "window", shown=progress) as looking:
            for i in range(self.rows.number):
                for j in range(self.columns.number):
                    self.detail[i, j] = _detail(self.picture[self._part((i, j))])
                    looking.update()
        checked_photo(np.asarray(picture[self._part(self.by_detail()[0])]))

    def _part(self, place: _Place) -> tuple[slice, slice]:
        return self.rows.tile(place[0]), self.columns.tile(place[1])

    def grey(self, place: _Place) -> np.ndarray:
        """Luminance of a window."""
        return np.ascontiguousarray(luminance(as_floats(np.asarray(self.picture[self._part(place)]), "the picture")))

    def centre(self, place: _Place) -> tuple[float, float]:
        rows, columns = self._part(place)
        return (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2

    def by_detail(self) -> list[_Place]:
        """All windows, from the one with most edges on."""
        order = np.argsort(-self.detail, axis=None, kind="stable")
        return [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, self.detail.shape))]

    def of_cells(self) -> list[_Place]:
        """The best window of every cell of a grid over the picture."""
        cells = [np.array_split(np.arange(n), min(n, MOST_CELLS)) for n in self.detail.shape]
        return [
            max(((int(i), int(j)) for i in rows for j in columns), key=self.detail.__getitem__)
            for rows in cells[0]
            for columns in cells[1]
        ]


def _trust(found: FoundPsf) -> float:
    return 1.0 if found.confidence is None else found.confidence


def _psfs_of(
    windows: _Windows, network: Any, size: int | str, *, varying: bool, device: str, progress: bool, **options: Any
) -> list[tuple[FoundPsf, _Place]]:
    """The PSFs that are used, (k, k), and the windows they come from, the most trusted first."""
    candidates = windows.of_cells() if varying else windows.by_detail()[:TRIES]
    found: list[tuple[FoundPsf, _Place]] = []
    with step("estimating the PSF", len(candidates), "window", shown=progress) as estimating:
        for place in candidates:
            estimating.update()
            grey = windows.grey(place)
            if np.ptp(grey) < LEAST_CONTRAST:
                continue
            one = find_psf(network, to_device(grey, device), size, **options)
            found.append((one._replace(psf=to_host(one.psf)), place))
            if not varying and _trust(one) >= UNCERTAIN:
                break
    found.sort(key=lambda item: -_trust(item[0]))
    warn_if_uncertain(found[0][0].confidence, left=True)
    used = [item for item in found if varying and _trust(item[0]) >= UNCERTAIN] or found[:1]
    side = max(len(one.psf) for one, _ in used)
    first = padded(used[0][0].psf, side)
    return [(one._replace(psf=moved_onto(padded(one.psf, side), first)), place) for one, place in used]


def plan_tiles(
    picture: Any,
    *,
    psf: ArrayLike | None = None,
    model: str | os.PathLike[str] | PhotoNetwork = "photo",
    psf_size: int | str = "auto",
    refine: bool = True,
    psf_sharpen: float = 0.0,
    psf_threshold: float = THRESHOLD,
    noise: float | None = None,
    varying: bool = False,
    window: int = WINDOW,
    device: str = "cpu",
    progress: bool = False,
) -> Plan:
    """PSF and noise of a picture that is read window by window.

    Parameters
    ----------
    picture : (H, W) or (H, W, 3)
        Anything with ``shape`` that gives arrays when it is sliced: sRGB as floats in [0, 1], uint8 or uint16.
    psf, model, psf_size, refine, psf_sharpen, psf_threshold, noise, varying, progress
        As for `deconvnet.deblur`.
    window : int
        About the side of the windows. The whole picture is read once to find those with most edges, unless PSF and
        noise are given.
    device : {"cpu", "cuda"}

    Returns
    -------
    Plan

    Raises
    ------
    DeconvnetError
        If the picture or an option cannot be used.

    Notes
    -----
    One PSF comes from the window with most edges, or from the next of them if it cannot be trusted there. With
    ``varying`` there is one from the best window of each cell of a grid of 5×5 at most, moved onto the most trusted
    one; those that cannot be trusted are left out.
    """
    if not (len(picture.shape) == 2 or (len(picture.shape) == 3 and picture.shape[2] == 3)) or 0 in picture.shape:
        raise DeconvnetError(f"the picture has the shape {tuple(picture.shape)}: (H, W) or (H, W, 3) is wanted")
    if not is_whole(window, 1):
        raise DeconvnetError(f"the window must be a whole number of pixels, at least 1, not {window!r}")
    if psf is not None and varying:
        raise DeconvnetError("a known PSF holds for the whole photo: leave either psf (--psf) or varying away")
    height, width = picture.shape[:2]
    windows = _Windows(picture, window, progress) if psf is None or noise is None else None
    if psf is not None:
        psf_error, confidence = EXACT_PSF, None
        psfs, places, trust = [known_psf(psf, (height, width))], [(height / 2, width / 2)], [1.0]
    else:
        assert windows is not None
        network: Any = as_network(model, "photo", device)
        size = check_psf_options(network, psf_size, psf_sharpen, psf_threshold, refine)
        options: dict[str, Any] = {"sharpen": psf_sharpen, "threshold": psf_threshold, "refine": refine}
        found = _psfs_of(windows, network, size, varying=varying, device=device, progress=progress, **options)
        psf_error, confidence = REFINED_PSF if refine else ESTIMATED_PSF, found[0][0].confidence
        psfs, places = [one.psf for one, _ in found], [windows.centre(place) for _, place in found]
        trust = [_trust(one) for one, _ in found]
    if noise is None:
        assert windows is not None
        noise = float(np.hypot(estimate_noise(windows.grey(windows.by_detail()[0])), psf_error))
    cells = [min(MOST_CELLS, -(-length // window)) for length in (height, width)]
    spread = max(length / number for length, number in zip((height, width), cells)) / 3
    return Plan(np.stack(psfs), np.array(places), np.array(trust), spread, noise, confidence)


def deblur_rows(
    picture: Any,
    plan: Plan,
    *,
    nonblind: str = "hyper-laplacian",
    tile: int = TILE,
    device: str = "cpu",
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """The sharp picture from top to bottom, a row of tiles at a time.

    Parameters
    ----------
    picture, device, progress
        As for `plan_tiles`.
    plan : Plan
    nonblind : str
        As for `deconvnet.deblur`.
    tile : int
        Sides of the tiles are at most so long, if the PSF is not larger than a quarter of it.

    Yields
    ------
    float32 array (h, W) or (h, W, 3)
        In [0, 1]; all of them below each other are the picture.
    """
    check_options(nonblind, None)
    rows, columns = axes = _axes(picture.shape, tile, max(plan.psfs.shape[1:]))
    at_once = parallel.thread_count() if device == "cpu" else 1
    carried: np.ndarray | None = None  # the last rows so far, to which the next tiles still add
    with step("deconvolving", rows.number * columns.number, "tile", shown=progress) as deconvolving:
        for i in range(rows.number):
            kept = rows.kept(i)
            band = np.zeros((kept.stop - kept.start, *picture.shape[1:]), np.float32)
            if carried is not None:
                band[: len(carried)] = carried
            for first in range(0, columns.number, at_once):
                which = [(i, j) for j in range(first, min(first + at_once, columns.number))]
                pixels = [picture[rows.seen(i), columns.seen(j)] for i, j in which]

                def weighted(number: int, which: Any = which, pixels: Any = pixels) -> np.ndarray:
                    return _weighted_tile(pixels[number], axes, which[number], plan, nonblind, device)

                # A tile alone has all threads for itself.
                found = parallel.ordered_map(weighted, range(len(which))) if len(which) > 1 else [weighted(0)]
                for (_, j), part in zip(which, found):
                    band[:, columns.kept(j)] += part
                    deconvolving.update()
            done = len(band) if i == rows.number - 1 else len(band) - 2 * rows.fade
            carried = band[done:].copy()
            yield band[:done].clip(0, 1)


def _joined(block: np.ndarray, axes: tuple[_Axis, _Axis], block_id: tuple[int, ...]) -> np.ndarray:
    """A tile from what it and its neighbours keep: with the last ``2 fade`` pixels of the one before, and so on."""
    for dimension, (axis, i) in enumerate(zip(axes, block_id)):
        shared, first, last = 2 * axis.fade, i == 0, i == axis.number - 1
        rest = np.moveaxis(block, dimension, 0)
        before, rest = (rest[:0], rest) if first else (rest[:shared], rest[shared:])
        rest, after = (rest, rest[:0]) if last else (rest[: len(rest) - shared], rest[len(rest) - shared :])
        rest = rest.copy()
        rest[: len(before)] += before
        rest[len(rest) - len(after) :] += after
        inside = rest[0 if first else axis.fade : len(rest) - (0 if last else axis.fade)]
        block = np.moveaxis(inside, 0, dimension)
    return np.ascontiguousarray(block).clip(0, 1)


def deblur_array(
    picture: Any,
    *,
    psf: ArrayLike | None = None,
    model: str | os.PathLike[str] | PhotoNetwork = "photo",
    psf_size: int | str = "auto",
    nonblind: str = "hyper-laplacian",
    noise: float | None = None,
    varying: bool = False,
    tile: int = TILE,
    window: int = WINDOW,
    device: str = "auto",
) -> Any:
    """A sharp picture from a blurry one that needs not fit the memory, as Dask arrays; with the extra ``dask``.

    Parameters
    ----------
    picture : dask.array.Array (H, W) or (H, W, 3)
        sRGB as floats in [0, 1], uint8 or uint16.
    psf : float array (h, w), optional
        The PSF, if it is known: nothing is computed by this call then but the noise.
    model, psf_size, nonblind, noise, varying, device
        As for `deconvnet.deblur`.
    tile : int
        Sides of the tiles of the result are at most so long: each needs about 0.1 GB for a megapixel of colour.
    window : int
        Side of the windows, those of which with most edges give PSF and noise. The whole picture is read once to
        find them.

    Returns
    -------
    dask.array.Array (H, W) or (H, W, 3) of float32
        In [0, 1]; computed when it is asked for, a tile at a time.

    Raises
    ------
    DeconvnetError
        If the array or an option cannot be used, or Dask is not installed.

    Notes
    -----
    Every tile is deconvolved with twice the PSF's side of its neighbours, with the PSF and the noise of the windows
    (`deconvnet.restore.photo.tiles.plan_tiles`), and fades into its neighbours over the PSF's side.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from deconvnet import deblur_array
    >>> from deconvnet.blur.convolve import convolve
    >>> sharp = np.full((90, 100), 0.2, np.float32)
    >>> sharp[10:70, 15:80] = 0.8
    >>> psf = np.ones((1, 5), np.float32) / 5
    >>> blurry = da.from_array(convolve(sharp, psf, border="reflect"))
    >>> picture = deblur_array(blurry, psf=psf, tile=50, device="cpu")
    >>> picture.chunks
    ((45, 45), (50, 50))
    >>> bool(abs(picture.compute() - sharp).mean() < 0.001)
    True
    """
    try:
        import dask.array as da
    except ImportError as error:
        raise DeconvnetError("deblur_array needs Dask: pip install 'deconvnet[dask]'") from error
    if not isinstance(picture, da.Array):
        raise DeconvnetError("the picture is no Dask array: dask.array.from_array makes one, or call deblur")
    if not is_whole(tile, 1):
        raise DeconvnetError(f"the tile must be a whole number of pixels, at least 1, not {tile!r}")
    check_options(nonblind, noise)
    device = resolve_device(device)
    found: dict[str, Any] = {"psf": psf, "model": model, "psf_size": psf_size, "noise": noise, "varying": varying}
    plan = plan_tiles(picture, **found, window=window, device=device)
    axes = _axes(picture.shape, tile, max(plan.psfs.shape[1:]))
    channels = tuple((n,) for n in picture.shape[2:])

    def overlapping(array: Any, margin: int) -> Any:
        depth = {0: margin, 1: margin, **({2: 0} if channels else {})}
        return da.overlap.overlap(array, depth=depth, boundary="none", allow_rechunk=False)

    def weigh(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        return _weighted_tile(block, axes, (block_id[0], block_id[1]), plan, nonblind, device)

    tiles = picture.rechunk((*(axis.sides for axis in axes), *channels))
    kept = [tuple(axis.kept(i).stop - axis.kept(i).start for i in range(axis.number)) for axis in axes]
    like = {"dtype": np.float32, "meta": np.empty((0,) * picture.ndim, np.float32)}
    weighted = overlapping(tiles, axes[0].depth).map_blocks(weigh, chunks=(*kept, *channels), **like)
    return overlapping(weighted, 2 * axes[0].fade).map_blocks(_joined, axes=axes, chunks=tiles.chunks, **like)
