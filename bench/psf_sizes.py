"""How well the PSFs of photographs that training never saw are found, from 9 to 65 px: `python -m bench.psf_sizes`.

Four ways: the scale-free network alone, the network's PSF refined, from nothing, and the better one of the last two by
its `fit_cost`. What needs no network is kept in a file and not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import load_shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.networks.io import load_network
from deconvnet.restore.photo.psf_cleanup import THRESHOLD, clean_psf
from deconvnet.restore.photo.psf_size import estimate_psf_sparse
from deconvnet.restore.photo.refine import fit_cost, refine_psf
from train.command import read_photographs
from train.photo_any import shifted_errors

SIZES = (9, 17, 25, 33, 49, 65)
SEED = 20153
NOISE = 0.01
LEAST = 240  # side of the blurry pictures, if eight sides of the PSF are less


def cases(photographs, shake, size, count):
    """Yield ``(blurry (H, W), psf)`` of the first photographs: eight PSF sides, if there are so many."""
    rng = np.random.default_rng((SEED, size))
    for i, picture in enumerate(photographs.images[:count]):
        if shake is not None and i % 2:
            psf = sample_recorded_psfs(rng, shake, 1, size, size)[0]
        else:
            psf = sample_gp_psfs(rng, 1, size, size)[0]
        side = max(LEAST, 8 * size) + size - 1
        top, left = (max(0, (n - side) // 2) for n in picture.shape)
        sharp = picture[top : top + side, left : left + side].astype(np.float32) / 255
        blurry = convolve(sharp, psf)
        yield (blurry + NOISE * rng.standard_normal(blurry.shape)).astype(np.float32), psf


def from_nothing(blurry, size, store):
    """`estimate_psf_sparse` and its `fit_cost`, kept in the folder ``store``."""
    file = store / f"{hashlib.sha256(blurry.tobytes()).hexdigest()[:24]}-{size}.npz"
    if not file.exists():
        psf = estimate_psf_sparse(blurry, size)
        store.mkdir(parents=True, exist_ok=True)
        np.savez(file, psf=psf, score=fit_cost(blurry, psf))
    with np.load(file) as kept:
        return kept["psf"], float(kept["score"])


def measure(network, photographs, shake, size, count, store):
    """Relative errors of every way, ``{way: float array (count,)}``."""
    found, truths = {}, []
    for blurry, psf in cases(photographs, shake, size, count):
        truths.append(psf)
        alone, score = from_nothing(blurry, size, store)
        estimates = {"from nothing": alone}
        if network is not None:
            raw = network.estimate_psf(blurry[None], size)[-1][-1][0]
            refined = refine_psf(blurry, clean_psf(raw, THRESHOLD))
            estimates.update({"network": raw, "refined": refined})
            estimates["chosen"] = refined if fit_cost(blurry, refined) < score else alone
        for way, estimate in estimates.items():
            found.setdefault(way, []).append(estimate)
    return {way: shifted_errors(np.array(psfs), np.array(truths))[0] for way, psfs in found.items()}


def main(arguments=None):
    """Entry of ``python -m bench.psf_sizes``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.psf_sizes", description=__doc__.splitlines()[0])
    parser.add_argument("--images", metavar="DIR", help="photographs, as the training was given them")
    parser.add_argument("--shake", metavar="PATH", help="recorded hand shake for half of the blurs")
    parser.add_argument("--model", metavar="MODEL", help="a scale-free network; without it only what needs none")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--count", type=int, default=24, help="photographs (default 24)")
    parser.add_argument("--store", default="runs/psf-sizes", help="folder for what needs no network")
    options = parser.parse_args(arguments)
    _, unseen = read_photographs(options.images, "bench.psf_sizes", quiet=True)
    shake = load_shake(options.shake) if options.shake else None
    network = load_network(options.model, kind="photo") if options.model else None
    if network is not None:
        print(f"{options.model}: {network.training.get('steps')} steps")
    for size in map(int, options.sizes.split(",")):
        errors = measure(network, unseen, shake, size, options.count, Path(options.store))
        for way, values in errors.items():
            print(
                f"{size:3d} px  {way:12s}  mean {values.mean():.3f}  median {np.median(values):.3f}  "
                f"below 0.3: {(values < 0.3).sum()} of {len(values)}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
