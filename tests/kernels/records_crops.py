"""Record of the cutting of training crops."""

import numpy as np

from deconvnet.kernels.synthesis import crops
from tests.kernels.record import Record

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


RECORDS = [
    Record(
        "cut_crops",
        crops.cut_crops_reference,
        None,
        crops.cut_crops,
        _places,
        cuda=crops.cut_crops_cuda,
        sizes=((1, 1, 2), (9, 4, 17), (3, 1, 25)),
    ),
]
