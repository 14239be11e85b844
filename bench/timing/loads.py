"""What a busy machine and what more threads do to the work: two tables over the same rows.

*Busy*: every row beside one other process that computes, ten times, and the slowest of them counts, because that is
what a user waits for. *Threads*: every row with 1, 2, ... all threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from bench import peers
from bench.peers.torch_peer import Peer
from bench.timing.burst import FRAMES, STRIDE, burst_network, frames_of_burst
from bench.timing.measure import check_equal, timed
from bench.timing.photo import photo_network, photograph
from bench.timing.table import Column, Table
from bench.timing.training import RATE, TRAININGS
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.parallel import thread_count, threads
from deconvnet.restore.burst.patches import restore_frames
from deconvnet.restore.photo.deblur import deblur

__all__ = ["LOADS", "busy_table", "other_process", "threads_table"]

#: Other processes: a loop anywhere, a loop on one of our processors, and products of matrices on all of them.
LOADS = {
    "free": "while True: pass",
    "pinned": "import os\nos.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\nwhile True: pass",
    "numerical": "import numpy as np\na = np.ones((1500, 1500), np.float32)\nwhile True: a @ a",
}
RUNS = 10
BUSY_SECONDS = 0.5  # that the other process gets to start its work
TOLERANCE = 2e-3


@contextlib.contextmanager
def other_process(code):
    """A Python process that computes while the block runs."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(BUSY_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"the other process ended with status {process.returncode}")
        yield process
    finally:
        process.kill()
        process.wait()


def _rows(device, peer, quick):
    """``(name, {"ours": call, "torch": call})`` of each row; PyTorch's where it is installed and has one."""
    side = 96 if quick else 256
    psf = sample_gp_psfs(np.random.default_rng(0), 1, 13)[0]
    blurry = convolve(photograph(side)[0], psf, border="reflect")
    yield f"restoring a photo of {side}²", {"ours": functools.partial(deblur, blurry, psf_size=17)}

    side = 255 if quick else 1024
    network, picture = photo_network(17), photograph(side)
    calls = {"ours": lambda: network.forward(picture)[0][-1]}
    if peer.installed:
        form = "plain" if quick else "compiled"
        calls["torch"] = peers.load("torch_photo").photo_call(network, picture, form, device.name)
    yield f"PSF of a photo of {side}², 17 px", calls

    height, width = (65, 65) if quick else (65, 300)
    burst, frames = burst_network("quotient"), frames_of_burst(FRAMES, height, width)
    calls = {"ours": lambda: restore_frames(burst, frames, stride=STRIDE, refine=False)[0]}
    if peer.installed:
        restore = peers.load("torch_patches").restorer(burst, device.name, STRIDE)
        there = peers.load("torch_photo").tensor(frames, device.name)
        calls["torch"] = functools.partial(restore, there, 32)
    yield f"burst of {FRAMES} frames, {width}×{height}, not refined", calls

    for name, make, batch, small in TRAININGS:
        trainer, draw, peer_name = make(device, small if quick else batch)
        calls = {"ours": trainer.step}
        if peer.installed:
            torch_trainer, forms = getattr(peers.load("torch_training"), peer_name)(
                trainer.task.network, draw, RATE, device.name, quick=True
            )
            next(iter(forms.values()))()
            calls["torch"] = torch_trainer.step
        yield f"training step, {name}", calls


def _seconds(call, device, runs):
    return [timed(call, device.sync)[0] for _ in range(runs)]


BUSY_COLUMNS = [
    Column("what", "what"),
    Column("by", "by"),
    Column("quiet", "quiet, median", "ms"),
    *(Column(load, f"slowest, {load} load", "ms") for load in LOADS),
    Column("worst", "slowest of all by quiet", "x"),
]


def busy_table(device, peer, *, quick=False):
    """Every row on a quiet machine and beside each of `LOADS`, on the CPU.

    Parameters
    ----------
    device : Device
    peer : Peer
    quick : bool
        Small sizes and few runs.

    Returns
    -------
    Table
    """
    runs = 2 if quick else RUNS
    table = Table(
        "busy",
        "Beside another busy process",
        BUSY_COLUMNS,
        f"The slowest of {runs} runs beside a process that computes all the time: a loop (*free*), a loop on one of "
        "the processors that we may use (*pinned*), products of matrices on all of them (*numerical*).",
    )
    for what, calls in _rows(device, peer, quick):
        results = {}
        for by, call in calls.items():
            call()
            results[by] = call()
        if "torch" in results and results["ours"] is not None:
            check_equal(what, results["torch"], results["ours"], TOLERANCE)
        for by, call in calls.items():
            with table.attempt({"what": what, "by": {"ours": "deconvnet", "torch": "PyTorch"}[by]}) as row:
                row["quiet"] = statistics.median(_seconds(call, device, runs))
                for load, code in LOADS.items():
                    if load == "pinned" and not hasattr(os, "sched_setaffinity"):
                        continue
                    with other_process(code):
                        row[load] = max(_seconds(call, device, runs))
                row["worst"] = max(row[load] for load in LOADS if load in row) / row["quiet"]
    return table


def threads_table(device, *, quick=False):
    """Every row with 1, 2, 4, ... and all threads, on the CPU.

    Parameters
    ----------
    device : Device
    quick : bool
        Small sizes and few runs.

    Returns
    -------
    Table
    """
    most = thread_count()
    counts = sorted({most, *(2**i for i in range(8) if 2**i < most)})
    columns = [
        Column("what", "what"),
        *(Column(f"t{n}", f"{n} threads" if n > 1 else "1 thread", "ms") for n in counts),
    ]
    columns += [Column("efficiency", "efficiency of all", "%")]
    table = Table(
        "threads",
        "With more threads",
        columns,
        "Efficiency: time of one thread, over the number of threads times their time. Results are the same bits.",
    )
    for what, calls in _rows(device, Peer(False), quick):
        with table.attempt({"what": what}) as row:
            results = []
            for n in counts:
                with threads(n):
                    results.append(calls["ours"]())
                    row[f"t{n}"] = statistics.median(_seconds(calls["ours"], device, 2 if quick else 5))
            if results[0] is not None and not all(np.array_equal(results[0], other) for other in results[1:]):
                raise RuntimeError("the results depend on the number of threads")
            row["efficiency"] = row["t1"] / (most * row[f"t{most}"])
    return table
