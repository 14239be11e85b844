"""Blur a photograph into a burst, restore the whole picture, and draw what came of it, with PSNR and SSIM.

`python bench/burst_picture.py -o docs/burst.png` draws the README's picture. The photograph is one that
scikit-image carries, or `--image`; the shake is sampled, or recorded (`--shake`). For tables over many
photographs see `bench/quality.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this is run as a file, and needs its neighbours

from bench.scoring.burst_scores import make_burst, restore_burst
from bench.scoring.panels import busiest_window, draw_panels
from bench.scoring.report import describe_run, write_json
from deconvnet.blur.psf import load_shake
from deconvnet.colour import luminance
from deconvnet.errors import exit_status
from deconvnet.io import check_writable, read_image
from deconvnet.networks.io import load_network

SIDE = 160  # of the part that is drawn


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", metavar="PNG", help="picture to draw")
    parser.add_argument("--model", default="burst", help="a shipped model's name or a file (default burst)")
    parser.add_argument("--image", metavar="FILE", help="sharp photograph (default scikit-image's camera)")
    parser.add_argument("--shake", metavar="PATH", help="recorded shake instead of sampled")
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--support", type=int, default=17, help="PSF support in px; 1 for a sharp burst (default 17)")
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--window", type=int, nargs=2, metavar=("ROW", "COLUMN"), help="corner of the part drawn")
    parser.add_argument("--json", metavar="FILE", help="write the scores")
    return parser


def _run(options, arguments):
    from skimage import data

    if options.output:
        check_writable(options.output)
    network = load_network(options.model, kind="burst")
    sharp = luminance(read_image(options.image).pixels) if options.image else data.camera().astype(np.float32) / 255
    shake = load_shake(options.shake) if options.shake else None
    rng = np.random.default_rng(options.seed)
    frames, truth = make_burst(sharp, options.frames, options.support, options.noise, rng, shake)
    result = restore_burst(frames, truth, {"network": network}, stride=options.stride, progress=True)
    names = {name: name for name in result.scores} | {"FBA best p": f"FBA best p={result.best_power}"}
    for name, found in result.scores.items():
        print(f"{names[name]:15s} {found.psnr:6.2f} dB  SSIM {found.ssim:.3f}")
    if options.json:
        scores = {names[n]: {"psnr": s.psnr, "ssim": s.ssim} for n, s in result.scores.items()}
        write_json(options.json, describe_run(arguments, scores=scores))
    if options.output:
        part = busiest_window(truth, SIDE)
        if options.window:
            part = tuple(slice(first, first + SIDE) for first in options.window)
        shown = [
            (f"{names[name]}\n{result.scores[name].psnr:.1f} dB", result.pictures[name][part])
            for name in ("typical frame", "best frame", "FBA best p", "network")
        ]
        draw_panels(options.output, [[*shown, ("truth", truth[part])]])


def main(arguments=None):
    """Entry; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    return exit_status("burst_picture", lambda: _run(options, arguments))


if __name__ == "__main__":
    sys.exit(main())
