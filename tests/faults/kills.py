"""Kill what writes, at random moments, and look at what is left: ``python -m tests.faults.kills --kills 50``.

A photo, one in tiles, a burst, a batch, a training and a writer of files are killed in turn, every other time by
SIGKILL and else by SIGTERM. Afterwards every input is as it was, every output is the old one or the new one whole, and
what is run again ends as if nothing had happened: a batch with the same bytes, a training with the same checkpoint bit
for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage import data

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.io import read_image, write_image
from tests.train.commands import same_checkpoints, steps_done

ROOT = Path(__file__).resolve().parents[2]
DECONVNET = [sys.executable, "-m", "deconvnet"]
#: One thread, so that the load of the machine changes no bit.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: What a program may end with that was not killed before it had finished: 0, and 130 or 143 after a signal.
ENDS = (0, -signal.SIGKILL, -signal.SIGTERM, 130, 143)
TRAINING = (
    "--psf-size 5 --filters 4 --filter-size 3 --crop 32 --validation-crop 40 --batch 2 --validation 3 --stages 2 "
)
TRAINING += "--validate-every 20 --checkpoint-every 2 --stage-steps 200 --frozen-steps 20 --steps 600 --quiet"
WRITER = """
import sys, numpy as np
from deconvnet.io import write_image
pictures = [np.full((300, 400, 3), value) for value in (0.25, 0.75)]
print("ready", flush=True)
while True:
    for picture in pictures:
        write_image(sys.argv[1], picture, 16)
"""


def digest(path):
    """What a file holds, or None."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def run(command):
    """Seconds that a command takes, which must succeed."""
    began = time.monotonic()
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    return time.monotonic() - began


def killed(command, how, seconds, *, ready=False):
    """Start a command, send it a signal after so many seconds, and check how it ends; returns its exit status."""
    stdout = subprocess.PIPE if ready else subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True
    )
    if process.stdout is not None:
        process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if how == signal.SIGKILL:  # also what it has started, as when memory runs out
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    errors = process.communicate(timeout=120)[1].decode(errors="replace")
    assert process.returncode in ENDS, (process.returncode, errors)
    # A signal while Python itself is still starting is Python's to answer.
    assert "Traceback" not in errors or "deconvnet" not in errors, errors
    return process.returncode


def others(folder, known):
    """Files that nobody has asked for: none but, after SIGKILL, hidden parts."""
    return [file for file in folder.rglob("*") if file.is_file() and file not in known]


class Restoration:
    """A photo or a burst that replaces an older picture."""

    def __init__(self, folder, kind, inputs, output, *options):
        self.inputs, self.output = inputs, folder / output
        files = [*map(str, inputs), "-o", str(self.output)]
        self.command = [*DECONVNET, kind, *files, "--quiet", "--threads", "1", *options]
        run(self.command)
        self.seconds = run(self.command)
        self.new = digest(self.output)
        write_image(self.output, np.zeros((9, 9)))
        self.old_bytes, self.old = self.output.read_bytes(), digest(self.output)
        self.before = [digest(file) for file in inputs]

    def kill(self, how, share):
        self.output.write_bytes(self.old_bytes)
        killed(self.command, how, share * self.seconds)
        assert [digest(file) for file in self.inputs] == self.before, "an input has changed"
        found = digest(self.output)
        assert found in (self.old, self.new), f"{self.output} is neither the old nor the new one"
        return "old" if found == self.old else "new"


class Batch:
    """A folder of photos. Once all are done, the next kill finds an empty folder; in the end it is run to its end."""

    def __init__(self, folder, photos):
        self.inputs = sorted(photos.iterdir())
        self.whole, self.out = folder / "whole", folder / "out"
        options = ["--bursts", "folders", "--quiet"]
        self.command = [*DECONVNET, "batch", str(photos), str(self.out), *options]
        self.seconds = run([*DECONVNET, "batch", str(photos), str(self.whole), *options])
        self.before = [digest(file) for file in self.inputs]

    def kill(self, how, share):
        if len(list(self.out.glob("*.png"))) == len(self.inputs):
            self.end()
            shutil.rmtree(self.out)
        killed(self.command, how, share * self.seconds)
        assert [digest(file) for file in self.inputs] == self.before, "an input has changed"
        done = 0
        for file in self.whole.glob("*.png"):
            found = digest(self.out / file.name)
            assert found in (None, digest(file)), f"{file.name} is not whole"
            done += found is not None
        return f"{done} done"

    def end(self):
        run(self.command)
        for file in self.whole.glob("*.png"):
            assert digest(self.out / file.name) == digest(file), file.name


