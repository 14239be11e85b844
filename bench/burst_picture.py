"""Blur a photograph into a burst, restore the whole picture, and draw what came of it, with PSNR and SSIM.

`python bench/burst_picture.py -o docs/burst.png` draws the README's picture. The photograph is one that
scikit-image carries, or `--image`; the shake is sampled, or recorded (`--shake`).
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import load_shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.io import read_image
from deconvnet.networks.io import load_network
from deconvnet.restore.colour import luminance
from deconvnet.restore.fba import fourier_burst_accumulation
from deconvnet.restore.patches import restore_frames
from deconvnet.weights import find_model

FBA_POWERS = (3, 5, 7, 11, 15, 20, 30, 50)
BORDER = 16  # px left out of the scores


def make_burst(sharp, frames, support, noise, rng, shake=None):
    """Frames (N, H, W) of a sharp picture, and its part (H, W) that they show."""
    if support <= 1:
        psfs = np.ones((frames, 1, 1), dtype=np.float32)
    elif shake is None:
        psfs = sample_gp_psfs(rng, frames, support)
    else:
        psfs = sample_recorded_psfs(rng, shake, frames, support, support)
    burst = convolve(np.repeat(sharp[None], frames, axis=0), psfs, border="valid")
    burst += noise * rng.standard_normal(burst.shape, dtype=np.float32)
    margin = psfs.shape[-1] // 2
    return burst, sharp[margin : margin + burst.shape[1], margin : margin + burst.shape[2]]


def score(picture, truth):
    """PSNR in dB and SSIM, without the border."""
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    a, b = np.clip(picture, 0, 1)[inside], truth[inside]
    return peak_signal_noise_ratio(b, a, data_range=1), structural_similarity(b, a, data_range=1)


def main(arguments=None):
    """Entry; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", metavar="PNG", help="picture to draw")
    parser.add_argument("--model", default="burst", help="a shipped model's name or a file (default burst)")
    parser.add_argument("--image", metavar="FILE", help="sharp photograph (default scikit-image's camera)")
    parser.add_argument("--shake", metavar="PATH", help="recorded shake instead of sampled")
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--support", type=int, default=17, help="PSF support in px; 1 for a sharp burst (default 17)")
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--stride", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--window", type=int, nargs=2, metavar=("ROW", "COLUMN"), help="corner of the part drawn")
    parser.add_argument("--json", metavar="FILE", help="write the scores")
    options = parser.parse_args(arguments)
    try:
        network = load_network(find_model(options.model), kind="burst")
        sharp = read_image(options.image) if options.image else data.camera().astype(np.float32) / 255
        sharp = luminance(sharp) if sharp.ndim == 3 else sharp
        shake = load_shake(options.shake) if options.shake else None
    except DeconvnetError as error:
        print(f"burst_picture: {error}", file=sys.stderr)
        return 2
    rng = np.random.default_rng(options.seed)
    frames, truth = make_burst(sharp, options.frames, options.support, options.noise, rng, shake)
    each = [score(frame, truth) for frame in frames]
    order = np.argsort([s[0] for s in each])
    typical, best = order[len(order) // 2], order[-1]
    fused = {p: fourier_burst_accumulation(frames, p) for p in FBA_POWERS}
    best_power = max(fused, key=lambda p: score(fused[p], truth)[0])
    restored, _ = restore_frames(network, frames, stride=options.stride, progress=True)
    rows = {
        "typical frame": frames[typical],
        "best frame": frames[best],
        "mean": frames.mean(axis=0),
        "FBA p=11": fused[11],
        f"FBA best p={best_power}": fused[best_power],
        "network": restored,
    }
    scores = {name: score(picture, truth) for name, picture in rows.items()}
    for name, (psnr, ssim) in scores.items():
        print(f"{name:15s} {psnr:6.2f} dB  SSIM {ssim:.3f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({name: {"psnr": p, "ssim": s} for name, (p, s) in scores.items()}, file, indent=2)
    if options.output:
        draw(options.output, rows, scores, truth, options.window)
    return 0


def draw(path, rows, scores, truth, corner=None, side=160):
    """A window of every picture, side by side; without a corner the most detailed one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if corner is None:
        detail = np.hypot(*np.gradient(truth))
        total = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
        corner = np.unravel_index(sums.argmax(), sums.shape)
    top, left = corner
    names = ["typical frame", "best frame", next(n for n in rows if n.startswith("FBA best")), "network"]
    figure = Figure(figsize=(2.3 * (len(names) + 1), 2.75), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, name in zip(figure.subplots(1, len(names) + 1), [*names, "truth"]):
        picture = truth if name == "truth" else rows[name]
        ax.imshow(picture[top : top + side, left : left + side], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(name if name == "truth" else f"{name}\n{scores[name][0]:.1f} dB", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
