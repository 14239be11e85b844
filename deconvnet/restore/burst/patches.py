"""From a burst of whole frames to a whole picture: overlapping patches through a network, windowed and averaged.

Networks that estimate PSFs do it on a coarse grid of places; the PSFs are refined in larger windows before the patches
are deconvolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d

from deconvnet import parallel
from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.kernels.burst.overlap_add import overlap_add
from deconvnet.networks.protocols import PsfBurstNetwork
from deconvnet.ops.window import hann
from deconvnet.progress import step
from deconvnet.restore.burst.refine import refine_burst_psfs

__all__ = ["patch_places", "restore_frames", "window_starts", "window_sum"]

#: Patches × frames that go through a network at once: bounds the memory of a thread.
CHUNK_FRAMES = 448
#: Rows of patches that one thread adds up by itself, and how many such bands, or rows of places, are wanted at a time.
BAND, AT_ONCE = 4, 32
#: Distance of the places where a network estimates PSFs, as they are or to be refined, in pixels.
PSF_STEP, REFINED_PSF_STEP = 15, 20
#: Longer side, in pixels, of pictures for which the distances here are meant. Camera shake changes over the field of
#: view, not from pixel to pixel: in larger pictures the distances grow in proportion, up to so many times.
LONG_SIDE, MOST_GROWTH = 1000, 2.0
#: Most places, across and down, whose PSFs are returned for people to look at.
SHOWN = 16
#: Side of the windows in which PSFs are refined, their largest distance, and how far a place must lie inside for its
#: PSFs to count in the window's first guess: pixels.
WINDOW, WINDOW_STEP, WINDOW_MARGIN = 192, 96, 20


def patch_places(length: int, centre: int, stride: int) -> np.ndarray:
    """Top (or left) pixel of every predicted centre, so that each pixel is near the middle of one.

    The first centre reaches half its side over the border, the last one at least as far: there the
    frames are continued by reflection.
    """
    first = -(centre // 2)
    count = -(-(length - centre + centre // 2 - first) // stride) + 1
    return first + stride * np.arange(max(count, 1))


def window_sum(places: Iterable[int], window: np.ndarray, length: int) -> np.ndarray:
    """Sum (length,) of copies of the profile ``window`` (k,) that begin at the ``places``, all of them inside."""
    total = np.zeros(length, dtype=np.float64)
    for place in places:
        total[place : place + len(window)] += window
    return total


def _map(function: Callable, items: Sequence, device: str) -> list:
    """``[function(item) for item in items]``: on the threads of the CPU, one after the other on a GPU."""
    return parallel.ordered_map(function, items) if device == "cpu" else [function(item) for item in items]


def _chunks(count: int, frames: int) -> list[slice]:
    size = max(1, CHUNK_FRAMES // frames)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _nodes_between(places: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each place, the two surrounding nodes and the weight of the second."""
    position = np.clip(np.interp(places, nodes, np.arange(len(nodes))), 0, len(nodes) - 1)
    low = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
    return low, np.minimum(low + 1, len(nodes) - 1), (position - low).astype(np.float32)


class _Canvas:
    """Frames with room around them, views of patches at any place, and the windowed sum of what was predicted."""

    def __init__(self, frames: Array, network: Any, stride: int, device: str) -> None:
        _, self.height, self.width = frames.shape
        self.centre, self.stride = network.centre, stride
        self.tops = patch_places(self.height, self.centre, stride)
        self.lefts = patch_places(self.width, self.centre, stride)
        reach = (network.surround - self.centre) // 2  # of the largest crop, beyond the predicted centre
        self.before = reach - int(self.tops[0])
        below, right = (
            max(0, int(places[-1]) + self.centre + reach - length)
            for places, length in ((self.tops, self.height), (self.lefts, self.width))
        )
        borders = ((0, 0), (self.before, below), (self.before, right))
        padded = array_module(frames).pad(frames, borders, mode="symmetric")
        self.padded = to_device(padded, device)
        self.window = to_device(np.outer(hann(self.centre), hann(self.centre)).astype(np.float32), device)
        self.total = array_module(self.padded).zeros(padded.shape[1:], dtype=np.float32)

    def crops(self, top: int, lefts: np.ndarray, side: int) -> Array:
        """Views (n, N, side, side) around the predicted centres in one row, whose ``lefts`` are evenly spaced."""
        shift = self.before - (side - self.centre) // 2
        first = self.padded[:, top + shift :, lefts[0] + shift :]
        across = int(lefts[1] - lefts[0]) if len(lefts) > 1 else 0
        steps = first.strides
        return array_module(first).lib.stride_tricks.as_strided(
            first, (len(lefts), len(first), side, side), (across * steps[2], *steps)
        )

    def part(self, top: int, left: int, height: int, width: int) -> Array:
        """View (N, height, width) of the frames."""
        top, left = top + self.before, left + self.before
        return self.padded[:, top : top + height, left : left + width]

    def band(self, first: int, predicted: Iterable[tuple[int, slice, Array]]) -> Array:
        """Windowed sum of the predictions of a few rows of patches from row ``first`` on: (height, width).

        Each prediction comes with its row and its columns.
        """
        rows = self.tops[first : first + BAND]
        height = int(rows[-1] - rows[0]) + self.centre
        total = array_module(self.padded).zeros((height, self.total.shape[1]), dtype=np.float32)
        for index, part, centres in predicted:
            top, left = int(self.tops[index] - rows[0]), int(self.lefts[part][0]) + self.before
            overlap_add(total, centres, self.window, top, left, self.stride)
        return total

    def add(self, first: int, band: Array) -> None:
        top = int(self.tops[first]) + self.before
        self.total[top : top + len(band)] += band

    def picture(self) -> np.ndarray:
        # The Hann window is a product of profiles, so the sum of its copies is one too.
        profile = hann(self.centre)
        down, across = (
            window_sum(places + self.before, profile, length)[self.before : self.before + inside]
            for places, length, inside in (
                (self.tops, self.total.shape[0], self.height),
                (self.lefts, self.total.shape[1], self.width),
            )
        )
        inside = (slice(self.before, self.before + self.height), slice(self.before, self.before + self.width))
        return to_host(self.total[inside]) / np.outer(down, across).astype(np.float32)


