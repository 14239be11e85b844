"""Cases of the window that fades images into a grid of zeros."""

from deconvnet.kernels.photo.fade import fade_crop, fade_pad
from tests.kernels.case import Case

SIZES = ((1, 1, 1), (3, 7, 12), (2, 20, 17))


def _pad(rng, real, size):
    _, height, width = size
    images = rng.standard_normal(size).astype(real)
    return [images, rng.random(height).astype(real), rng.random(width).astype(real), (height + 3, width + 5)]


def _crop(rng, real, size):
    images, down, across, grid = _pad(rng, real, size)
    return [rng.standard_normal((len(images), *grid)).astype(real), down, across]


CASES = [Case(fade_pad, _pad, SIZES), Case(fade_crop, _crop, SIZES)]
