"""From a burst of whole frames to a whole picture: overlapping patches through a network, windowed and averaged.

Networks that estimate PSFs do it on a coarse grid of places; the PSFs are refined in larger windows before the patches
are deconvolved.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from deconvnet.backend import array_module, to_device, to_host
from deconvnet.kernels.burst.overlap_add import overlap_add
from deconvnet.networks.protocols import PsfBurstNetwork
from deconvnet.ops.window import hann
from deconvnet.restore.burst.refine import refine_burst_psfs

__all__ = ["patch_places", "restore_frames", "window_starts", "window_sum"]

#: Patches × frames that go through a network at once: bounds the memory.
CHUNK_FRAMES = 448
#: Most places, across and down, whose PSFs are returned for people to look at.
SHOWN = 16
#: Side of the windows in which PSFs are refined, their largest distance, and how far a place must lie inside for its
#: PSFs to count in the window's first guess: pixels.
WINDOW, WINDOW_STEP, WINDOW_MARGIN = 192, 96, 20


def patch_places(length, centre, stride):
    """Top (or left) pixel of every predicted centre, so that each pixel is near the middle of one.

    The first centre reaches half its side over the border, the last one at least as far: there the
    frames are continued by reflection.
    """
    first = -(centre // 2)
    count = -(-(length - centre + centre // 2 - first) // stride) + 1
    return first + stride * np.arange(max(count, 1))


def window_sum(places, window, length):
    """Sum (length,) of copies of the profile ``window`` (k,) that begin at the ``places``, all of them inside."""
    total = np.zeros(length, dtype=np.float64)
    for place in places:
        total[place : place + len(window)] += window
    return total


def _chunks(count, frames):
    size = max(1, CHUNK_FRAMES // frames)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _nodes_between(places, nodes):
    """For each place, the two surrounding nodes and the weight of the second."""
    position = np.clip(np.interp(places, nodes, np.arange(len(nodes))), 0, len(nodes) - 1)
    low = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
    return low, np.minimum(low + 1, len(nodes) - 1), (position - low).astype(np.float32)


class _Canvas:
    """Frames with room around them, views of patches at any place, and the windowed sum of what was predicted."""

    def __init__(self, frames, network, stride, device):
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

    def crops(self, top, lefts, side):
        """Views (n, N, side, side) around the predicted centres in one row, whose ``lefts`` are evenly spaced."""
        shift = self.before - (side - self.centre) // 2
        first = self.padded[:, top + shift :, lefts[0] + shift :]
        across = int(lefts[1] - lefts[0]) if len(lefts) > 1 else 0
        steps = first.strides
        return array_module(first).lib.stride_tricks.as_strided(
            first, (len(lefts), len(first), side, side), (across * steps[2], *steps)
        )

    def part(self, top, left, height, width):
        """View (N, height, width) of the frames."""
        top, left = top + self.before, left + self.before
        return self.padded[:, top : top + height, left : left + width]

    def add(self, predicted, top, lefts):
        overlap_add(
            self.total, predicted, self.window, int(top) + self.before, int(lefts[0]) + self.before, self.stride
        )

    def picture(self):
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
    """

    def __init__(self, canvas, tops, lefts, row, device):
        self.row, self.device = row, device
        self.rows = _nodes_between(canvas.tops, tops)
        self.columns = _nodes_between(canvas.lefts, lefts)

    def _rows_around(self, index):
        low, high, weight = (nodes[index] for nodes in self.rows)
        return [(low, 1 - weight), (high, weight)] if weight > 0 else [(low, np.float32(1))]

    def at(self, index, part):
        """Values at the patches ``part`` of one row of patches."""
        low, high, weight = (column[part] for column in self.columns)
        first, last = int(low[0]), int(high[-1]) + 1
        # The two rows are mixed where there are nodes only, the columns at every patch.
        grid = sum(share * self.row(row)[first:last] for row, share in self._rows_around(index))
        share = weight.reshape(-1, *[1] * (grid.ndim - 1))
        mixed = grid[low - first] * (1 - share)
        mixed += share * grid[high - first]
        return to_device(mixed, self.device)


class _Estimates:
    """The network's PSFs and regularisers on a coarse grid of places, row by row as they are needed.

    Rows that are no longer needed are dropped, so the memory does not grow with the height of the picture.
    """

    def __init__(self, network, canvas, every, radius, frames):
        self.network, self.canvas, self.radius, self.frames = network, canvas, radius, frames
        self.tops, self.lefts = canvas.tops[::every], canvas.lefts[::every]
        self.found, self.averaged = {}, {}

    def look(self, index):
        """The network's word on one row of places: PSFs (columns, N, k, k) and adaptation (columns, bands)."""
        parts = []
        for part in _chunks(len(self.lefts), self.frames):
            crops = self.canvas.crops(self.tops[index], self.lefts[part], self.network.surround)
            psfs, adaptation = self.network.estimate_psfs(crops)[:2]
            parts.append((to_host(psfs), to_host(adaptation)))
        return tuple(np.concatenate(arrays) for arrays in zip(*parts))

    def _row(self, index):
        if index not in self.found:
            self.found[index] = self.look(index)
        return self.found[index]

    def psfs(self, index):
        """PSFs of one row of places, averaged over the (2·radius + 1)² nearest."""
        if index not in self.averaged:
            first = index - self.radius
            near = [min(max(i, 0), len(self.tops) - 1) for i in range(first, index + self.radius + 1)]
            psfs = sum(self._row(i)[0] for i in near) / np.float32(len(near))
            size = min(2 * self.radius + 1, 2 * len(self.lefts) - 1)
            self.averaged[index] = uniform_filter1d(psfs, size, axis=0, mode="nearest") if size > 1 else psfs
            self.found = {i: kept for i, kept in self.found.items() if i >= first - 1}
            self.averaged = {i: kept for i, kept in self.averaged.items() if i >= index - 1}
        return self.averaged[index]

    def adaptation(self, index):
        """The network's adaptation (columns, bands) of the regulariser in one row of places."""
        return self._row(index)[1]


