"""Case of the cutting of training crops."""

import numpy as np

from deconvnet.kernels.synthesis.crops import copy_crop, cut_crops, gradient_shares
from tests.kernels.case import Case

PHOTOGRAPHS = ((40, 33), (25, 60))


def _places(rng, real, size):
    """Flat photographs with one textured half each, so that some places are good and others are not."""
    batch, places, side = size
    photographs = [np.full(shape, 90, np.uint8) for shape in PHOTOGRAPHS]
    for photograph in photographs:
        half = photograph[:, : photograph.shape[1] // 2]
        half[...] = rng.integers(0, 256, half.shape)
    which = rng.integers(len(photographs), size=(batch, places))
    height, width = np.moveaxis(np.array(PHOTOGRAPHS)[which], -1, 0)
    top, left = (rng.integers(0, length - side + 1) for length in (height, width))
    start = np.array([0, photographs[0].size])[which] + top * width + left
    levels = np.concatenate([photograph.reshape(-1) for photograph in photographs])
    transform = (rng.permutation(max(8, batch)) % 8)[:batch].astype(np.int32)
    least = side * (side - 1) // 2
    return [levels, start, width.astype(np.int64), side, 13, least, transform, rng.random(256).astype(real)]


def _photo(rng, real, size):
    height, width, side = size
    photo = rng.integers(0, 256, (height, width), dtype=np.uint8)
    return [photo, height - side, (width - side) // 2, side]


def _shares(rng, real, size):
    return [*_photo(rng, real, size), 60]


def _copy(transform):
    def arguments(rng, real, size):
        photo, y, x, side = _photo(rng, real, size)
        return [photo, y, x, transform, rng.random(256).astype(real), np.zeros((side, side), real)]

    return arguments


CASES = [
    Case(cut_crops, _places, ((1, 1, 2), (9, 4, 17), (3, 1, 25))),
    Case(gradient_shares, _shares, ((2, 2, 2), (40, 50, 21)), result="float64"),
    *(Case(copy_crop, _copy(t), ((1, 1, 1), (40, 50, 21)), f"transform {t}", in_place=(5,)) for t in range(8)),
]
