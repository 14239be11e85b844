"""The tables that users feel: whole commands from file to file, with the seconds of every step and the most memory.

Each row runs ``python -m deconvnet photo`` or ``burst`` in a process of its own, on pictures that are made for it, and
checks first that the picture got better. With the interpreter of another installed version (`before`), the same
commands run there too, in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from scipy.signal import fftconvolve
from skimage.transform import resize

from bench.timing.table import Column, Table
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.io import read_image, write_image
from deconvnet.metrics import psnr

__all__ = ["PHOTOS", "end_to_end_table"]

NOISE = 0.005
FRAMES = 14
#: Photos: name, height and width, side of the PSF, further options of the command.
PHOTOS = (
    ("0.4 MP, 17 px", (512, 768), 17, ()),
    ("0.4 MP, 33 px", (512, 768), 33, ()),
    ("1.9 MP, 17 px", (1200, 1600), 17, ()),
    ("1.9 MP, 33 px", (1200, 1600), 33, ()),
    ("1.9 MP, 33 px, varying", (1200, 1600), 33, ("--varying", "--psf-size", "33")),
    ("12 MP, 45 px told", (3000, 4000), 45, ("--psf-size", "45")),
)
#: Bursts: name, height and width, side of the PSFs, further options.
BURSTS = (
    ("0.7 MP", (700, 1000), 17, ()),
    ("0.7 MP, not refined", (700, 1000), 17, ("--no-refine",)),
    ("12 MP, not refined", (3000, 4000), 17, ("--no-refine",)),
    ("12 MP", (3000, 4000), 17, ()),
)
QUICK_PHOTOS = (("quick", (160, 200), 9, ("--psf-size", "17", "--no-refine")),)
QUICK_BURSTS = (("quick", (80, 90), 5, ("--no-refine",)),)
#: Least gain in dB over the blurry photo, or over the mean frame: what is slower but better would win otherwise.
LEAST_GAIN = 1.0
#: Side in pixels of the middle that is scored.
SCORED = 700
LONG, LONGEST = 30, 1800  # seconds of a command: run once only; given up

#: Runs a command of the package and prints what it took: the version before has no record of steps.
CHILD = """
import json, resource, sys, time
begun = time.perf_counter()
try:
    from deconvnet.progress import recorded
except ImportError:
    import contextlib
    recorded = lambda: contextlib.nullcontext({})
try:
    from deconvnet.cli.main import main
except ImportError:
    from deconvnet.__main__ import main
with recorded() as steps:
    status = main(sys.argv[1:])
