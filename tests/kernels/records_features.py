"""Records of the single-photo network's features: fused inference, and convolution with its gradients for training."""

import numpy as np

from deconvnet.kernels.photo import feature_tiles
from deconvnet.layers.conv import conv, conv_backward
from tests.kernels.record import Record

# (batch, channels, height, width, side of the filters, filters, hidden layers, feature images)
FUSED = (
    (1, 1, 1, 1, 1, 1, 0, 1),
    (2, 1, 24, 45, 4, 32, 1, 4),  # several tiles across; partial ones at the right and below
    (1, 2, 52, 40, 9, 5, 2, 3),  # several tiles down; missing filters
    (1, 2, 33, 49, 17, 32, 1, 16),
    (1, 1, 48, 40, 33, 32, 0, 6),  # filters in several stages
    (2, 3, 65, 66, 65, 32, 3, 4),
)
TRAINED = ((1, 1, 1, 1, 1, 1), (2, 2, 30, 51, 9, 32), (1, 3, 71, 80, 17, 7), (1, 2, 60, 70, 33, 32))


def _uniform(rng, real, *shape):
    """Numbers as trained weights have them: the sum over the last two axes is of the order of one."""
    return (rng.uniform(-1, 1, shape) * np.sqrt(3 / np.prod(shape[1:], dtype=float))).astype(real)


def features_case(rng, real, size):
    """Arguments of `feature_tiles`, weights and biases of the recombinations one after the other."""
    batch, channels, height, width, side, filters, layers, images = size
    arguments = [rng.standard_normal((batch, channels, height, width)).astype(real)]
    arguments += [_uniform(rng, real, filters, channels, side, side), _uniform(rng, real, filters)]
    for count in [filters] * layers + [images]:
        arguments += [_uniform(rng, real, count, filters), _uniform(rng, real, count)]
    return arguments


def _paired(body):
    """The body with weights and biases of its recombinations one after the other, as plain arguments."""

    def with_pairs(x, filters, bias, *mixes):
        pairs = list(zip(mixes[::2], mixes[1::2]))
        return body(x, filters, bias, pairs[:-1], pairs[-1])

    return with_pairs


def _conv(rng, real, size):
    batch, channels, height, width, side, filters = size
    x = rng.standard_normal((batch, channels, height, width)).astype(real)
    activate = side != 17
    return [x, _uniform(rng, real, filters, channels, side, side), _uniform(rng, real, filters), activate]


def _conv_tanh_reference(x, filters, bias, activate):
    y = conv(x, filters, bias, border="valid")
    y = np.tanh(y) if activate else y
    missing = feature_tiles.FILTERS - len(filters)
    return np.pad(y.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, 0), (0, missing)))


def _conv_tanh(x, filters, bias, activate):
    return feature_tiles.conv_tiles(x, filters, bias, activate=activate)


def _conv_gradients(rng, real, size):
    x, filters, _, _ = _conv(rng, real, size)
    batch, _, height, width = x.shape
    side = filters.shape[-1]
    dy = np.zeros((batch, height - side + 1, width - side + 1, feature_tiles.FILTERS), real)
    dy[..., : len(filters)] = rng.standard_normal((*dy.shape[:3], len(filters)))
    return [dy, x, filters]


def _conv_backward_reference(dy, x, filters):
    images = np.ascontiguousarray(dy[..., : len(filters)].transpose(0, 3, 1, 2))
    return conv_backward(images, x, filters, border="valid")[:2]


def _conv_backward(dy, x, filters):
    return feature_tiles.conv_tiles_backward(dy, x, filters, dx_channels=slice(None))


RECORDS = [
    Record(
        "feature_tiles",
        _paired(feature_tiles.feature_tiles_reference),
        _paired(feature_tiles.feature_tiles_numba),
        _paired(feature_tiles.feature_tiles),
        features_case,
        cuda=_paired(feature_tiles.feature_tiles_cuda),
        sizes=FUSED,
    ),
    Record("conv_tiles", _conv_tanh_reference, _conv_tanh, None, _conv, sizes=TRAINED),
    Record("conv_tiles_backward", _conv_backward_reference, _conv_backward, None, _conv_gradients, sizes=TRAINED),
]
