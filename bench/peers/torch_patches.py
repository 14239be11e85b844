"""Whole pictures from bursts in PyTorch, all on one device: the peer of `restore.burst.patches.restore_frames`."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from bench.peers.torch_filter_burst import TorchFilterBurst
from bench.peers.torch_quotient_burst import TorchQuotientBurst
from deconvnet.ops.window import hann
from deconvnet.restore.burst.places import patch_places

__all__ = ["overlap_add", "restore_frames", "restorer"]


def overlap_add(patches, window, stride):
    """Windowed patches (rows, columns, k, k) on a regular grid, added and divided by the sum of the windows."""
    rows, columns, side, _ = patches.shape
    shape = (rows - 1) * stride + side, (columns - 1) * stride + side
    flat = torch.stack([patches * window, window.expand_as(patches)]).view(2, rows * columns, side * side)
    total, weight = F.fold(flat.transpose(1, 2), shape, side, stride=stride)[:, 0]
    return total / weight


def _between(places, nodes):
    """For each place, the two nodes around it and the weight of the second."""
    position = np.interp(places, nodes, np.arange(len(nodes)))
    low = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
    return low, np.minimum(low + 1, len(nodes) - 1), position - low


def _moving_mean(values, radius, dim):
    """Mean over 2·radius + 1 neighbours; the outermost values repeat outside."""
    count = values.shape[dim]
    index = torch.arange(-radius, count + radius, device=values.device).clamp(0, count - 1)
    sums = values.index_select(dim, index).cumsum(dim)
    window = 2 * radius + 1
    upper = sums.narrow(dim, window - 1, count)
    lower = torch.cat([torch.zeros_like(upper.narrow(dim, 0, 1)), sums.narrow(dim, 0, count - 1)], dim=dim)
    return (upper - lower) / window


def restore_frames(network, frames, *, stride=5, psf_step=15, psf_smoothing=2, chunk=32):
    """Restore a burst of frames (N, H, W) with `TorchQuotientBurst` or `TorchFilterBurst`; a tensor (H, W).

    ``chunk`` is the number of patches that go through the network at once; the other arguments are those of
    `deconvnet.restore.burst.patches.restore_frames`.
    """
    count, height, width = frames.shape
    device, centre = frames.device, network.centre
    tops, lefts = patch_places(height, centre, stride), patch_places(width, centre, stride)
    reach = (network.surround - centre) // 2
    before = reach - int(tops[0])
    after = [max(0, int(p[-1]) + centre + reach - n) for p, n in ((tops, height), (lefts, width))]
    index = [np.pad(np.arange(n), (before, a), mode="symmetric") for n, a in zip((height, width), after)]
    padded = frames[:, torch.tensor(index[0], device=device)][:, :, torch.tensor(index[1], device=device)]

    def crops(top, lefts, side):
        """Crops (n, N, side, side), regularly spaced in one row."""
        margin = (side - centre) // 2
        start, first = int(top) + before - margin, int(lefts[0]) + before - margin
        step = int(lefts[1] - lefts[0]) if len(lefts) > 1 else 1
        row = padded[:, start : start + side, first : first + (len(lefts) - 1) * step + side]
        return row.unfold(2, side, step).permute(2, 0, 1, 3).contiguous()

    def chunks(places):
        return [slice(i, min(i + chunk, len(places))) for i in range(0, len(places), chunk)]

    grid, row_nodes = None, tops
    if isinstance(network, TorchQuotientBurst):
        every = max(1, round(psf_step / stride))
        row_nodes, column_nodes = tops[::every], lefts[::every]
        found = [
            [network.estimate_psfs(crops(top, column_nodes[part], network.surround)) for part in chunks(column_nodes)]
            for top in row_nodes
        ]
        psfs, adaptation = (
            torch.stack([torch.cat([part[which] for part in row]) for row in found]) for which in range(2)
        )
        columns = min(psf_smoothing, len(column_nodes) - 1)
        psfs = _moving_mean(_moving_mean(psfs, psf_smoothing, 0), columns, 1)
        grid = torch.cat([psfs.flatten(2), adaptation], dim=2)  # (rows, columns, what belongs to a place)
        low, high, share = (torch.tensor(c, device=device) for c in _between(lefts, column_nodes))
        share = share.to(grid.dtype)[:, None]
        bands = network.basis.shape[0]
    patches = torch.empty((len(tops), len(lefts), centre, centre), device=device)
    for i, (top, above, below, weight) in enumerate(zip(tops, *_between(tops, row_nodes))):
        if grid is not None:
            row = torch.lerp(grid[above], grid[below], float(weight))
            here = torch.lerp(row[low], row[high], share)
        for part in chunks(lefts):
            if grid is None:
                patches[i, part] = network.restore(crops(top, lefts[part], network.surround))
            else:
                psfs = here[part, :-bands].reshape(-1, count, network.psf_size, network.psf_size)
                patches[i, part] = network.deconvolve(crops(top, lefts[part], network.patch), psfs, here[part, -bands:])
    window = torch.tensor(np.outer(hann(centre), hann(centre)).astype(np.float32), device=device)
    first = -int(tops[0])
    return overlap_add(patches, window, stride)[first : first + height, first : first + width]


def restorer(network, device, stride):
    """``restore(frames, chunk)`` of PyTorch with the weights of one of our burst networks.

    Parameters
    ----------
    network : QuotientBurst or FilterBurst
    device : {"cpu", "cuda"}
    stride : int
        Distance of neighbouring patches in pixels.

    Returns
    -------
    callable
        Of a tensor (N, H, W) and the number of patches at once; returns a tensor (H, W).
    """
    peer = (TorchQuotientBurst if network.name == "quotient" else TorchFilterBurst)(network, device)

    def restore(frames, chunk):
        with torch.inference_mode():
            return restore_frames(peer, frames, stride=stride, chunk=chunk)

    return restore
