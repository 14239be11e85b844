"""Cases of the 3×3 convolutions of images whose channels lie together."""

from deconvnet.kernels.photo.conv3x3 import conv3x3, conv3x3_weights_backward
from tests.kernels.case import Case

# batch, height, width, input and output channels: fewer and more pixels than a block, one and two vectors, many rows
SIZES = ((1, 3, 3, 1, 1), (2, 5, 13, 5, 16), (1, 21, 12, 32, 32), (2, 4, 11, 3, 20), (1, 37, 9, 8, 1))


def _convolution(rng, real, size):
    batch, height, width, channels, outputs = size
    shapes = (batch, height, width, channels), (3, 3, channels, outputs), (outputs,)
    return [rng.standard_normal(shape).astype(real) for shape in shapes]


def _rectified(rng, real, size):
    return [*_convolution(rng, real, size), True]


def _plain(rng, real, size):
    return [*_convolution(rng, real, size), False]


def _weights(rng, real, size):
    batch, height, width, channels, outputs = size
    shapes = (batch, height - 2, width - 2, outputs), (batch, height, width, channels)
    return [rng.standard_normal(shape).astype(real) for shape in shapes]


CASES = [
    Case(conv3x3, _plain, SIZES),
    Case(conv3x3, _rectified, SIZES, "rectified"),
    Case(conv3x3_weights_backward, _weights, SIZES),
]
