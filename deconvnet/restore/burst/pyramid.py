"""PSFs of a burst from coarse to fine: shake of any size, found and not told.

A burst network knows PSFs up to some size. On frames that are smaller by the right factor every shake has that size:
there the network makes the first estimate, and expectation maximisation refines it on ever larger frames
(`deconvnet.restore.burst.refine`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.ops.resample import resample
from deconvnet.progress import step
from deconvnet.restore.burst.places import Canvas, Estimates, map_on
from deconvnet.restore.burst.refine import Refined, refine_burst_psfs, resized_psfs, spread

__all__ = ["WindowPsfs", "estimate_window_psfs", "window_growth", "window_starts"]

#: Frames are smaller by this factor from level to level.
STEP = 2**0.5
#: The spread (root mean square, in pixels) that PSFs should not exceed where the network looks at them, and the one
#: from which on an estimate tells the size of the shake.
START_SPREAD, TELLING_SPREAD = 2.7, 0.6
#: Least side, in pixels, of frames on which the network looks for the size of the shake, and for the PSFs.
PROBE_SIDE, START_SIDE = 56, 80
#: Most places, each way, where it looks for the size.
PROBES = 5
#: Distance, in pixels, of the places where the network looks for the PSFs, and how far such a place must lie inside
#: of a window for its PSFs to count in the window's first guess.
PLACE_STEP, WINDOW_MARGIN = 20, 20
#: Side, in pixels, of the windows, and their largest distance, for shake of the given spread; both grow with it.
WINDOW, WINDOW_STEP, WINDOW_SPREAD = 256, 128, 5.0
#: Longer side of pictures for which the distances here are meant. Camera shake changes over the field of view, not
#: from pixel to pixel: in larger pictures the distances grow in proportion, up to so many times.
LONG_SIDE, MOST_GROWTH = 1000, 2.0
#: Room around PSFs to grow, in pixels and as a share of their side, and the share of the maximum that counts as PSF.
ROOM, ROOM_SHARE, FAINT = 3, 0.15, 0.01
#: Rounds of refinement on smaller frames.
ROUNDS = 2


class WindowPsfs(NamedTuple):
    """PSFs of a burst in a grid of windows that cover a picture.

    Attributes
    ----------
    psfs : float32 array (rows, columns, N, k, k)
        On the host.
    weights : float32 array (rows, columns, N)
        How much each frame is to be believed there, 0 to 1.
    centres : (float array (rows,), float array (columns,))
        Middles of the windows, in pixels.
    """

    psfs: np.ndarray
    weights: np.ndarray
    centres: tuple[np.ndarray, np.ndarray]


def window_growth(shape: tuple[int, int]) -> float:
    """How many times the distances of places and windows grow in a picture of this height and width."""
    return float(np.clip(max(shape) / LONG_SIDE, 1, MOST_GROWTH))


def window_starts(length: int, growth: float = 1.0, larger: float = 1.0) -> tuple[np.ndarray, int]:
    """Starts (n,) and side of windows, evenly spread over a length and ``larger`` than usual by a factor."""
    side = min(length, round(WINDOW * larger))
    count = -(-(length - side) // int(WINDOW_STEP * growth * larger)) + 1
    return np.linspace(0, length - side, count).round().astype(int), side


def _smaller(frames: Array, level: int) -> Array:
    """The frames (N, H, W) smaller by the level's factor."""
    if level == 0:
        return frames
    return resample(frames, tuple(round(n / STEP**level) for n in frames.shape[-2:]))