def window_starts(length):
    """Starts (n,) and side of the windows, evenly spread over a length, in which PSFs are refined."""
    side = min(length, WINDOW)
    count = -(-(length - side) // WINDOW_STEP) + 1
    return np.linspace(0, length - side, count).round().astype(int), side


def _inside(places, starts, side):
    """(windows, places): which centres lie well inside each window; the nearest one if none does."""
    distance = abs(places - (starts[:, None] + side / 2))
    return (distance <= side / 2 - WINDOW_MARGIN) | (distance == distance.min(axis=1, keepdims=True))


def _refined_fields(estimates, canvas, device, progress):
    """Fields of the refined PSFs, and of the network's adaptation."""
    from tqdm import tqdm

    network, half = estimates.network, canvas.centre // 2
    (tops, height), (lefts, width) = window_starts(canvas.height), window_starts(canvas.width)
    rows = _inside(estimates.tops + half, tops, height)
    columns = _inside(estimates.lefts + half, lefts, width).astype(np.float32)
    columns /= columns.sum(axis=1, keepdims=True)
    psfs, adaptation = None, []
    for index in tqdm(range(len(estimates.tops)), desc="estimating PSFs", unit="row", disable=not progress):
        found, adapted = estimates.look(index)
        adaptation.append(adapted)
        means = np.tensordot(columns, found, axes=1)
        if psfs is None:
            psfs = np.zeros((len(tops), *means.shape), means.dtype)
        for window in np.flatnonzero(rows[:, index]):
            psfs[window] += means / means.dtype.type(rows[window].sum())
    # What is beyond the margin of a patch cannot be deconvolved: so large can the refined PSFs become.
    room = max(0, (network.patch - network.centre) // 2 - psfs.shape[-1] // 2)
    psfs = np.pad(psfs, ((0, 0), (0, 0), (0, 0), (room, room), (room, room)))
    for i, j in tqdm(
        np.ndindex(len(tops), len(lefts)), "refining PSFs", psfs[:, :, 0, 0, 0].size, disable=not progress
    ):
        frames = canvas.part(tops[i], lefts[j], height, width)
        psfs[i, j] = to_host(refine_burst_psfs(frames, to_device(psfs[i, j], device)))
    places = (tops + height // 2 - half, lefts + width // 2 - half)
    return (
        _Field(canvas, *places, psfs.__getitem__, device),
        _Field(canvas, estimates.tops, estimates.lefts, adaptation.__getitem__, device),
    )


def restore_frames(
    network, frames, *, stride=5, psf_step=15, psf_smoothing=2, refine=True, device="cpu", progress=False
):
    """Restore registered luminance frames with a burst network.

    Parameters
    ----------
    network : BurstNetwork
        On ``device``.
    frames : array (N, H, W)
        float32 in [0, 1], at least 65 px on each side.
    stride : int
        Distance of neighbouring patches in pixels: smaller is smoother and slower.
    psf_step : int
        Networks with PSFs only: distance of the places where PSFs are estimated.
    psf_smoothing : int
        Networks with PSFs only, without refinement: PSFs are averaged over ``(2·psf_smoothing + 1)²`` neighbouring
        places.
    refine : bool
        Networks with PSFs only: refine them in windows of 192 px, at most 96 px apart
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
    patch. Frames are continued by reflection at their borders.
    """
    from tqdm import tqdm

    count = len(frames)
    canvas = _Canvas(array_module(frames).ascontiguousarray(frames, dtype=np.float32), network, stride, device)
    field, shown = None, []
    if isinstance(network, PsfBurstNetwork):
        estimates = _Estimates(network, canvas, max(1, round(psf_step / stride)), psf_smoothing, count)
        if refine:
            field, adaptation = _refined_fields(estimates, canvas, device, progress)
        else:
            places = (estimates.tops, estimates.lefts)
            field = _Field(canvas, *places, estimates.psfs, device)
            adaptation = _Field(canvas, *places, estimates.adaptation, device)
        shown_rows, shown_columns = (
            np.unique(np.linspace(0, len(patches) - 1, min(SHOWN, len(places))).round().astype(int))
            for patches, places in ((canvas.tops, estimates.tops), (canvas.lefts, estimates.lefts))
        )
    for i, top in enumerate(tqdm(canvas.tops, desc="restoring", unit="row", disable=not progress)):
        for part in _chunks(len(canvas.lefts), count):
            if field is None:
                sharp = network.restore(canvas.crops(top, canvas.lefts[part], network.surround))
            else:
                here = field.at(i, part), adaptation.at(i, part)
                sharp = network.deconvolve(canvas.crops(top, canvas.lefts[part], network.patch), *here)
            canvas.add(sharp, top, canvas.lefts[part])
        if field is not None and i in shown_rows:
            shown.append(to_host(field.at(i, shown_columns)))
    return canvas.picture(), np.stack(shown) if shown else None
