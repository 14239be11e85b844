"""From a burst of whole frames to a whole picture: overlapping patches through a network, windowed and averaged.

Networks that estimate PSFs do it on a coarse grid of places; unless these are to be refined
(`deconvnet.restore.burst.pyramid`), the patches are deconvolved by PSFs interpolated between the places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.networks.protocols import PsfBurstNetwork
from deconvnet.progress import step
from deconvnet.restore.burst.latent import sharp_picture
from deconvnet.restore.burst.places import BAND, Canvas, Estimates, chunks, map_on
from deconvnet.restore.burst.pyramid import estimate_window_psfs, window_growth

__all__ = ["restore_frames"]

#: Bands of patches, or rows of places, that are wanted at a time.
AT_ONCE = 32
#: Distance of the places where a network estimates PSFs that are used as they are, in pixels of a small picture.
PSF_STEP = 15
#: Most places, across and down, whose PSFs are returned for people to look at.
SHOWN = 16


def _nodes_between(places: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each place, the two surrounding nodes and the weight of the second."""
    position = np.clip(np.interp(places, nodes, np.arange(len(nodes))), 0, len(nodes) - 1)
    low = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
    return low, np.minimum(low + 1, len(nodes) - 1), (position - low).astype(np.float32)


class _Field:
    """Values known on a coarse grid of places, interpolated bilinearly at every patch.

    Parameters
    ----------
    canvas : Canvas
    tops, lefts : array
        Of the predicted centres that the values belong to.
    row : callable
        ``row(index)`` gives the values (columns, ...) of one row of places.
    device : {"cpu", "cuda"}
        For the interpolated values.
    """

    def __init__(self, canvas: Canvas, tops: np.ndarray, lefts: np.ndarray, row: Callable, device: str) -> None:
        self.row, self.device = row, device
        self.rows = _nodes_between(canvas.tops, tops)
        self.columns = _nodes_between(canvas.lefts, lefts)

    def _rows_around(self, index: int) -> list[tuple[int, np.float32]]:
        low, high, weight = (nodes[index] for nodes in self.rows)
        return [(low, 1 - weight), (high, weight)] if weight > 0 else [(low, np.float32(1))]

    def needed(self, rows: Iterable[int]) -> list[int]:
        """Rows of places between which these rows of patches lie."""
        return sorted({int(row) for index in rows for row, _ in self._rows_around(index)})

    def at(self, index: int, part: Any) -> Array:
        """Values at the patches ``part`` of one row of patches."""
        low, high, weight = (column[part] for column in self.columns)
        first, last = int(low[0]), int(high[-1]) + 1
        around = self._rows_around(index)
        # The two rows are mixed where there are nodes only, the columns at every patch.
        grid: Any = sum(share * self.row(row)[first:last] for row, share in around)
        share = weight.reshape(-1, *[1] * (grid.ndim - 1))
        mixed = grid[low - first] * (1 - share)
        mixed += share * grid[high - first]
        return to_device(mixed, self.device)


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
        Distance of neighbouring patches in pixels: smaller is smoother and slower. Not used with refinement.
    psf_step : int, optional
        Networks with PSFs only, without refinement: distance in pixels of the places where PSFs are estimated, rounded
        to whole strides; `PSF_STEP`, farther apart in large pictures.
    psf_smoothing : int
        Networks with PSFs only, without refinement: PSFs are averaged over ``(2·psf_smoothing + 1)²`` neighbouring
        places.
    refine : bool
        Networks with PSFs only: find shake of any size from coarse to fine, in windows
        (`deconvnet.restore.burst.pyramid.estimate_window_psfs`), and deconvolve these, all frames at once, with a
        sparse prior (`deconvnet.restore.burst.latent.sharp_picture`).
    device : {"cpu", "cuda"}
    progress : bool
        Show bars.

    Returns
    -------
    picture : float32 array (H, W)
        Not clipped.
    psfs : float32 array (rows, columns, N, k, k), or None
        For networks that have them: PSFs at up to 16 × 16 places, evenly over the picture; refined ones in all windows.

    Notes
    -----
    Each predicted centre is weighed with a 2-D Hann window and averaged (Wieschollek et al. 2016,
    Sec. 3.3). PSFs change slowly over a picture, so they are known on a coarser grid, and interpolated linearly at each
    patch. Frames are continued by reflection at their borders. On the CPU, places, windows and bands of patches are
    shared among the threads of `deconvnet.parallel`; for any number of them the result is the same, bit for bit.
    """
    count = len(frames)
    frames = array_module(frames).ascontiguousarray(frames, dtype=np.float32)
    if refine and isinstance(network, PsfBurstNetwork):
        found = estimate_window_psfs(network, frames, device=device, progress=progress)
        return sharp_picture(frames, found, device=device, progress=progress), found.psfs
    canvas = Canvas(frames, network, stride, device)
    estimates, fields, shown = None, [], []
    if isinstance(network, PsfBurstNetwork):
        distance = psf_step or PSF_STEP * window_growth(frames.shape[1:])
        estimates = Estimates(network, canvas, max(1, round(distance / stride)), psf_smoothing, count, device)
        places = (estimates.tops, estimates.lefts)
        fields = [_Field(canvas, *places, row, device) for row in (estimates.psfs, estimates.adaptation)]
        shown_rows, shown_columns = (
            np.unique(np.linspace(0, len(patches) - 1, min(SHOWN, len(places))).round().astype(int))
            for patches, places in ((canvas.tops, estimates.tops), (canvas.lefts, estimates.lefts))
        )
    parts = chunks(len(canvas.lefts), count)

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
            if estimates is not None:
                estimates.prepare(fields[0].needed(rows))
            for first, total in zip(rows[::BAND], map_on(band, rows[::BAND], device)):
                canvas.add(first, total)
            if fields:
                shown += [to_host(fields[0].at(index, shown_columns)) for index in rows if index in shown_rows]
    return canvas.picture(), np.stack(shown) if shown else None
