"""The burst table: seconds for 14 frames of 1000×700 pixels, one channel and all three, with each network."""

from __future__ import annotations

import functools

import numpy as np

from bench import peers
from bench.timing.measure import check_equal, fastest_form, interleaved, timed
from bench.timing.photo import photograph
from bench.timing.table import Column, Table
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.networks.io import build_network, load_network
from deconvnet.restore.burst.patches import restore_frames
from deconvnet.restore.burst.places import patch_places
from deconvnet.restore.burst.pyramid import WINDOWS, window_starts
from deconvnet.restore.burst.refine import refine_burst_psfs

__all__ = ["burst_network", "burst_table", "case", "frames_of_burst", "refining_seconds"]

FRAMES, HEIGHT, WIDTH, STRIDE = 14, 700, 1000, 5
PAPER_SECONDS = 300.0  # a channel: Wieschollek et al. 2016, Sec. 3.3 (they trained on a Titan X)
NETWORKS = ("quotient", "compact", "paper")
#: What is measured by default, height and width in pixels and the patches' distance: a part, for the networks that
#: cost more a smaller one. Seconds per patch depend on the distance only where PSFs are shared by neighbours.
CROPS = {"quotient": (100, 500, STRIDE), "compact": (65, 300, STRIDE), "paper": (65, 120, STRIDE)}
QUICK_CROPS = {"quotient": (65, 65, STRIDE), "compact": (65, 65, 16), "paper": (65, 65, 16)}
SUPPORT = 17  # px of the PSFs that are refined, in a grid twice as wide
TOLERANCE = 1e-3
CHUNKS = (16, 32, 128)  # patches at once that PyTorch may choose from


def burst_network(name):
    """A network with weights: the one that ships, or fresh ones, slightly disturbed so that no part is idle."""
    if name == "quotient":
        return load_network("burst")
    rng = np.random.default_rng(0)
    network = build_network(name, rng=rng)
    for parameter in network.parameters().values():
        noise = rng.standard_normal(parameter.value.shape, dtype=np.float32)
        parameter.value += np.float32(1e-3) * noise
    return network


@functools.cache
def frames_of_burst(count, height, width):
    """A burst (N, H, W): the cameraman, moved by a few pixels in each frame, with noise of 1 %."""
    rng = np.random.default_rng(0)
    picture = photograph(height + 4, width + 4)[0]
    moved = [picture[y : y + height, x : x + width] for y, x in rng.integers(0, 5, (count, 2))]
    return np.stack(moved) + np.float32(0.01) * rng.standard_normal((count, height, width), dtype=np.float32)


def _patches(height, width, stride, centre):
    return len(patch_places(height, centre, stride)) * len(patch_places(width, centre, stride))


def _flops_per_patch(network, frames, places_per_patch):
    """Multiplications and additions of the dense layers for a patch of all frames."""
    if network.name == "quotient":
        dense = sum(p.value.size for name, p in network.parameters().items() if name.endswith((".own", ".weight")))
        pooled = sum(p.value.size for name, p in network.parameters().items() if name.endswith(".pooled"))
        return 2.0 * (frames * dense + pooled) * places_per_patch
    layers = [*network.merge1, *network.merge2, *network.trunk, network.output]
    return 2.0 * frames * sum(layer.weight.value.size for layer in layers)


def case(network, count, height, width, stride=STRIDE):
    """A case for `bench.timing.child`: restore two small frames with few patches, and a burst of ``count``."""
    net = burst_network(network)
    small = functools.partial(restore_frames, net, frames_of_burst(2, 65, 65), stride=16, refine=False)
    whole = functools.partial(restore_frames, net, frames_of_burst(count, height, width), stride=stride, refine=False)
    return small, whole


