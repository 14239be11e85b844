"""The single-photo table: seconds from a photograph to its PSF, for the sizes of Schuler et al. 2015, Table 1."""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fft
import skimage.data
from skimage.transform import resize

from bench import peers
from bench.timing.child import in_child
from bench.timing.measure import check_equal, fastest_form, interleaved, timed
from bench.timing.table import Column, Table
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.ops.border import extended_shape

__all__ = ["PAPER_SECONDS", "case", "flops", "photo_network", "photo_table", "photograph"]

#: Schuler et al. 2015, Table 1: seconds on an Intel i5 in Matlab, {PSF size: {side of the photograph: seconds}}.
PAPER_SECONDS = {
    17: {255: 1.1, 800: 5.2, 1024: 9.5, 2048: 53.1},
    25: {255: 1.2, 800: 14.3, 1024: 18.5, 2048: 89.1},
    33: {255: 1.6, 800: 10.7, 1024: 22.6, 2048: 91.9},
}
PYRAMIDS = {17: (17,), 25: (17, 25), 33: (17, 25, 33)}  # scales, coarse to fine; three stages each
TOLERANCE = 2e-3  # of the PSF, in norm: up to nine stages of quotients separate it from the photograph


@functools.cache
def photograph(height, width=None):
    """A grey photograph of any size: scikit-image's cameraman, float32 (1, H, W) in [0, 1]."""
    shape = (height, height if width is None else width)
    picture = resize(skimage.data.camera() / 255.0, shape, order=3, anti_aliasing=True)
    noise = np.random.default_rng(0).standard_normal(shape)  # enlarged pictures have no fine detail of their own
    return np.clip(picture + 0.01 * noise, 0, 1).astype(np.float32)[None]


def photo_network(psf_size):
    """The pyramid for a PSF size, with fresh weights: they cost what trained ones do."""
    scales = [scale_config(size) for size in PYRAMIDS[psf_size]]
    return Pyramid(scales=scales, rng=np.random.default_rng(psf_size))


def flops(network, shape):
    """Multiplications and additions of a PSF estimation, written as the formulas are.

    Parameters
    ----------
    network : Pyramid
    shape : (int, int)

    Returns
    -------
    float
        Filters counted directly (2 per tap and pixel), recombinations, and 2.5 n log₂ n for every real DFT of n
        pixels; a tanh counts as one. What computes the filters by FFTs does fewer.
    """

    def dft(grid):
        n = grid[0] * grid[1]
        return 2.5 * n * math.log2(n)

    total = 0.0
    for scale in network.scales:
        here = [round(n * scale.psf_size / network.psf_size) for n in shape]
        extended = extended_shape(here, 2 * scale.psf_size)
        finest = scale.psf_size == network.psf_size
        total += dft(extended)  # of the blurry image
        for i, stage in enumerate(scale.stages):
            f = stage.features
            valid = [n - f.size + 1 for n in here]
            units = len(f.conv.filters.value)
            mixes = units * (units * len(f.hidden) + f.images)
            per_pixel = 2 * f.channels * f.size**2 * units + 2 * mixes + units * (1 + len(f.hidden))
            total += per_pixel * valid[0] * valid[1]
            grid = [scipy.fft.next_fast_len(n, real=True) for n in valid]
            total += (2 * stage.pairs + 1) * dft(grid)
            if i + 1 < len(scale.stages) or not finest:
                total += 2 * dft(extended)
    return total


def case(psf_size, side, by="deconvnet", form="plain"):
    """A case for `bench.timing.child`: PSF estimation of a small photograph and of one of the side wanted."""
    network = photo_network(psf_size)
    pictures = [photograph(network.smallest_image()), photograph(side)]
    if by == "deconvnet":
        return [functools.partial(network.forward, p) for p in pictures]
    return [peers.load("torch_photo").photo_call(network, p, form) for p in pictures]


def _peer(network, picture, device, quick):
    """PyTorch's call in the form that is the fastest at this size, and the seconds of all forms of its features."""
    torch_photo = peers.load("torch_photo")
    calls = torch_photo.feature_calls(network, picture, device.name, quick=quick)
    best, seconds = fastest_form(calls, device)
    return torch_photo.photo_call(network, picture, best, device.name), best, seconds


