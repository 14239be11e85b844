"""Shake blurs light, not the values that files hold: what restoring a photo gains when it works on linear light.

`python bench/linear_light.py` blurs parts of photographs that scikit-image carries in linear light, adds noise of a
sensor, and restores them on stored (sRGB) values and on linear ones; scores are of sRGB values both times.
`--bits 8` stores the blurry picture as most cameras do, 16 is as good as RAW. `--burst` restores bursts of five frames
from under a Bayer mosaic instead, as RAW files hold them.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.ndimage import convolve as correlated
from skimage import data

from deconvnet import deblur, deblur_burst
from deconvnet.blur.camera import linear_to_srgb, srgb_to_linear
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr

BORDER, FRAMES = 24, 5
PARTS = {"astronaut": (0, 120), "coffee": (60, 100), "chelsea": (0, 80), "rocket": (60, 200)}


def _score(picture, truth):
    """PSNR at the best shift: a blind estimate knows the scene up to one."""
    places = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
    return max(float(psnr(np.roll(picture, place, (0, 1)), truth, border=BORDER)) for place in places)


def _restored(blurry, psf):
    """The results by the way they were made, all in sRGB."""
    light = srgb_to_linear(blurry)
    return {
        "before": blurry,
        "blind, stored": deblur(blurry),
        "blind, linear": linear_to_srgb(deblur(light)),
        "true PSF, stored": deblur(blurry, psf=psf),
        "true PSF, linear": linear_to_srgb(deblur(light, psf=psf)),
    }


def _through_a_mosaic(light):
    """What bilinear interpolation makes of one colour a pixel."""
    around = np.outer([1, 2, 1], [1, 2, 1]) / 4
    found = np.empty_like(light)
    for colour, places in enumerate(([(0, 0)], [(0, 1), (1, 0)], [(1, 1)])):
        seen = np.zeros(light.shape[:2], np.float32)
        for row, column in places:
            seen[row::2, column::2] = 1
        found[..., colour] = correlated(seen * light[..., colour], around) / correlated(seen, around)
    return found


def _blurred(light, psf, rng, noise):
    """Linear light under a PSF, with noise of a sensor."""
    blurry = np.moveaxis(convolve(np.moveaxis(light, -1, 0).copy(), psf, "reflect"), 0, -1).clip(0, 1)
    return (blurry + np.sqrt(noise * blurry + 1e-6) * rng.standard_normal(blurry.shape)).astype(np.float32)


def _restored_bursts(light, psfs, rng, noise):
    """The same for a burst of as many frames, and the truth, both through a mosaic."""
    frames = [_through_a_mosaic(_blurred(light, psf, rng, noise)).clip(0, 1) for psf in psfs]
    stored = [linear_to_srgb(frame) for frame in frames]
    truth = linear_to_srgb(_through_a_mosaic(light))
    found = {
        "best frame": max(stored, key=lambda frame: _score(frame, truth)),
        "stored": deblur_burst(stored, register="none"),
        "linear": linear_to_srgb(deblur_burst(frames, register="none")),
    }
    return found, truth


def main():
    """Print a row for each photograph and PSF or burst, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16)
    parser.add_argument("--support", type=int, default=15)
    parser.add_argument("--psfs", type=int, default=2, help="for each photograph")
    parser.add_argument("--burst", action="store_true", help="bursts, not single photographs")
    parser.add_argument("--noise", type=float, default=2e-4, help="variance at full light (default 2e-4)")
    options = parser.parse_args()
    rng = np.random.default_rng(5)
    rows = []
    for name, (top, left) in PARTS.items():
        light = srgb_to_linear(getattr(data, name)()[top:, left:][:300, :320].astype(np.float32) / 255)
        for _ in range(options.psfs):
            if options.burst:
                psfs = sample_gp_psfs(rng, FRAMES, options.support)
                found, truth = _restored_bursts(light, psfs, rng, options.noise)
            else:
                psf = sample_gp_psfs(rng, 1, options.support)[0]
                levels, blurry = 2**options.bits - 1, _blurred(light, psf, rng, options.noise)
                stored = (np.rint(linear_to_srgb(blurry.clip(0, 1)) * levels) / levels).astype(np.float32)
                found, truth = _restored(stored, psf), linear_to_srgb(light)
            rows.append({way: _score(picture, truth) for way, picture in found.items()})
            print(f"{name:10s}", *(f"{way} {score:.2f}" for way, score in rows[-1].items()), sep="  ", flush=True)
    print(f"{'mean':10s}", *(f"{way} {np.mean([row[way] for row in rows]):.2f}" for way in rows[0]), sep="  ")


if __name__ == "__main__":
    main()
