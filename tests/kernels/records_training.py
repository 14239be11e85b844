"""Records of the kernels of training: optimiser steps, convolution by unfolding."""

import numpy as np

from deconvnet.kernels.training import im2col as unfold
from deconvnet.kernels.training import optimiser_steps
from tests.kernels.record import SIZES, Record

#: The last one is a single number, like a learned regulariser.
STEP_SIZES = [*SIZES, ()]


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
    columns = unfold.unfold_reference(image, neighbourhood, top, rows)
    return [rng.standard_normal(columns.shape).astype(real), neighbourhood, top, image]


RECORDS = [
    Record(
        "adam_step",
        optimiser_steps.adam_step_reference,
        optimiser_steps.adam_step_numba,
        optimiser_steps.adam_step,
        _adam,
        (0, 2, 3),
        optimiser_steps.adam_step_cuda,
        sizes=STEP_SIZES,
    ),
    Record(
        "momentum_step",
        optimiser_steps.momentum_step_reference,
        optimiser_steps.momentum_step_numba,
        optimiser_steps.momentum_step,
        _momentum,
        (0, 2),
        optimiser_steps.momentum_step_cuda,
        sizes=STEP_SIZES,
    ),
    Record("unfold", unfold.unfold_reference, unfold.unfold_numba, unfold.unfold, block, (), unfold.unfold_cuda),
    Record(
        "fold_add",
        unfold.fold_add_reference,
        unfold.fold_add_numba,
        unfold.fold_add,
        _columns,
        (3,),
        unfold.fold_add_cuda,
    ),
]
