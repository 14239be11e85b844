"""Where burst networks look: patches at evenly spread places of whole frames, and what networks say there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d

from deconvnet import parallel
from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.kernels.burst.overlap_add import overlap_add
from deconvnet.ops.window import hann

__all__ = ["BAND", "Canvas", "Estimates", "chunks", "map_on", "patch_places", "window_sum"]

#: Patches × frames that go through a network at once: bounds the memory of a thread.
CHUNK_FRAMES = 448
#: Rows of patches that one thread adds up by itself.
BAND = 4


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


def map_on(function: Callable, items: Sequence, device: str) -> list:
    """``[function(item) for item in items]``: on the threads of the CPU, one after the other on a GPU."""
    return parallel.ordered_map(function, items) if device == "cpu" else [function(item) for item in items]


def chunks(count: int, frames: int) -> list[slice]:
    size = max(1, CHUNK_FRAMES // frames)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


class Canvas:
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


class Estimates:
    """The network's PSFs and regularisers on a coarse grid of places, row by row as they are needed.

    Rows that are no longer needed are dropped, so the memory does not grow with the height of the picture.
    """

    def __init__(self, network: Any, canvas: Canvas, every: int, radius: int, frames: int, device: str) -> None:
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
        parts = chunks(len(self.lefts), self.frames)
        found = map_on(self._look, [(index, part) for index in rows for part in parts], self.device)
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
