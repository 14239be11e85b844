"""Cases of the kernels that make training bursts: PSFs of camera paths, blurred and noisy frames, JPEG."""

import numpy as np
from scipy.ndimage import gaussian_filter

from deconvnet.kernels.synthesis.burst_synthesis import synthesised_frames
from deconvnet.kernels.synthesis.counter_random import draw_keys
from deconvnet.kernels.synthesis.dead_leaves import FIELDS, paint_leaves
from deconvnet.kernels.synthesis.jpeg import jpeg_degradation
from deconvnet.kernels.synthesis.psf_sampling import gp_psfs, recorded_psfs
from tests.kernels.case import Case


def _gp(rng, real, size):
    """Sizes are PSFs, side, samples."""
    count, side, samples = size
    extent = rng.uniform(0, 0.8 * (side - 1), count)
    extent[::3] = 0
    return [draw_keys(rng, (count,)), extent, rng.uniform(-0.4, 0.4, (count, 2)) * (side > 1), side, samples]


def _recorded(rng, real, size):
    count, side, samples = size
    angles = np.cumsum(rng.standard_normal((300, 3)), axis=0)
    extent = rng.uniform(0, side, count)
    extent[2::3] = 0
    shift = rng.uniform(-0.4, 0.4, (count, 2)) * (side > 1)
    stretch = rng.uniform(0, 150, count), rng.uniform(0.1, 140 / samples, count)
    return [angles, *stretch, rng.standard_normal((count, 2, 3)), extent, shift, side, samples]


def _images(rng, real, size):
    """Sizes are images, height, width."""
    images = np.clip(0.5 + 2 * gaussian_filter(rng.standard_normal(size), (0, 1.5, 1.5)), 0, 1).astype(real)
    quality = np.resize([95.0, 70.0, 0.0, 30.0, 1.0], size[0])
    return [images, quality, rng.integers(0, 8, (size[0], 2))]


def _burst(**ranges):
    """Arguments of `synthesised_frames`; sizes are bursts, frames, side of the crop, side of the PSF."""

    def arguments(rng, real, size):
        bursts, frames, side, taps = size
        psfs = rng.random((bursts, frames, taps, taps)) ** 6
        psfs[psfs < 0.1 * psfs.max(axis=(2, 3), keepdims=True)] = 0
        psfs = (psfs / psfs.sum((2, 3), keepdims=True)).astype(real)
        given = {
            name: None if (low, high) == (0, 0) else rng.uniform(low, high, (bursts, frames)).astype(real)
            for name, (low, high) in (_OFF | {k: v for k, v in ranges.items() if isinstance(v, tuple)}).items()
        }
        for name in ("read", "shot", "grain"):
            if given[name] is None:
                given[name] = np.zeros((bursts, frames), real)
            given[name][0, 0] = 0  # a frame without
        return [
            rng.random((bursts, side, side)).astype(real),
            psfs,
            draw_keys(rng, (bursts, frames)),
            *(given[name] for name in ("gain", "angle", "read", "shot", "grain")),
            ranges.get("clip", False),
            ranges.get("srgb", False),
            given["quality"],
            rng.integers(0, 8, (bursts, frames, 2)),
        ]

    return arguments


_OFF = {"gain": (1, 1), "angle": (0, 0), "read": (0, 0), "shot": (0, 0), "grain": (0, 0), "quality": (0, 0)}
_BURSTS = ((1, 1, 9, 1), (2, 3, 44, 7), (1, 2, 70, 30))  # the last has more taps than a block has threads


def _leaves(rng, real, size):
    count, _ = size
    places, axes = rng.uniform(0, 64, (count, 2)), rng.uniform(2, 12, (count, 2))
    shapes = rng.choice([0, 1, 3, 4, 5, 6], count)
    leaves = np.column_stack([places, axes, rng.uniform(0, 6, count), shapes, rng.uniform(0, 1, (count, 7))])
    assert leaves.shape[1] == len(FIELDS)
    return [leaves, 64]


def _burst_case(variant, tolerance=None, outliers=0.0, **ranges):
    return Case(synthesised_frames, _burst(**ranges), _BURSTS, variant, tolerance=tolerance, outliers=outliers)


_PSFS = ((1, 1, 2), (4, 12, 150), (7, 25, 600))
_FLOAT_PSFS = {"sizes": _PSFS, "result": "float32", "tolerance": 2e-5}  # in float32 whatever the arguments are

CASES = [
    Case(gp_psfs, _gp, **_FLOAT_PSFS),
    Case(recorded_psfs, _recorded, **_FLOAT_PSFS),
    Case(paint_leaves, _leaves, ((1, 64), (60, 64)), result="float64", tolerance=1e-9),
    # Ties are rounded either way.
    Case(jpeg_degradation, _images, ((1, 8, 8), (3, 9, 21), (5, 45, 53)), outliers=0.03),
    _burst_case("blur"),
    _burst_case("rotation and gain", angle=(-0.01, 0.01), gain=(0.8, 1.2)),
    # Noise is made in float32, and the CPU's sRGB curve is a polynomial.
    _burst_case("noise", tolerance=2e-6, read=(1e-4, 1e-3), shot=(1e-4, 1e-2), grain=(0.1, 0.5)),
    _burst_case("clipped, sRGB", tolerance=3e-6, read=(1e-4, 1e-3), clip=True, srgb=True),
    _burst_case("JPEG", 1e-5, 0.02, angle=(-0.01, 0.01), shot=(1e-4, 1e-3), clip=True, srgb=True, quality=(40.0, 95.0)),
]
