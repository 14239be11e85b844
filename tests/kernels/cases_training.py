"""Cases of the kernels of training: optimiser steps, convolution as a matrix product."""

import numpy as np

from deconvnet.kernels.training.im2col import col2im, im2col
from deconvnet.kernels.training.optimiser_steps import adam_step, momentum_step
from tests.kernels.case import SIZES, Case

#: The last one is a single number, like a learned regulariser.
STEP_SIZES = (*SIZES, ())


def _adam(rng, real, size):
    arrays = [np.asarray(rng.standard_normal(size)).astype(real) for _ in range(3)]
    return [*arrays, np.asarray(rng.random(size)).astype(real), 0.7, 1e-2, 0.9, 0.999, 0.1, 0.01, 1e-8]


def _momentum(rng, real, size):
    return [*(np.asarray(rng.standard_normal(size)).astype(real) for _ in range(3)), 0.7, 1e-2, 0.9]


def block(rng, real, size):
    """An image, the sides of a neighbourhood, and a block of rows that does not start at the top."""
    channels, kh, width = size
    kw = min(3, width)
    return [rng.standard_normal((channels, kh + 6, width)).astype(real), (kh, kw), 2, 4]


def _columns(rng, real, size):
    image, neighbourhood, top, rows = block(rng, real, size)
    columns = im2col.reference(image, neighbourhood, top, rows)
    return [rng.standard_normal(columns.shape).astype(real), neighbourhood, top, image]


CASES = [
    Case(adam_step, _adam, STEP_SIZES, in_place=(0, 2, 3)),
    Case(momentum_step, _momentum, STEP_SIZES, in_place=(0, 2)),
    Case(im2col, block),
    Case(col2im, _columns, in_place=(3,)),
]
