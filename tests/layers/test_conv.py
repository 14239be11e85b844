"""2-D convolution against SciPy's and against central differences."""

import numpy as np
import pytest
import scipy.signal

from deconvnet.errors import DeconvnetError
from deconvnet.layers.conv import Conv, conv, conv_backward
from deconvnet.testing import TOLERANCE, dottest, gradcheck

SHAPES = [((2, 3, 9, 8), (4, 3, 3, 5)), ((1, 1, 7, 10), (2, 1, 4, 2)), ((2, 2, 6, 6), (1, 2, 1, 1))]


def _arrays(shapes, dtype=np.float64):
    rng = np.random.default_rng(4)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _by_scipy(x, filters, border):
    """Full convolution, cropped so that the filter's centre is at (kh // 2, kw // 2)."""
    y = []
    for image in x:
        for bank in filters:
            full = sum(scipy.signal.convolve2d(channel, f) for channel, f in zip(image, bank))
            (kh, kw), (h, w) = filters.shape[2:], x.shape[2:]
            crop = (kh - 1, kw - 1, h, w) if border == "valid" else (kh // 2, kw // 2, kh // 2 + h, kw // 2 + w)
            y.append(full[crop[0] : crop[2], crop[1] : crop[3]])
    return np.reshape(y, (x.shape[0], filters.shape[0], *y[0].shape))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("border", ["valid", "same"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_convolution_agrees_with_scipy(shapes, border, dtype):
    x, filters, bias = _arrays([*shapes, shapes[1][:1]], dtype)
    y = conv(x, filters, bias, border=border)
    expected = _by_scipy(x, filters, border) + bias[:, None, None]
    assert y.dtype == dtype
    assert y.shape == expected.shape
    assert abs(y - expected).max() <= TOLERANCE[y.dtype.name] * abs(expected).max()


@pytest.mark.parametrize("border", ["valid", "same"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_input_gradient_is_the_adjoint(shapes, border):
    x, filters = _arrays(shapes)
    y = np.random.default_rng(5).standard_normal(conv(x, filters, border=border).shape)
    dottest(lambda a: conv(a, filters, border=border), lambda dy: conv_backward(dy, x, filters, border=border)[0], x, y)


@pytest.mark.parametrize("border", ["valid", "same"])
def test_gradients_of_the_layer(border):
    rng = np.random.default_rng(6)
    gradcheck(Conv(2, 3, 4, rng, border=border, dtype=np.float64), rng.standard_normal((2, 2, 8, 7)))


def test_a_delta_in_the_centre_changes_nothing_with_border_same():
    (x,) = _arrays([(1, 1, 6, 9)])
    for kh, kw in [(3, 5), (4, 6)]:
        delta = np.zeros((1, 1, kh, kw))
        delta[0, 0, kh // 2, kw // 2] = 1
        assert np.array_equal(conv(x, delta, border="same"), x)


def test_refusals_name_the_mistake():
    x, filters = _arrays([(1, 2, 5, 5), (1, 2, 7, 7)])
    with pytest.raises(DeconvnetError, match="border"):
        conv(x, filters, border="reflect")
    with pytest.raises(DeconvnetError, match="smaller"):
        conv(x, filters, border="valid")
    with pytest.raises(DeconvnetError, match="channels"):
        conv(x[:, :1], filters, border="same")