class _Field:
    """Values known on a coarse grid of places, interpolated bilinearly at every patch.

    Parameters
    ----------
    canvas : _Canvas
    tops, lefts : array
        Of the predicted centres that the values belong to.
    row : callable
        ``row(index)`` gives the values (columns, ...) of one row of places.
    device : {"cpu", "cuda"}
        For the interpolated values.
    margins : int array (len(tops), len(lefts)), optional
        For values that are PSFs: how many pixels at the border of each are zero.
    """

    def __init__(
        self,
        canvas: _Canvas,
        tops: np.ndarray,
        lefts: np.ndarray,
        row: Callable,
        device: str,
        margins: np.ndarray | None = None,
    ) -> None:
        self.row, self.device, self.margins = row, device, margins
        self.rows = _nodes_between(canvas.tops, tops)
        self.columns = _nodes_between(canvas.lefts, lefts)

    def _rows_around(self, index: int) -> list[tuple[int, np.float32]]:
        low, high, weight = (nodes[index] for nodes in self.rows)
        return [(low, 1 - weight), (high, weight)] if weight > 0 else [(low, np.float32(1))]

    def needed(self, rows: Iterable[int]) -> list[int]:
        """Rows of places between which these rows of patches lie."""
        return sorted({int(row) for index in rows for row, _ in self._rows_around(index)})

    def at(self, index: int, part: Any, *, whole: bool = False) -> Array:
        """Values at the patches ``part`` of one row of patches; PSFs without the margin of all, unless ``whole``."""
        low, high, weight = (column[part] for column in self.columns)
        first, last = int(low[0]), int(high[-1]) + 1
        around = self._rows_around(index)
        inside: Any = ...
        if self.margins is not None and not whole:
            margin = min(int(self.margins[row, first:last].min()) for row, _ in around)
            inside = (..., *(slice(margin, -margin or None),) * 2)
        # The two rows are mixed where there are nodes only, the columns at every patch.
        grid: Any = sum(share * self.row(row)[first:last][inside] for row, share in around)
        share = weight.reshape(-1, *[1] * (grid.ndim - 1))
        mixed = grid[low - first] * (1 - share)
        mixed += share * grid[high - first]
        return to_device(mixed, self.device)