def _start(network: Any, frames: Array, device: str) -> tuple[int, float]:
    """The level on which the network can estimate the PSFs, and the spread of these on the frames as they are."""
    side = min(frames.shape[-2:])
    level = max(0, int(2 * np.log2(side / PROBE_SIDE)))
    while True:
        small = _smaller(frames, level)
        every = max(PLACE_STEP, max(small.shape[-2:]) // PROBES)
        here = spread(np.concatenate([psfs for psfs, _ in _look(network, small, every, device)[1]]).mean(axis=0))
        if here >= TELLING_SPREAD or level == 0:
            break
        level = max(0, level - 2)
    found = here * STEP**level
    level = max(0, int(np.ceil(2 * np.log2(found / START_SPREAD))))
    return min(level, max(0, int(2 * np.log2(side / START_SIDE)))), found


def _look(network: Any, frames: Array, every: float, device: str) -> tuple[tuple, list]:
    """Middles (down, across) of the places, so far apart, and the network's word on each row of them."""
    stride = 10
    canvas = Canvas(array_module(frames).ascontiguousarray(frames, dtype=np.float32), network, stride, device)
    estimates = Estimates(network, canvas, max(1, round(every / stride)), 0, len(frames), device)
    middle = canvas.centre // 2
    return (estimates.tops + middle, estimates.lefts + middle), estimates.look(range(len(estimates.tops)))


def _inside(places: np.ndarray, starts: np.ndarray, side: int) -> np.ndarray:
    """(windows, places): share of each place in each window, those that lie well inside; the nearest if none does."""
    distance = abs(places - (starts[:, None] + side / 2))
    inside = (distance <= side / 2 - WINDOW_MARGIN) | (distance == distance.min(axis=1, keepdims=True))
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def _with_room(psfs: np.ndarray, most: int) -> np.ndarray:
    """PSFs (N, k, k) on a square that has room for them to grow: (N, k', k') with k' odd, at most ``most``."""
    middle = psfs.shape[-1] // 2
    down, across = np.nonzero((psfs > FAINT * psfs.max(axis=(1, 2), keepdims=True)).any(axis=0))
    reach = int(max(abs(down - middle).max(), abs(across - middle).max()))
    reach = min(reach + max(ROOM, int(ROOM_SHARE * psfs.shape[-1])), (most - 1) // 2)
    return resized_psfs(psfs, 1, 2 * max(reach, 4) + 1)


def estimate_window_psfs(network: Any, frames: Array, *, device: str = "cpu", progress: bool = False) -> WindowPsfs:
    """PSFs of registered frames in overlapping windows.

    Parameters
    ----------
    network : PsfBurstNetwork
        On the device.
    frames : float32 array (N, H, W)
        Luminance in [0, 1], on the device, at least 65 px on each side.
    device : {"cpu", "cuda"}
    progress : bool
        Show bars.

    Returns
    -------
    WindowPsfs

    Notes
    -----
    The level where the PSFs are as wide as the network likes them is known from a look at very small frames. Windows
    have 256 px on every level, or more for wide shake, and are at most half of that apart, a whole in large pictures.
    From level to level, frames and PSFs grow by √2; a window starts from the nearest one on the smaller frames.
    """
    start, shake = _start(network, frames, device)
    middles: list[np.ndarray] = []
    found: dict[tuple[int, int], Refined] = {}
    for level in range(start, -1, -1):
        here = _smaller(frames, level)
        larger = max(1.0, shake / STEP**level / WINDOW_SPREAD)
        growth = window_growth(here.shape[-2:])
        (tops, high), (lefts, wide) = (window_starts(length, growth, larger) for length in here.shape[-2:])
        before, middles = middles, [tops + (high - 1) / 2, lefts + (wide - 1) / 2]
        windows = list(np.ndindex(len(tops), len(lefts)))
        if level == start:
            first = _first_guess(network, here, (tops, lefts), (high, wide), device)
            given = {window: Refined(first[window], np.ones(len(frames), np.float32)) for window in windows}
        else:
            finer = {window: last._replace(psfs=resized_psfs(last.psfs, STEP)) for window, last in found.items()}
            rows, columns = (_nearest(now / STEP, then) for now, then in zip(middles, before))
            given = {(i, j): finer[rows[i], columns[j]] for i, j in windows}
        parts = {(i, j): here[:, tops[i] : tops[i] + high, lefts[j] : lefts[j] + wide] for i, j in windows}
        with step(f"refining PSFs, {level + 1}", len(windows), "window", shown=progress) as refining:
            found = _refine_windows(parts, given, ROUNDS if level else 1, device, refining.update)
    size = max(refined.psfs.shape[-1] for refined in found.values())
    grid = (len(tops), len(lefts), len(frames))
    psfs, weights = np.zeros((*grid, size, size), np.float32), np.ones(grid, np.float32)
    for window, refined in found.items():
        psfs[window], weights[window] = resized_psfs(refined.psfs, 1, size), refined.weights
    return WindowPsfs(psfs, weights, (middles[0], middles[1]))


def _nearest(points: np.ndarray, nodes: np.ndarray) -> list[int]:
    """Index of the nearest node for each point."""
    return [int(abs(nodes - point).argmin()) for point in points]


def _refine_windows(
    parts: dict, given: dict, rounds: int, device: str, update: Callable[[], object]
) -> dict[tuple[int, int], Refined]:
    """What becomes of each window's PSFs and weights by its part of the frames (N, h, w)."""

    def refine(window: tuple[int, int]) -> Refined:
        psfs, weights = given[window]
        psfs = _with_room(psfs, min(parts[window].shape[1:]) // 2)
        weights = to_device(weights, device)
        refined = refine_burst_psfs(parts[window], to_device(psfs, device), weights=weights, rounds=rounds)
        update()
        return Refined(*map(to_host, refined))

    return dict(zip(parts, map_on(refine, list(parts), device)))


def _first_guess(
    network: Any, frames: Array, starts: tuple[np.ndarray, np.ndarray], sides: tuple[int, int], device: str
) -> np.ndarray:
    """Means of the network's PSFs over the windows: (rows, columns, N, k, k)."""
    places, rows = _look(network, frames, PLACE_STEP * window_growth(frames.shape[-2:]), device)
    down, across = (_inside(at, begin, side) for at, begin, side in zip(places, starts, sides))
    by_rows = np.stack([np.tensordot(across, psfs, axes=1) for psfs, _ in rows])
    return np.tensordot(down, by_rows, axes=1)
