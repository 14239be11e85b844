"""From a burst of whole frames to a whole picture: overlapping patches through a network, windowed and averaged."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import to_device, to_host
from deconvnet.layers.window import hann_window

__all__ = ["overlap_add", "patch_places", "restore_frames"]

CHUNK_FRAMES = 448  # patches × frames that go through a network at once: bounds the memory


def patch_places(length, centre, stride):
    """Top (or left) pixel of every predicted centre, so that each pixel is near the middle of one.

    The first centre reaches half its side over the border, the last one at least as far: there the
    frames are continued by reflection.
    """
    first = -(centre // 2)
    count = -(-(length - centre + centre // 2 - first) // stride) + 1
    return first + stride * np.arange(max(count, 1))


def overlap_add(total, weight, patches, tops, lefts, window):
    """Add windowed patches (n, k, k) into ``total`` and the window into ``weight``, in place."""
    side = window.shape[0]
    for patch, top, left in zip(patches * window, tops, lefts):
        total[top : top + side, left : left + side] += patch
        weight[top : top + side, left : left + side] += window


def _crops(padded, tops, lefts, side):
    """Crops (n, N, side, side) of padded frames (N, H, W) at n places."""
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return np.ascontiguousarray(views[:, tops, lefts].transpose(1, 0, 2, 3))


def _chunks(count, frames):
    size = max(1, CHUNK_FRAMES // frames)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _smooth_over_grid(grid, radius):
    """Mean over the (2·radius + 1)² nearest nodes of a grid (rows, columns, ...), fewer at its border."""
    from scipy.ndimage import uniform_filter1d

    for axis in (0, 1):
        if radius and grid.shape[axis] > 1:
            size = min(2 * radius + 1, 2 * grid.shape[axis] - 1)
            grid = uniform_filter1d(grid, size, axis=axis, mode="nearest")
    return grid


def _nodes_between(places, nodes):
    """For each place, the two surrounding nodes and the weight of the second."""
    position = np.clip(np.interp(places, nodes, np.arange(len(nodes))), 0, len(nodes) - 1)
    low = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
    return low, np.minimum(low + 1, len(nodes) - 1), (position - low).astype(np.float32)


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
        Estimated PSFs on a grid over the picture, for networks that have them.

    Notes
    -----
    Each predicted centre is weighed with a 2-D Hann window and averaged (Wieschollek et al. 2016,
    Sec. 3.3). PSFs change slowly over a picture, so they are estimated on a coarser grid, averaged over
    neighbours, and interpolated linearly at each patch.
    """
    from tqdm import tqdm

    count, height, width = frames.shape
    frames = np.ascontiguousarray(frames, dtype=np.float32)
    centre, surround = network.centre, network.surround
    tops, lefts = patch_places(height, centre, stride), patch_places(width, centre, stride)
    # Room for the largest surround of the outermost patches.
    before = (surround - centre) // 2 - tops[0]
    after = [
        max(0, int(places[-1]) + centre + (surround - centre) // 2 - length)
        for places, length in ((tops, height), (lefts, width))
    ]
    padded = np.pad(frames, ((0, 0), (before, after[0]), (before, after[1])), mode="symmetric")
    window = hann_window(centre).astype(np.float32)
    total = np.zeros((height + before + after[0], width + before + after[1]), dtype=np.float32)
    weight = np.zeros_like(total)
    grid_tops, grid_lefts = (a.ravel() for a in np.meshgrid(tops, lefts, indexing="ij"))

    def crops(rows, columns, side):
        """Crops of the given side around the predicted centres at these places."""
        shift = before - (side - centre) // 2
        return to_device(_crops(padded, rows + shift, columns + shift, side), device)

    estimates_psfs = hasattr(network, "estimate_psfs")
    psfs = None
    if estimates_psfs:
        every = max(1, round(psf_step / stride))
        node_tops, node_lefts = tops[::every], lefts[::every]
        rows, columns = (a.ravel() for a in np.meshgrid(node_tops, node_lefts, indexing="ij"))
        found = [
            tuple(to_host(a) for a in network.estimate_psfs(crops(rows[part], columns[part], surround))[:2])
            for part in tqdm(_chunks(len(rows), count), desc="PSFs", disable=not progress, leave=False)
        ]
        shape = (len(node_tops), len(node_lefts))
        psfs = np.concatenate([f[0] for f in found])
        psfs = _smooth_over_grid(psfs.reshape(*shape, *psfs.shape[1:]), psf_smoothing)
        adaptation = np.concatenate([f[1] for f in found]).reshape(*shape, -1)
        row_nodes, column_nodes = _nodes_between(tops, node_tops), _nodes_between(lefts, node_lefts)

    def between_nodes(grid, part):
        """Bilinear interpolation of a node grid at the patches of a chunk."""
        row, column = np.divmod(np.arange(part.start, part.stop), len(lefts))
        out = 0
        for r, fr in ((row_nodes[0], 1 - row_nodes[2]), (row_nodes[1], row_nodes[2])):
            for c, fc in ((column_nodes[0], 1 - column_nodes[2]), (column_nodes[1], column_nodes[2])):
                share = (fr[row] * fc[column]).reshape(-1, *[1] * (grid.ndim - 2))
                out = out + share * grid[r[row], c[column]]
        return to_device(out, device)

    for part in tqdm(_chunks(len(grid_tops), count), desc="restoring", disable=not progress):
        if estimates_psfs:
            patches = crops(grid_tops[part], grid_lefts[part], network.patch)
            sharp = network.deconvolve(patches, between_nodes(psfs, part), between_nodes(adaptation, part))
        else:
            sharp = network.restore(crops(grid_tops[part], grid_lefts[part], surround))
        overlap_add(total, weight, to_host(sharp), grid_tops[part] + before, grid_lefts[part] + before, window)
    inside = (slice(before, before + height), slice(before, before + width))
    return total[inside] / weight[inside], psfs
