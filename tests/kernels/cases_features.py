"""Cases of the single-photo network's features: fused inference, and convolution with its gradients for training."""

import numpy as np

from deconvnet.kernels.photo.feature_tiles import feature_tiles
from deconvnet.kernels.photo.filter_bank import filter_bank, filter_bank_backward, tanh_rows, tanh_rows_backward
from tests.kernels.case import Case

# (batch, channels, height, width, side of the filters, filters, hidden layers, feature images)
FUSED = (
    (1, 1, 1, 1, 1, 1, 0, 1),
    (2, 1, 24, 45, 4, 32, 1, 4),  # several tiles across; partial ones at the right and below
    (1, 2, 52, 40, 9, 5, 2, 3),  # several tiles down; missing filters
    (1, 2, 33, 49, 17, 32, 1, 16),
    (1, 1, 48, 40, 33, 32, 0, 6),  # filters in several stages
    (2, 3, 65, 66, 65, 32, 3, 4),
    (1, 1, 20, 21, 5, 40, 1, 17),  # more than fit
)
TRAINED = (
    (1, 1, 1, 1, 1, 1),
    (2, 2, 30, 51, 9, 32),
    (1, 3, 71, 80, 17, 7),
    (1, 2, 60, 70, 33, 32),
    (1, 1, 20, 21, 5, 40),
)


def _uniform(rng, real, *shape):
    """Numbers as trained weights have them: the sum over the last two axes is of the order of one."""
    return (rng.uniform(-1, 1, shape) * np.sqrt(3 / np.prod(shape[1:], dtype=float))).astype(real)


def features_case(rng, real, size):
    """Arguments of `feature_tiles`."""
    batch, channels, height, width, side, filters, layers, images = size
    arguments = [rng.standard_normal((batch, channels, height, width)).astype(real)]
    arguments += [_uniform(rng, real, filters, channels, side, side), _uniform(rng, real, filters)]
    *hidden, last = (
        (_uniform(rng, real, count, filters), _uniform(rng, real, count)) for count in [filters] * layers + [images]
    )
    return [*arguments, hidden, last]


def _filters(rng, real, size):
    batch, channels, height, width, side, filters = size
    x = rng.standard_normal((batch, channels, height, width)).astype(real)
    return [x, _uniform(rng, real, filters, channels, side, side), _uniform(rng, real, filters)]


def _gradients(dx_channels):
    def arguments(rng, real, size):
        x, filters, _ = _filters(rng, real, size)
        batch, _, height, width = x.shape
        side = filters.shape[-1]
        dy = rng.standard_normal((batch, height - side + 1, width - side + 1, len(filters))).astype(real)
        return [dy, x, filters, dx_channels]

    return arguments


def _rows(count):
    def arguments(rng, real, size):
        pixels, units = size
        return [rng.standard_normal(size).astype(real), rng.standard_normal((pixels, units)[-count:]).astype(real)]

    return arguments


CASES = [
    Case(feature_tiles, features_case, FUSED),
    Case(filter_bank, _filters, TRAINED),
    Case(filter_bank_backward, _gradients(slice(None)), TRAINED),
    Case(filter_bank_backward, _gradients(None), TRAINED, "filters only"),
    Case(tanh_rows, _rows(1), ((1, 1), (300, 5), (2049, 32)), in_place=(0,)),
    Case(tanh_rows_backward, _rows(2), ((1, 1), (300, 5), (5000, 32)), in_place=(0,)),
]