class Training:
    """A training that is resumed after every kill until it is done, with the checkpoint of one that nobody disturbed.

    Then the next kill is that of a new one.
    """

    def __init__(self, folder, photos):
        self.whole, self.out = folder / "undisturbed", folder / "disturbed"
        program = [sys.executable, "-m", "train.photo"]
        self.first = [*program, "--images", str(photos), *TRAINING.split(), "--out", str(self.out)]
        self.again = [*program, "--resume", "--quiet", "--out", str(self.out)]
        self.seconds = run([*self.first[:-1], str(self.whole)])

    def command(self):
        return self.again if (self.out / "checkpoint.safetensors").exists() else self.first

    def done(self):
        return steps_done(self.out) if (self.out / "checkpoint.safetensors").exists() else 0

    def kill(self, how, share):
        if self.done() == steps_done(self.whole):
            self.end()
            shutil.rmtree(self.out)
        killed(self.command(), how, share * self.seconds)
        return f"step {self.done()}"

    def end(self):
        run(self.command())
        assert same_checkpoints(self.whole, self.out), "the checkpoints differ"


class Writing:
    """A program that does nothing but write two pictures by turns."""

    def __init__(self, folder):
        self.files = [folder / name for name in ("a.png", "a.tif")]

    def kill(self, how, share):
        for file in self.files:
            killed([sys.executable, "-c", WRITER, str(file)], how, share * 0.4, ready=True)
            if file.exists():
                pixels = read_image(file).pixels
                assert pixels.shape == (300, 400, 3) and pixels.min() == pixels.max(), file
        return "whole"


def material(folder, rng):
    """A shaky photo and burst, a folder of photos, and sharp ones to learn from."""
    psfs = sample_gp_psfs(rng, 6, 9)
    sharp = data.camera().astype(np.float32) / 255
    photos, frames, learn = folder / "photos", folder / "frames", folder / "learn"
    for each in (photos, frames, learn):
        each.mkdir()
    for number, psf in enumerate(psfs[:4]):
        write_image(photos / f"{number}.png", convolve(sharp[60 * number :][:130, 100:250], psf))
        write_image(frames / f"{number}.png", convolve(sharp[60:170, 150:270], psf, "reflect"))
        write_image(learn / f"{number}.png", sharp[120 * number :][:128, :256])
    for number in range(4, 10):
        write_image(learn / f"{number}.png", sharp[30 * number :][:128, 200:456])
    return photos, frames, learn


def large(folder):
    """A tiled TIFF of several rows of tiles."""
    import tifffile

    photo = (data.astronaut()[:400, :400] // 2).repeat(4, axis=0).repeat(4, axis=1)
    tifffile.imwrite(folder / "large.tif", photo, photometric="rgb", tile=(256, 256), compression="zlib")
    return folder / "large.tif"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, frames, learn = material(folder, rng)
        targets = {
            "photo": Restoration(folder, "photo", sorted(photos.iterdir())[:1], "photo.png"),
            "tiles": Restoration(folder, "photo", [large(folder)], "tiles.tif", "--tiles"),
            "burst": Restoration(folder, "burst", sorted(frames.iterdir()), "burst.png"),
            "batch": Batch(folder, photos),
            "training": Training(folder, learn),
            "writing": Writing(folder),
        }
        known = {file for file in folder.rglob("*") if file.is_file()}
        for number in range(options.kills):
            target = list(targets)[number % len(targets)]
            how = (signal.SIGKILL, signal.SIGTERM)[number // len(targets) % 2]
            share = rng.uniform(0.1, 0.95)
            left = targets[target].kill(how, share)
            print(f"{number + 1:3d} {target:9s} {how.name} after {share:4.0%}: {left}", flush=True)
        for target in (targets["batch"], targets["training"]):
            target.end()
        inside = {targets["batch"].out, targets["training"].out}
        strange = [
            file
            for file in others(folder, known)
            if not inside & set(file.parents)
            and file.name not in ("a.png", "a.tif")
            and not file.name.endswith(".part")
        ]
        assert not strange, strange
        parts = sum(file.name.endswith(".part") for file in folder.rglob("*"))
    print(f"{options.kills} kills: nothing lost, {parts} hidden parts left by SIGKILL")


if __name__ == "__main__":
    main()
