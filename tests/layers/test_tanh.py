"""tanh and its gradient."""

import numpy as np
import pytest

from deconvnet.layers.tanh import Tanh, tanh
from deconvnet.testing import gradcheck


def test_gradient_of_tanh():
    gradcheck(Tanh(), np.random.default_rng(1).standard_normal((2, 3, 4)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_keeps_the_dtype_and_its_input_and_saturates(dtype):
    x = np.array([-50.0, 0.0, 0.5, 50.0], dtype=dtype)
    before = x.copy()
    y = tanh(x)
    assert y.dtype == dtype
    assert np.array_equal(x, before)
    assert np.allclose(y, [-1, 0, (np.e - 1) / (np.e + 1), 1], atol=1e-6)


def test_tanh_keeps_nothing_at_inference():
    assert Tanh().forward(np.ones(3))[1] is None