def _memory(device, psf_size, side, by, call, form):
    """``(extra, process)`` bytes of a call."""
    if device.name == "cpu":
        # What a compiler allocates while it works must not be counted: the same form without it.
        form = "plain" if form == "compiled" else form.removeprefix("compiled, ")
        found = in_child("bench.timing.photo:case", {"psf_size": psf_size, "side": side, "by": by, "form": form})
        return found["extra"], found["process"]
    if by == "deconvnet":
        return device.memory(call), None
    return peers.load("torch_peer").cuda_memory(call), None


COLUMNS = [
    Column("device", "device"),
    Column("psf", "PSF", "px"),
    Column("side", "photo", "side"),
    Column("paper", "Schuler et al.", "s"),
    Column("ours", "deconvnet", "s"),
    Column("torch", "PyTorch", "s"),
    Column("ratio", "ratio", "x"),
    Column("memory", "memory", "MB"),
    Column("torch_memory", "PyTorch's", "MB"),
    Column("flop", "work", "GFLOP"),
    Column("share", "of ceiling", "%"),
    Column("form", "PyTorch's form"),
]


def photo_table(device, peer, ceilings, *, quick=False, sizes=None):
    """Rows of one device.

    Parameters
    ----------
    device : Device
    peer : Peer
    ceilings : dict
        As of `bench.timing.machine.ceilings`.
    quick : bool
        Two small sizes, and PyTorch without compiling.
    sizes : sequence of (int, int), optional
        Pairs (PSF size, side); by default those of the paper.

    Returns
    -------
    Table
    """
    table = Table(
        "photo",
        "PSF of a single photograph",
        COLUMNS,
        "Three stages per scale (17 px: one scale, 25: two, 33: three). Schuler et al. 2015, Table 1: Intel i5, "
        "Matlab. The work counts the filters directly, so what uses FFTs can be above its share of the ceiling "
        "(the higher one). Memory: the most that a call takes beyond what the process has before.",
    )
    if sizes is None:
        sizes = (
            [(17, 255), (33, 255)] if quick else [(psf, side) for psf in PAPER_SECONDS for side in PAPER_SECONDS[psf]]
        )
    ceiling = max(ceilings.values())
    for psf_size, side in sizes:
        row = {"device": device.name, "psf": psf_size, "side": side}
        with table.attempt(row):
            row["paper"] = PAPER_SECONDS.get(psf_size, {}).get(side)
            network, picture = photo_network(psf_size).to(device.name), photograph(side)
            there = device.array(picture)
            calls = {"ours": lambda network=network, there=there: network.forward(there)[0][-1]}
            first, psf = timed(calls["ours"], device.sync)
            row["first_call"] = first
            form = "plain"
            if peer.installed:
                calls["torch"], form, seconds = _peer(network, picture, device, quick)
                error = check_equal(f"PSF of {psf_size} px at {side}²", calls["torch"](), psf, TOLERANCE)
                row.update(form=form, forms=seconds, difference=error)
            found = interleaved(calls, device, seconds=1.5 if quick else 6.0)
            row["timings"] = found
            row["ours"] = found["ours"]["seconds"]
            row["torch"] = found["torch"]["seconds"] if peer.installed else peer.absent
            row["ratio"] = row["torch"] / row["ours"] if peer.installed else None
            row["flop"] = flops(network, picture.shape[-2:])
            row["share"] = row["flop"] / row["ours"] / ceiling
            if not quick:
                row["memory"], row["process"] = _memory(device, psf_size, side, "deconvnet", calls["ours"], form)
                if peer.installed:
                    row["torch_memory"], _ = _memory(device, psf_size, side, "torch", calls["torch"], form)
            elif device.name == "cpu" and (psf_size, side) == sizes[0]:
                row["memory"], row["process"] = _memory(device, psf_size, side, "deconvnet", calls["ours"], form)
    return table
