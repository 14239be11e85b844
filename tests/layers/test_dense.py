"""Fully connected layers: second formulations, and the spread of their first weights."""

import numpy as np
import pytest

from deconvnet.layers.dense import BurstDense, Dense, burst_dense, dense
from deconvnet.layers.relu import Relu, relu


def test_dense_is_a_sum_over_its_inputs(rng):
    x, weight, bias = rng.random((2, 3, 4)), rng.random((4, 5)), rng.random(5)
    expected = sum(x[..., i, None] * weight[i] for i in range(4)) + bias
    assert np.allclose(dense(x, weight, bias), expected, atol=1e-14)


def test_burst_dense_adds_what_the_mean_frame_says(rng):
    x, own, pooled, bias = rng.random((2, 3, 4)), rng.random((4, 5)), rng.random((4, 5)), rng.random(5)
    y = burst_dense(x, own, pooled, bias)
    for b in range(2):
        mean = (x[b, 0] + x[b, 1] + x[b, 2]) / 3
        for n in range(3):
            assert np.allclose(y[b, n], x[b, n] @ own + mean @ pooled + bias, atol=1e-14)
    order = [2, 0, 1]
    assert np.allclose(burst_dense(x[:, order], own, pooled, bias), y[:, order], atol=1e-14)


@pytest.mark.parametrize("gain", [2**0.5, 0.5])
def test_first_weights_keep_the_variance_up_to_the_gain(rng, gain):
    x = rng.standard_normal((500, 300))
    y, _ = Dense(300, 200, rng, gain=gain, dtype=np.float64).forward(x)
    assert y.std() == pytest.approx(gain, rel=0.03)
    # Of a burst of one frame, the frame's own row and the mean row are the same, and the two weights independent.
    y, _ = BurstDense(300, 200, rng, gain=gain, dtype=np.float64).forward(x[:, None])
    assert y.std() == pytest.approx(gain, rel=0.03)


def test_rectified_units_and_their_gradient_at_and_around_zero():
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    y, cache = Relu().forward(x, train=True)
    assert np.array_equal(y, [0, 0, 0, 3]) and np.array_equal(y, relu(x))
    assert np.array_equal(Relu().backward(np.ones(4), cache), [0, 0, 0, 1])
