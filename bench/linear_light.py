"""Shake blurs light, not the values that files hold: what restoring a photo gains when it works on linear light.

`python bench/linear_light.py` blurs parts of photographs that scikit-image carries in linear light, adds noise of a
sensor, and restores them on stored (sRGB) values and on linear ones; scores are of sRGB values both times.
`--bits 8` stores the blurry picture as most cameras do, 16 is as good as RAW.
"""

from __future__ import annotations

import argparse

import numpy as np
from skimage import data

from deconvnet import deblur
from deconvnet.blur.camera import linear_to_srgb, srgb_to_linear
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr

BORDER = 24
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


def main():
    """Print a row for each photograph and PSF, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16)
    parser.add_argument("--support", type=int, default=15)
    parser.add_argument("--psfs", type=int, default=2, help="for each photograph")
    options = parser.parse_args()
    rng = np.random.default_rng(5)
    rows = []
    for name, (top, left) in PARTS.items():
        light = srgb_to_linear(getattr(data, name)()[top:, left:][:300, :320].astype(np.float32) / 255)
        for _ in range(options.psfs):
            psf = sample_gp_psfs(rng, 1, options.support)[0]
            blurry = np.moveaxis(convolve(np.moveaxis(light, -1, 0).copy(), psf, "reflect"), 0, -1).clip(0, 1)
            blurry = blurry + np.sqrt(2e-4 * blurry + 1e-6) * rng.standard_normal(blurry.shape)
            levels = 2**options.bits - 1
            stored = (np.rint(linear_to_srgb(blurry.clip(0, 1)) * levels) / levels).astype(np.float32)
            found = _restored(stored, psf)
            rows.append({way: _score(picture, linear_to_srgb(light)) for way, picture in found.items()})
            print(f"{name:10s}", *(f"{way} {score:.2f}" for way, score in rows[-1].items()), sep="  ", flush=True)
    print(f"{'mean':10s}", *(f"{way} {np.mean([row[way] for row in rows]):.2f}" for way in rows[0]), sep="  ")


if __name__ == "__main__":
    main()
