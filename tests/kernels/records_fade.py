"""Records of the window that fades images into a grid of zeros."""

from deconvnet.kernels.photo import fade
from tests.kernels.record import Record

SIZES = [(1, 1, 1), (3, 7, 12), (2, 20, 17)]


def _pad(rng, real, size):
    _, height, width = size
    images = rng.standard_normal(size).astype(real)
    return [images, rng.random(height).astype(real), rng.random(width).astype(real), (height + 3, width + 5)]


def _crop(rng, real, size):
    images, down, across, grid = _pad(rng, real, size)
    return [rng.standard_normal((len(images), *grid)).astype(real), down, across]


RECORDS = [
    Record(
        "fade_pad",
        fade.fade_pad_reference,
        fade.fade_pad_numba,
        fade.fade_pad,
        _pad,
        (),
        fade.fade_pad_cuda,
        sizes=SIZES,
    ),
    Record(
        "fade_crop",
        fade.fade_crop_reference,
        fade.fade_crop_numba,
        fade.fade_crop,
        _crop,
        (),
        fade.fade_crop_cuda,
        sizes=SIZES,
    ),
]
