"""The growth table: time and memory from small photographs to large ones, and from few frames to many."""

from __future__ import annotations

import functools

import numpy as np

from bench.timing.burst import STRIDE, burst_network, frames_of_burst
from bench.timing.child import in_child
from bench.timing.measure import interleaved, timed
from bench.timing.photo import photo_network, photograph
from bench.timing.table import Column, Table
from deconvnet.restore.burst.patches import restore_frames

__all__ = ["exponent", "growth_tables"]

PSF_SIZE = 17
SIDES, QUICK_SIDES = (512, 1024, 2048, 4096), (128, 256, 512)  # 0.25 to 16 megapixels
FRAMES, QUICK_FRAMES = (2, 4, 8, 14, 30), (2, 8)
LEAST_MEMORY = 1e6  # bytes below which a process' resident memory says little
BURST, QUICK_BURST = (65, 300), (65, 65)  # height and width of the frames


def exponent(sizes, values):
    """Slope of a straight line through ``(log size, log value)``: 1 for what grows in proportion.

    Parameters
    ----------
    sizes, values : sequence of float
        Positive.

    Returns
    -------
    float
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


COLUMNS = [
    Column("device", "device"),
    Column("size", "size"),
    Column("seconds", "time", "s"),
    Column("per", "per megapixel or frame", "s"),
    Column("memory", "memory", "MB"),
    Column("memory_per", "per megapixel or frame", "MB"),
]


def _grow(table, device, sizes, units, make, case, seconds, names):
    """Measure each size, and say with which exponent time and memory grow."""
    for size, unit, name in zip(sizes, units, names):
        row = {"device": device.name, "size": name, "unit": unit}
        with table.attempt(row):
            call, arguments = make(size)
            timed(call, device.sync)
            row["seconds"] = interleaved({"ours": call}, device, seconds=seconds, least=0)["ours"]["seconds"]
            row["memory"] = device.memory(call) if device.name == "cuda" else in_child(case, arguments)["extra"]
            row["per"], row["memory_per"] = row["seconds"] / unit, row["memory"] / unit
    done = [row for row in table.rows if "error" not in row]
    if len(done) > 1:
        units = [row["unit"] for row in done]
        slopes = {"time_exponent": exponent(units, [row["seconds"] for row in done])}
        row = {"device": device.name, "size": "exponent", "seconds": f"{slopes['time_exponent']:.2f}", **slopes}
        memories = [row["memory"] for row in done]
        if min(memories) > LEAST_MEMORY:
            row["memory_exponent"] = exponent(units, memories)
            row["memory"] = f"{row['memory_exponent']:.2f}"
        table.add(row)
    return table


def growth_tables(device, *, quick=False):
    """Two tables for a device: photographs of growing size, bursts of growing length.

    Parameters
    ----------
    device : Device
    quick : bool
        Small sizes.

    Returns
    -------
    list of Table
    """
    network = photo_network(PSF_SIZE).to(device.name)

    def photo(side):
        picture = device.array(photograph(side))
        return functools.partial(network.forward, picture), {"psf_size": PSF_SIZE, "side": side}

    burst = burst_network("quotient").to(device.name)
    height, width = QUICK_BURST if quick else BURST

    def frames(count):
        call = functools.partial(
            restore_frames,
            burst,
            frames_of_burst(count, height, width),
            stride=STRIDE,
            refine=False,
            device=device.name,
        )
        return call, {"network": "quotient", "count": count, "height": height, "width": width}

    sides, counts = (QUICK_SIDES, QUICK_FRAMES) if quick else (SIDES, FRAMES)
    seconds = 0.5 if quick else 4.0
    photos = Table(
        "growth_photo",
        f"Growth with the size of a photograph, PSF of {PSF_SIZE} px",
        COLUMNS,
        "The exponent is the slope in a log-log plot: 1 is proportional to the pixels, and n log n comes out at about "
        "1.06 over this range. Memory beyond what the process has before.",
    )
    bursts = Table(
        "growth_burst",
        f"Growth with the number of frames, {width}×{height} pixels, quotient network",
        COLUMNS,
        "Below 1: part of the work does not depend on the number of frames.",
    )
    megapixels = [side**2 / 1e6 for side in sides]
    names = [f"{m:.2g} MP" for m in megapixels]
    return [
        _grow(photos, device, sides, megapixels, photo, "bench.timing.photo:case", seconds, names),
        _grow(
            bursts, device, counts, counts, frames, "bench.timing.burst:case", seconds, [f"{n} frames" for n in counts]
        ),
    ]
