"""From a burst of whole frames to a whole picture: overlapping patches through a network, windowed and averaged."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from deconvnet.backend import array_module, to_device, to_host
from deconvnet.kernels.overlap_add import overlap_add
from deconvnet.layers.window import hann_window

__all__ = ["patch_places", "restore_frames", "window_sum"]

#: Patches × frames that go through a network at once: bounds the memory.
CHUNK_FRAMES = 448
#: Most places, across and down, whose PSFs are returned for people to look at.
SHOWN = 16


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
        padded = np.pad(frames, ((0, 0), (self.before, below), (self.before, right)), mode="symmetric")
        self.padded = to_device(padded, device)
        self.window = to_device(hann_window(self.centre).astype(np.float32), device)
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

    def add(self, predicted, top, lefts):
        overlap_add(
            self.total, predicted, self.window, int(top) + self.before, int(lefts[0]) + self.before, self.stride
        )

    def picture(self):
        # The Hann window is a product of profiles, so the sum of its copies is one too.
        profile = np.sqrt(np.diag(hann_window(self.centre)))
        down, across = (
            window_sum(places + self.before, profile, length)[self.before : self.before + inside]
            for places, length, inside in (
                (self.tops, self.total.shape[0], self.height),
                (self.lefts, self.total.shape[1], self.width),
            )
        )
        inside = (slice(self.before, self.before + self.height), slice(self.before, self.before + self.width))
        return to_host(self.total[inside]) / np.outer(down, across).astype(np.float32)


class _PsfRows:
    """PSFs on a coarse grid of places, row by row as they are needed, averaged over neighbouring places.

    Each row is ``(psfs (columns, N, k, k), adaptation (columns, bands))``; rows that are no longer needed
    are dropped, so the memory does not grow with the height of the picture.
    """

    def __init__(self, network, canvas, every, radius, frames, device):
        self.network, self.canvas, self.radius, self.frames = network, canvas, radius, frames
        self.device = device
        self.tops, self.lefts = canvas.tops[::every], canvas.lefts[::every]
        self.found, self.averaged = {}, {}

    def _row(self, index):
        """The network's word on one row of places."""
        if index not in self.found:
            parts = []
            for part in _chunks(len(self.lefts), self.frames):
                crops = self.canvas.crops(self.tops[index], self.lefts[part], self.network.surround)
                psfs, adaptation = self.network.estimate_psfs(crops)[:2]
                parts.append((to_host(psfs), to_host(adaptation)))
            self.found[index] = tuple(np.concatenate(arrays) for arrays in zip(*parts))
        return self.found[index]

    def row(self, index):
        """One row of places, PSFs averaged over the (2·radius + 1)² nearest."""
        if index not in self.averaged:
            first = index - self.radius
            near = [min(max(i, 0), len(self.tops) - 1) for i in range(first, index + self.radius + 1)]
            psfs = sum(self._row(i)[0] for i in near) / np.float32(len(near))
            size = min(2 * self.radius + 1, 2 * len(self.lefts) - 1)
            psfs = uniform_filter1d(psfs, size, axis=0, mode="nearest") if size > 1 else psfs
            self.averaged[index] = psfs, self._row(index)[1]
            self.found = {i: kept for i, kept in self.found.items() if i >= first}
            self.averaged = {i: kept for i, kept in self.averaged.items() if i >= index - 1}
        return self.averaged[index]

    def between(self, rows, columns, part):
        """Bilinear interpolation at the patches ``part`` of one row: PSFs and adaptation."""
        low, high, weight = (column[part] for column in columns)
        first, last = int(low[0]), int(high[-1]) + 1
        results = []
        for which in range(2):
            # The two rows are mixed where there are nodes only, the columns at every patch.
            grid = sum(share * self.row(row)[which][first:last] for row, share in rows)
            share = weight.reshape(-1, *[1] * (grid.ndim - 1))
            mixed = grid[low - first] * (1 - share)
            mixed += share * grid[high - first]
            results.append(to_device(mixed, self.device))
        return tuple(results)


def restore_frames(network, frames, *, stride=5, psf_step=15, psf_smoothing=2, device="cpu", progress=False):
    """Restore registered luminance frames with a burst network.

    Parameters
    ----------
    network : Layer
        A burst network, on ``device``.
    frames : array (N, H, W)
        float32 in [0, 1], at least 65 px on each side.
    stride : int
        Distance of neighbouring patches in pixels: smaller is smoother and slower.
    psf_step : int
        Networks with PSFs only: distance of the places where PSFs are estimated.
    psf_smoothing : int
        Networks with PSFs only: PSFs are averaged over ``(2·psf_smoothing + 1)²`` neighbouring places.
    device : {"cpu", "cuda"}
    progress : bool
        Show a bar.

    Returns
    -------
    picture : float32 array (H, W)
        Not clipped.
    psfs : float32 array (rows, columns, N, k, k), or None
        For networks that have them: estimated PSFs at up to 16 × 16 places, evenly over the picture.

    Notes
    -----
    Each predicted centre is weighed with a 2-D Hann window and averaged (Wieschollek et al. 2016,
    Sec. 3.3). PSFs change slowly over a picture, so they are estimated on a coarser grid, averaged over
    neighbours, and interpolated linearly at each patch. Frames are continued by reflection at their borders.
    """
    from tqdm import tqdm

    count = len(frames)
    canvas = _Canvas(np.ascontiguousarray(frames, dtype=np.float32), network, stride, device)
    grid, shown = None, {}
    if hasattr(network, "estimate_psfs"):
        grid = _PsfRows(network, canvas, max(1, round(psf_step / stride)), psf_smoothing, count, device)
        row_nodes, column_nodes = _nodes_between(canvas.tops, grid.tops), _nodes_between(canvas.lefts, grid.lefts)
        shown_rows = np.unique(np.linspace(0, len(grid.tops) - 1, SHOWN).round().astype(int))
        shown_columns = np.unique(np.linspace(0, len(grid.lefts) - 1, SHOWN).round().astype(int))
    for i, top in enumerate(tqdm(canvas.tops, desc="restoring", unit="row", disable=not progress)):
        if grid is not None:
            low, high, weight = (nodes[i] for nodes in row_nodes)
            rows = [(low, 1 - weight), (high, weight)] if weight > 0 else [(low, np.float32(1))]
            for row, _ in rows:
                if row in shown_rows and row not in shown:
                    shown[row] = grid.row(row)[0][shown_columns]
        for part in _chunks(len(canvas.lefts), count):
            if grid is None:
                sharp = network.restore(canvas.crops(top, canvas.lefts[part], network.surround))
            else:
                psfs, adaptation = grid.between(rows, column_nodes, part)
                sharp = network.deconvolve(canvas.crops(top, canvas.lefts[part], network.patch), psfs, adaptation)
            canvas.add(sharp, top, canvas.lefts[part])
    psfs = None if grid is None else np.stack([shown[row] for row in sorted(shown)])
    return canvas.picture(), psfs