def _margins(psfs: np.ndarray) -> np.ndarray:
    """How many pixels at the border of all N PSFs (rows, columns, N, k, k) of each place are zero: (rows, columns)."""
    seen: Any = psfs.any(axis=2)
    seen = seen.any(axis=-1) | seen.any(axis=-2)
    seen |= seen[..., ::-1]
    return np.where(seen.any(axis=-1), seen.argmax(axis=-1), psfs.shape[-1] // 2)


class _Estimates:
    """The network's PSFs and regularisers on a coarse grid of places, row by row as they are needed.

    Rows that are no longer needed are dropped, so the memory does not grow with the height of the picture.
    """

    def __init__(self, network: Any, canvas: _Canvas, every: int, radius: int, frames: int, device: str) -> None:
        self.network, self.canvas, self.radius, self.frames, self.device = network, canvas, radius, frames, device
        self.tops, self.lefts = canvas.tops[::every], canvas.lefts[::every]
        self.found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.averaged: dict[int, np.ndarray] = {}

    def _look(self, place: tuple[int, slice]) -> tuple[np.ndarray, np.ndarray]:
        index, part = place
        crops = self.canvas.crops(self.tops[index], self.lefts[part], self.network.surround)
        psfs, adaptation = self.network.estimate_psfs(crops)[:2]
        return to_host(psfs), to_host(adaptation)

    def look(self, rows: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The network's word on rows of places: for each, PSFs (columns, N, k, k) and adaptation (columns, bands)."""
        parts = _chunks(len(self.lefts), self.frames)
        found = _map(self._look, [(index, part) for index in rows for part in parts], self.device)
        rows_found = [found[i : i + len(parts)] for i in range(0, len(found), len(parts))]
        return [(np.concatenate([p for p, _ in row]), np.concatenate([a for _, a in row])) for row in rows_found]

    def prepare(self, rows: Sequence[int]) -> None:
        """Make these rows known, and forget those before them."""
        last = len(self.tops) - 1
        near = [[min(max(i + d, 0), last) for d in range(-self.radius, self.radius + 1)] for i in rows]
        wanted = sorted({i for indices in near for i in indices})
        self.found = {i: kept for i, kept in self.found.items() if i >= wanted[0]}
        missing = [i for i in wanted if i not in self.found]
        self.found.update(zip(missing, self.look(missing)))
        self.averaged = {i: kept for i, kept in self.averaged.items() if i >= rows[0]}
        for index, indices in zip(rows, near):
            if index not in self.averaged:
                psfs: Any = sum(self.found[i][0] for i in indices) / np.float32(len(indices))
                size = min(2 * self.radius + 1, 2 * len(self.lefts) - 1)
                self.averaged[index] = uniform_filter1d(psfs, size, axis=0, mode="nearest") if size > 1 else psfs

    def psfs(self, index: int) -> np.ndarray:
        """PSFs of one row of places, averaged over the (2·radius + 1)² nearest."""
        return self.averaged[index]

    def adaptation(self, index: int) -> np.ndarray:
        """The network's adaptation (columns, bands) of the regulariser in one row of places."""
        return self.found[index][1]


def window_growth(shape: tuple[int, int]) -> float:
    """How many times the distances of places and windows grow in a picture of this height and width."""
    return float(np.clip(max(shape) / LONG_SIDE, 1, MOST_GROWTH))


def window_starts(length: int, growth: float = 1.0) -> tuple[np.ndarray, int]:
    """Starts (n,) and side of the windows, evenly spread over a length, in which PSFs are refined."""
    side = min(length, WINDOW)
    count = -(-(length - side) // int(WINDOW_STEP * growth)) + 1
    return np.linspace(0, length - side, count).round().astype(int), side


def _inside(places: np.ndarray, starts: np.ndarray, side: int) -> np.ndarray:
    """(windows, places): which centres lie well inside each window; the nearest one if none does."""
    distance = abs(places - (starts[:, None] + side / 2))
    return (distance <= side / 2 - WINDOW_MARGIN) | (distance == distance.min(axis=1, keepdims=True))


def _refined_fields(estimates: _Estimates, canvas: _Canvas, progress: bool) -> tuple[_Field, _Field]:
    """Fields of the refined PSFs, and of the network's adaptation."""
    network, device, half = estimates.network, estimates.device, canvas.centre // 2
    growth = window_growth((canvas.height, canvas.width))
    (tops, height), (lefts, width) = (window_starts(length, growth) for length in (canvas.height, canvas.width))
    rows = _inside(estimates.tops + half, tops, height)
    columns = _inside(estimates.lefts + half, lefts, width).astype(np.float32)
    columns /= columns.sum(axis=1, keepdims=True)
    count, adaptation = len(estimates.tops), []
    psfs: Any = None
    with step("estimating PSFs", count, "row", shown=progress) as estimating:
        for first in range(0, count, AT_ONCE):
            some = range(first, min(first + AT_ONCE, count))
            for index, (found, adapted) in zip(some, estimates.look(some)):
                adaptation.append(adapted)
                means = np.tensordot(columns, found, axes=1)
                psfs = np.zeros((len(tops), *means.shape), means.dtype) if psfs is None else psfs
                for window in np.flatnonzero(rows[:, index]):
                    psfs[window] += means / means.dtype.type(rows[window].sum())
            estimating.update(len(some))
    # What is beyond the margin of a patch cannot be deconvolved: so large can the refined PSFs become.
    room = max(0, (network.patch - network.centre) // 2 - psfs.shape[-1] // 2)
    psfs = np.pad(psfs, ((0, 0), (0, 0), (0, 0), (room, room), (room, room)))

    def refine(window: tuple[int, int]) -> None:
        i, j = window
        frames = canvas.part(tops[i], lefts[j], height, width)
        psfs[i, j] = to_host(refine_burst_psfs(frames, to_device(psfs[i, j], device)))
        refining.update()

    with step("refining PSFs", len(tops) * len(lefts), "window", shown=progress) as refining:
        _map(refine, list(np.ndindex(len(tops), len(lefts))), device)
    places = (tops + height // 2 - half, lefts + width // 2 - half)
    return (
        _Field(canvas, *places, psfs.__getitem__, device, _margins(psfs)),
        _Field(canvas, estimates.tops, estimates.lefts, adaptation.__getitem__, device),
    )


def restore_frames(
    network: Any,
    frames: Array,
    *,
    stride: int = 10,
    psf_step: int | None = None,
    psf_smoothing: int = 2,
    refine: bool = True,
    device: str = "cpu",
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Restore registered luminance frames with a burst network.

    Parameters
    ----------
    network : BurstNetwork
        On ``device``.
    frames : array (N, H, W)
        float32 in [0, 1], at least 65 px on each side.
    stride : int
        Distance of neighbouring patches in pixels: smaller is smoother and slower.
    psf_step : int, optional
        Networks with PSFs only: distance in pixels of the places where PSFs are estimated, rounded to whole strides;
        `PSF_STEP`, or `REFINED_PSF_STEP` where they are refined, farther apart in pictures of more than `LONG_SIDE` px.
    psf_smoothing : int
        Networks with PSFs only, without refinement: PSFs are averaged over ``(2·psf_smoothing + 1)²`` neighbouring
        places.
    refine : bool
        Networks with PSFs only: refine them in windows of 192 px, at most 96 px apart, 192 px in large pictures
        (`deconvnet.restore.burst.refine.refine_burst_psfs`), from the mean of the estimates in each.
    device : {"cpu", "cuda"}
    progress : bool
        Show bars.

    Returns
    -------
    picture : float32 array (H, W)
        Not clipped.
    psfs : float32 array (rows, columns, N, k, k), or None
        For networks that have them: PSFs at up to 16 × 16 places, evenly over the picture.

    Notes
    -----
    Each predicted centre is weighed with a 2-D Hann window and averaged (Wieschollek et al. 2016,
    Sec. 3.3). PSFs change slowly over a picture, so they are known on a coarser grid, and interpolated linearly at each
    patch. Frames are continued by reflection at their borders. On the CPU, places, windows and bands of patches are
    shared among the threads of `deconvnet.parallel`; for any number of them the result is the same, bit for bit.
    """
    count = len(frames)
    canvas = _Canvas(array_module(frames).ascontiguousarray(frames, dtype=np.float32), network, stride, device)
    estimates, fields, shown = None, [], []
    if isinstance(network, PsfBurstNetwork):
        distance = psf_step or (REFINED_PSF_STEP if refine else PSF_STEP) * window_growth(frames.shape[1:])
        estimates = _Estimates(network, canvas, max(1, round(distance / stride)), psf_smoothing, count, device)
        if refine:
            fields = list(_refined_fields(estimates, canvas, progress))
        else:
            places = (estimates.tops, estimates.lefts)
            fields = [_Field(canvas, *places, row, device) for row in (estimates.psfs, estimates.adaptation)]
        shown_rows, shown_columns = (
            np.unique(np.linspace(0, len(patches) - 1, min(SHOWN, len(places))).round().astype(int))
            for patches, places in ((canvas.tops, estimates.tops), (canvas.lefts, estimates.lefts))
        )
    parts = _chunks(len(canvas.lefts), count)

    def predict(index: int, part: slice) -> Array:
        top, lefts = canvas.tops[index], canvas.lefts[part]
        if not fields:
            return network.restore(canvas.crops(top, lefts, network.surround))
        return network.deconvolve(canvas.crops(top, lefts, network.patch), *(field.at(index, part) for field in fields))

    def band(first: int) -> Array:
        rows = range(first, min(first + BAND, len(canvas.tops)))
        found = canvas.band(first, ((index, part, predict(index, part)) for index in rows for part in parts))
        restoring.update(len(rows))
        return found

    with step("restoring", len(canvas.tops), "row", shown=progress) as restoring:
        for start in range(0, len(canvas.tops), BAND * AT_ONCE):
            rows = range(start, min(start + BAND * AT_ONCE, len(canvas.tops)))
            if estimates is not None and not refine:
                estimates.prepare(fields[0].needed(rows))
            for first, total in zip(rows[::BAND], _map(band, rows[::BAND], device)):
                canvas.add(first, total)
            if fields:
                shown += [
                    to_host(fields[0].at(index, shown_columns, whole=True)) for index in rows if index in shown_rows
                ]
    return canvas.picture(), np.stack(shown) if shown else None