unit = 1 if sys.platform == "darwin" else 1024
memory = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"status": status, "seconds": time.perf_counter() - begun, "memory": memory, "steps": steps}))
"""


#: Pixels from which a picture is made of mirrored parts.
LARGE = 2.5e6


def _truth(shape, margin):
    """A colour photograph of a size plus a margin, float32 in [0, 1], enlarged and with fine grain.

    Above two megapixels it is three times mirrored each way: enlarged eight times it would have no edge sharper than
    the blur.
    """
    height, width = (n + margin for n in shape)
    picture = skimage.data.chelsea() if max(shape) < 400 else skimage.data.astronaut()
    times = 3 if height * width > LARGE else 1
    small = -(-height // times), -(-width // times)
    picture = resize(picture / 255.0, small, order=3, anti_aliasing=True).astype(np.float32)
    picture = np.pad(picture, [(0, height - small[0]), (0, width - small[1]), (0, 0)], mode="symmetric")
    grain = np.random.default_rng(1).standard_normal((height, width, 1), dtype=np.float32)
    return np.clip(picture * (1 + np.float32(0.05) * grain), 0, 1)


def _blurred(truth, psf, rng):
    """The part of a picture that a PSF lets tell, with noise."""
    channels = [fftconvolve(truth[..., c], psf, mode="valid") for c in range(truth.shape[-1])]
    blurry = np.stack(channels, axis=-1).astype(np.float32)
    return np.clip(blurry + np.float32(NOISE) * rng.standard_normal(blurry.shape, dtype=np.float32), 0, 1)


def _middle(picture, shape):
    """The middle of a picture, luminance."""
    top, left = ((n - m) // 2 for n, m in zip(picture.shape, shape))
    return luminance(picture[top : top + shape[0], left : left + shape[1]])


def _gain(restored, start, truth, border):
    """How many dB nearer to the truth in the middle, at the best shift by whole pixels."""
    shape = tuple(min(n, SCORED) - 2 * border for n in restored.shape[:2])
    goal = _middle(truth, shape)

    def best(picture):
        shifts = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
        return max(psnr(_middle(np.roll(picture, s, (0, 1)), shape), goal) for s in shifts)

    return best(restored) - best(start)


def _run(python, arguments, threads):
    """One command in a process of its own: what `CHILD` prints."""
    environment = dict(os.environ)
    if threads:
        environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as elsewhere:  # so that the checkout's folders are not taken for packages
        done = subprocess.run(
            [python, "-c", CHILD, *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    last = (done.stdout.strip().splitlines() or ["{}"])[-1]
    found = json.loads(last) if last.startswith("{") else {}
    if done.returncode or found.get("status") != 0:
        raise DeconvnetError(" ".join((done.stderr.strip().splitlines() or ["no message"])[-1].split()))
    return found


def _photo_files(folder, shape, side):
    """A blurry photo, with a ``(start, truth, border)`` to score what becomes of it."""
    folder.mkdir()
    rng = np.random.default_rng(side)
    truth = _truth(shape, side - 1)
    psf = sample_gp_psfs(rng, 1, side)[0]
    blurry = _blurred(truth, psf, rng)
    half = side // 2
    write_image(folder / "blurry.png", blurry, 8)
    return ["photo", str(folder / "blurry.png")], (blurry, truth[half : half + shape[0], half : half + shape[1]], side)


def _burst_files(folder, shape, side):
    """Frames of a burst, registered, with what scores the result."""
    folder.mkdir()
    rng = np.random.default_rng(side)
    truth = _truth(shape, side - 1)
    total = np.zeros((*shape, 3), np.float32)
    for i, psf in enumerate(sample_gp_psfs(rng, FRAMES, side)):
        frame = _blurred(truth, psf, rng)
        total += frame / FRAMES
        write_image(folder / f"frame_{i:02d}.png", frame, 8)
    half = side // 2
    return ["burst", str(folder)], (total, truth[half : half + shape[0], half : half + shape[1]], side)


COLUMNS = [
    Column("what", "command"),
    Column("size", "picture"),
    Column("seconds", "file to file", "s"),
    Column("before", "version before", "s"),
    Column("ratio", "ratio", "x"),
    Column("memory", "most memory", "MB"),
    Column("gain", "gain", "dB"),
    Column("steps", "of which, s"),
]


def end_to_end_table(*, quick=False, before=None, threads=None, runs=3, only=None):
    """Seconds and memory of whole commands, on the CPU.

    Parameters
    ----------
    quick : bool
        Tiny pictures.
    before : str, optional
        Python interpreter that has another version of this package installed.
    threads : int, optional
        Threads that the commands may use; as many as they like by default.
    runs : int
        Of each command; the median counts. What takes more than 30 s is run once.
    only : str, optional
        Rows whose command or picture contains this.

    Returns
    -------
    Table
    """
    note = (
        "*File to file*: a process of its own, imports, reading and writing included; compiled code is in the cache. "
        f"Photos: one PSF each, noise {NOISE}, the size not told unless it says so. Bursts: {FRAMES} frames. "
        "Gain over the blurry photo or the mean frame, checked before anything counts."
    )
    if before:
        note += " *Version before*: the same command with another installed version, in turn with this one."
    table = Table("end_to_end", "From file to file", COLUMNS, note)
    photos, bursts = (QUICK_PHOTOS, QUICK_BURSTS) if quick else (PHOTOS, BURSTS)
    cases = [("photo", _photo_files, *case) for case in photos] + [("burst", _burst_files, *case) for case in bursts]
    for what, files, size, shape, side, options in cases:
        if only and only not in f"{what} {size}":
            continue
        with table.attempt({"what": what, "size": size}) as row, tempfile.TemporaryDirectory() as name:
            command, (start, truth, border) = files(Path(name) / "in", shape, side)
            out = Path(name) / "out.png"
            arguments = [*command, "-o", str(out), "--quiet", *options]
            first = {"seconds": _run(sys.executable, arguments, threads)}
            row["gain"] = _gain(read_image(out).pixels, start, truth, border)
            if row["gain"] < LEAST_GAIN:
                raise DeconvnetError(f"the picture gained {row['gain']:.2f} dB only: nothing is timed")
            pythons = {"seconds": sys.executable} | ({"before": before} if before else {})
            if before:
                first["before"] = _run(before, arguments, threads)
            # What has been run for the first time may have compiled something: it counts only if it took long anyway.
            samples = {key: [found] if found["seconds"] >= LONG else [] for key, found in first.items()}
            for _ in range(1 if quick else runs):
                for key in pythons:
                    if not samples[key] or (samples[key][0]["seconds"] < LONG and not quick):
                        samples[key].append(_run(pythons[key], arguments, threads))
            for key, found in samples.items():
                row[key] = statistics.median(one["seconds"] for one in found)
            row["memory"] = max(one["memory"] for one in samples["seconds"])
            row["steps"] = ", ".join(f"{k} {v:.2g}" for k, v in samples["seconds"][-1]["steps"].items())
            row["ratio"] = row["before"] / row["seconds"] if before else None
    return table
