"""PSFs of a burst from coarse to fine: shake of any size, found and not told.

A burst network knows PSFs up to some size. On frames that are smaller by the right factor every shake has that size:
there the network makes the first estimate, and expectation maximisation refines it on ever larger frames
(`deconvnet.restore.burst.refine`).
"""

from __future__ import annotations

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
#: Sides, in pixels, of the windows that are tried, for shake up to the given spread; they grow with it. Large ones know
#: more, smaller ones follow a blur that changes: they are taken if they leave less than this share of the misfit.
WINDOWS, WINDOW_SPREAD, CLEARLY = (256, 128), 5.0, 0.93
#: Longer side of pictures for which the distances here are meant. Camera shake changes over the field of view, not
#: from pixel to pixel: in larger pictures the distances grow in proportion, up to so many times.
LONG_SIDE, MOST_GROWTH = 1000, 2.0
#: Room around PSFs to grow, in pixels and as a share of their side, and the share of the maximum that counts as PSF.
ROOM, ROOM_SHARE, FAINT = 3, 0.15, 0.01
#: Weight from which on a frame's PSF is made room for.
BELIEVED = 0.1
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


def window_starts(length: int, growth: float = 1.0, window: float = 256) -> tuple[np.ndarray, int]:
    """Starts (n,) and side of windows, half of their side apart or, in large pictures, more, evenly over a length."""
    side = min(length, round(window))
    count = -(-(length - side) // int(window / 2 * growth)) + 1
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
    return min(_liked_level(found), max(0, int(2 * np.log2(side / START_SIDE)))), found


def _liked_level(shake: float) -> int:
    """The level where PSFs of a spread are as wide as the network likes them."""
    return max(0, int(np.ceil(2 * np.log2(shake / START_SPREAD))))


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


def _with_room(psfs: np.ndarray, weights: np.ndarray, most: int) -> np.ndarray:
    """PSFs (N, k, k) on a square that has room for them to grow: (N, k', k') with k' odd, at most ``most``.

    Those of frames that are hardly believed, by the weights (N,), are cut off if they are larger.
    """
    middle = psfs.shape[-1] // 2
    seen = psfs > FAINT * psfs.max(axis=(1, 2), keepdims=True)
    down, across = np.nonzero(seen[weights >= min(BELIEVED, weights.max())].any(axis=0))
    reach = int(max(abs(down - middle).max(), abs(across - middle).max()))
    reach = min(reach + max(ROOM, int(ROOM_SHARE * psfs.shape[-1])), (most - 1) // 2)
    return resized_psfs(psfs, 1, 2 * max(reach, 4) + 1)


class _Pyramid(NamedTuple):
    """What is known on the way from coarse to fine: the level, its windows and their PSFs, and which of `WINDOWS`."""

    level: int
    grid: _Grid
    found: dict[tuple[int, int], Refined]
    chosen: int = 0


def _grid(frames: Array, level: int, window: float, shake: float) -> _Grid:
    """Windows over the frames (N, H, W) of a level, larger for shake of a large spread, see `WINDOWS`."""
    return _Grid(frames.shape[-2:], window * max(1.0, shake / STEP**level / WINDOW_SPREAD))


def _misfit(one: _Pyramid) -> float:
    """Mean over the windows of what is left unexplained."""
    return float(np.mean([refined.misfit for refined in one.found.values()]))


def _begun(network: Any, frames: Array, level: int, shake: float, device: str, progress: bool) -> _Pyramid:
    """The first PSFs: the network's on the frames of a level, refined in windows of the size that serves best."""
    here = _smaller(frames, level)
    look = _look(network, here, PLACE_STEP * window_growth(here.shape[-2:]), device)
    tried: list[_Pyramid] = []
    for chosen, side in enumerate(WINDOWS):
        grid = _grid(here, level, side, shake)
        if tried and grid.sides == tried[-1].grid.sides:
            break  # the picture is one window
        given = _first_guess(*look, grid)
        found = _refine_windows(here, grid, given, device, level, progress)
        # Frames that turn out not to belong have had their part in this: once more without them.
        spoilt = [window for window in grid.windows if found[window].weights.min() < BELIEVED]
        if spoilt:
            given = {window: given[window]._replace(weights=found[window].weights) for window in spoilt}
            found |= _refine_windows(here, grid, given, device, level, progress)
        tried.append(_Pyramid(level, grid, found, chosen))
    return tried[_small_enough([_misfit(one) for one in tried])]


def _carried_up(one: _Pyramid, frames: Array, shake: float, device: str, progress: bool) -> _Pyramid:
    """The next finer level."""
    level = one.level - 1
    here = _smaller(frames, level)
    grid = _grid(here, level, WINDOWS[one.chosen], shake)
    finer = {window: last._replace(psfs=resized_psfs(last.psfs, STEP)) for window, last in one.found.items()}
    rows, columns = (_nearest(now / STEP, then) for now, then in zip(grid.middles, one.grid.middles))
    given = {(i, j): finer[rows[i], columns[j]] for i, j in grid.windows}
    found = _refine_windows(here, grid, given, device, level, progress, edges=level > 0)
    return _Pyramid(level, grid, found, one.chosen)


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
    have 256 px on every level, or 128 px where these leave clearly less unexplained, or more for wide shake; they are
    at most half of that apart, a whole in large pictures. From level to level, frames and PSFs grow by √2; a window
    starts from the nearest one on the smaller frames. Where the picture is too small for the level that the network
    would like, three levels are tried, and the PSFs that leave least unexplained on the same, finer frames are taken.
    """
    start, shake = _start(network, frames, device)
    starts = [start]
    if _liked_level(shake) > start > 0:
        starts = [level for level in (start - 1, start, start + 1) if level > 0]
    judged = max(0, min(starts) - 1) if len(starts) > 1 else start
    pyramids = []
    for level in starts:
        one = _begun(network, frames, level, shake, device, progress)
        while one.level > judged:
            one = _carried_up(one, frames, shake, device, progress)
        pyramids.append(one)
    best = min(pyramids, key=_misfit)
    while best.level > 0:
        best = _carried_up(best, frames, shake, device, progress)
    grid, found = best.grid, best.found
    size = max(refined.psfs.shape[-1] for refined in found.values())
    shape = (*(len(middles) for middles in grid.middles), len(frames))
    psfs, weights = np.zeros((*shape, size, size), np.float32), np.ones(shape, np.float32)
    for window, refined in found.items():
        psfs[window], weights[window] = resized_psfs(refined.psfs, 1, size), refined.weights
    return WindowPsfs(psfs, weights, grid.middles)


def _nearest(points: np.ndarray, nodes: np.ndarray) -> list[int]:
    """Index of the nearest node for each point."""
    return [int(abs(nodes - point).argmin()) for point in points]


def _small_enough(misfits: list[float]) -> int:
    """Which windows to take, by the misfits of ever smaller ones: the largest that smaller ones do not clearly beat."""
    chosen = 0
    for index, misfit in enumerate(misfits):
        if misfit < CLEARLY * misfits[chosen]:
            chosen = index
    return chosen


class _Grid:
    """Windows over a picture of this height and width.

    Attributes
    ----------
    starts, sides, middles : pair
        First pixels (n,), side, and middles (n,) of the windows, down and across.
    windows : list of (int, int)
    """

    def __init__(self, shape: tuple[int, int], window: float) -> None:
        growth = window_growth(shape)
        (tops, high), (lefts, wide) = (window_starts(length, growth, window) for length in shape)
        self.starts, self.sides = (tops, lefts), (high, wide)
        self.middles = (tops + (high - 1) / 2, lefts + (wide - 1) / 2)
        self.windows = list(np.ndindex(len(tops), len(lefts)))

    def part(self, frames: Array, window: tuple[int, int]) -> Array:
        """View of a window's part (N, h, w) of the frames (N, H, W)."""
        (top, left), (high, wide) = (int(start[i]) for start, i in zip(self.starts, window)), self.sides
        return frames[:, top : top + high, left : left + wide]


def _refine_windows(
    frames: Array, grid: _Grid, given: dict, device: str, level: int, progress: bool, edges: bool = True
) -> dict[tuple[int, int], Refined]:
    """What becomes of the given windows' PSFs and weights by their parts of the frames (N, H, W)."""

    def refine(window: tuple[int, int]) -> Refined:
        psfs, weights, _ = given[window]
        psfs = _with_room(psfs, weights, min(grid.sides) // 2)
        weights = to_device(weights, device)
        part, psfs = grid.part(frames, window), to_device(psfs, device)
        refined = refine_burst_psfs(part, psfs, weights=weights, rounds=ROUNDS if level else 1, edges=edges)
        refining.update()
        return Refined(to_host(refined.psfs), to_host(refined.weights), refined.misfit)

    with step(f"refining PSFs, {level + 1}", len(given), "window", shown=progress) as refining:
        return dict(zip(given, map_on(refine, list(given), device)))


def _first_guess(places: tuple, rows: list, grid: _Grid) -> dict[tuple[int, int], Refined]:
    """Means over the windows of what the network said of the places, see `_look`."""
    down, across = (_inside(at, begin, side) for at, begin, side in zip(places, grid.starts, grid.sides))
    psfs = np.tensordot(down, np.stack([np.tensordot(across, psfs, axes=1) for psfs, _ in rows]), axes=1)
    return {window: Refined(psfs[window], np.ones(psfs.shape[2], np.float32)) for window in grid.windows}