def refining_seconds(device, *, quick=False):
    """Seconds in which the PSFs of a whole channel are refined at full size, from those of one window."""
    frames = frames_of_burst(FRAMES, WINDOWS[0], WINDOWS[0])
    room = (SUPPORT // 2, SUPPORT // 2)
    psfs = np.pad(sample_gp_psfs(np.random.default_rng(0), FRAMES, SUPPORT), ((0, 0), room, room))
    call = functools.partial(refine_burst_psfs, device.array(frames), device.array(psfs))
    call()
    windows = len(window_starts(HEIGHT)[0]) * len(window_starts(WIDTH)[0])
    return windows * interleaved({"ours": call}, device, seconds=0.2 if quick else 2.0, least=1)["ours"]["seconds"]


COLUMNS = [
    Column("device", "device"),
    Column("network", "network"),
    Column("measured", "measured"),
    Column("patches", "patches", "n"),
    Column("patch", "deconvnet, a patch", "ms"),
    Column("torch_patch", "PyTorch, a patch", "ms"),
    Column("ratio", "ratio", "x"),
    Column("ours", "channel", "s"),
    Column("torch", "PyTorch's", "s"),
    Column("refining", "refining PSFs", "s"),
    Column("rgb", "RGB", "s"),
    Column("paper", "Wieschollek et al., channel", "s"),
    Column("how", "channel and RGB are"),
    Column("memory", "memory", "MB"),
    Column("flop", "dense layers, channel", "GFLOP"),
    Column("share", "of ceiling", "%"),
]


def burst_table(device, peer, ceilings, *, quick=False, full=False, networks=NETWORKS):
    """Rows of one device.

    Parameters
    ----------
    device : Device
    peer : Peer
    ceilings : dict
    quick : bool
        Small crops, and larger distances between the patches of the large networks.
    full : bool
        The whole frames instead of a crop, as on a GPU without ``quick``.
    networks : sequence of str

    Returns
    -------
    Table
    """
    table = Table(
        "burst",
        f"A burst of {FRAMES} frames, {WIDTH}×{HEIGHT} pixels, a patch every {STRIDE} pixels",
        COLUMNS,
        "Where it says *extrapolated*, a part of the picture was measured and the seconds of the whole follow from its "
        "seconds per patch. Refining comes on top, and the ratio leaves it out: seconds of a window times the windows. "
        "RGB is three channels, PSFs not refined. Wieschollek et al. 2016: trained on a Titan X. The ceiling's share "
        "counts the dense layers only. Memory: the most that the call takes beyond what the process has before.",
    )
    whole = full or (device.name == "cuda" and not quick)
    ceiling = max(ceilings.values())
    for name in networks:
        height, width, stride = (HEIGHT, WIDTH, STRIDE) if whole else (QUICK_CROPS if quick else CROPS)[name]
        row = {"device": device.name, "network": name, "measured": f"{width}×{height}"}
        with table.attempt(row):
            network = burst_network(name).to(device.name)
            frames = frames_of_burst(FRAMES, height, width)
            patches = _patches(height, width, stride, network.centre)
            total = _patches(HEIGHT, WIDTH, STRIDE, network.centre)

            def ours(network=network, frames=frames, stride=stride):
                return restore_frames(network, frames, stride=stride, refine=False, device=device.name)[0]

            calls = {"ours": ours}
            first, picture = timed(ours, device.sync)
            row.update(patches=patches, paper=PAPER_SECONDS, first_call=first)
            row["how"] = "measured" if whole else "extrapolated"
            if peer.installed:
                restore = peers.load("torch_patches").restorer(network, device.name, stride)
                there = peers.load("torch_photo").tensor(frames, device.name)
                small = there[:, :65, :200]
                chunks = CHUNKS[1:2] if quick else CHUNKS
                forms = {f"{c} patches at once": functools.partial(restore, small, c) for c in chunks}
                best, row["forms"] = fastest_form(forms, device) if len(forms) > 1 else (next(iter(forms)), {})
                calls["torch"] = functools.partial(restore, there, int(best.split()[0]))
                row["difference"] = check_equal(f"burst, {name}", calls["torch"](), picture, TOLERANCE)
            found = interleaved(calls, device, seconds=0.5 if quick else 8.0, least=0 if quick else 1)
            scale = total / patches
            row["timings"] = found
            row["patch"] = found["ours"]["seconds"] / patches
            row["ours"] = found["ours"]["seconds"] * scale
            row["rgb"] = 3 * row["ours"]
            if name == "quotient":
                row["refining"] = refining_seconds(device, quick=quick)
            row["torch"] = peer.absent
            if peer.installed:
                row["torch"] = found["torch"]["seconds"] * scale
                row["torch_patch"] = found["torch"]["seconds"] / patches
                row["ratio"] = row["torch"] / row["ours"]
            row["flop"] = total * _flops_per_patch(network, FRAMES, 1 / 9)
            row["share"] = row["flop"] / row["ours"] / ceiling
            if device.name == "cuda":
                row["memory"] = device.memory(ours)
            elif not quick:
                from bench.timing.child import in_child

                arguments = {"network": name, "count": FRAMES, "height": height, "width": width, "stride": stride}
                row["memory"] = in_child("bench.timing.burst:case", arguments)["extra"]
    return table
