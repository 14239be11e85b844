"""Every layer's backward against central differences in float64, on every device.

One row per layer. A new layer belongs in this table.
"""

import numpy as np
import pytest

from deconvnet.backend import to_device
from deconvnet.layers.dense import BurstDense, Dense
from deconvnet.layers.losses import (
    clipped_squared_error,
    log_squared_error,
    relative_psf_error,
    squared_error,
    squared_psf_error,
)
from deconvnet.layers.psf_softmax import PsfSoftmax
from deconvnet.layers.quotient import Quotient
from deconvnet.layers.relu import Relu
from deconvnet.testing import gradcheck

F64 = np.float64


def _uniform(low, high):
    return lambda rng, shape: rng.uniform(low, high, shape)


CASES = {
    "dense": (lambda rng: Dense(5, 4, rng, dtype=F64), [(3, 2, 5)]),
    "burst dense": (lambda rng: BurstDense(5, 4, rng, dtype=F64), [(3, 4, 5)]),
    "burst dense, two frames": (lambda rng: BurstDense(3, 6, rng, dtype=F64), [(1, 2, 3)]),
    "relu": (lambda rng: Relu(), [(3, 7)]),
    "psf softmax": (lambda rng: PsfSoftmax(5), [(2, 3, 25)]),
    "quotient, fixed beta": (lambda rng: Quotient(0.3, dtype=F64), [(2, 3, 8, 9), (2, 3, 8, 9)]),
    "quotient, scalar beta": (lambda rng: Quotient(0.3, learned=True, dtype=F64), [(2, 2, 9, 8), (2, 2, 9, 8)]),
    "quotient, beta per frequency": (
        lambda rng: Quotient(rng.uniform(0.2, 0.9, (7, 4)), learned=True, dtype=F64),
        [(2, 3, 7, 7), (2, 3, 7, 7)],
    ),
    "quotient, one pair": (lambda rng: Quotient(0.3, learned=True, dtype=F64), [(1, 1, 6, 6), (1, 1, 6, 6)]),
}


@pytest.mark.parametrize("name", CASES)
def test_backward_is_the_gradient_of_forward(name, rng, device):
    build, shapes = CASES[name]
    layer = build(rng).to(device)
    if name.startswith("quotient, fixed"):
        layer.fixed_beta = to_device(layer.fixed_beta, device)
    inputs = [to_device(rng.standard_normal(shape), device) for shape in shapes]
    gradcheck(layer, *inputs, rng=rng)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_several_calls_add_up(name, rng):
    build, shapes = CASES[name]
    layer = build(rng)
    out, cache = layer.forward(*(rng.standard_normal(shape) for shape in shapes), train=True)
    dout = rng.standard_normal(out.shape)
    layer.backward(dout, cache)
    once = {key: p.grad.copy() for key, p in layer.parameters().items()}
    layer.backward(dout, cache)
    for key, p in layer.parameters().items():
        assert np.abs(once[key]).max() > 0 and np.allclose(p.grad, 2 * once[key], rtol=1e-12), key


LOSSES = {
    "squared": (squared_error, (4, 5, 5)),
    "clipped": (lambda p, t: clipped_squared_error(p, t, 0.4), (4, 5, 5)),
    "log": (log_squared_error, (4, 5, 5)),
    "psf": (relative_psf_error, (2, 3, 5, 5)),
    "squared psf": (squared_psf_error, (2, 3, 5, 5)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_return_their_own_gradient(name, rng, device):
    loss, shape = LOSSES[name]
    truth = to_device(rng.random(shape), device)
    prediction = to_device(rng.random(shape), device)

    def forward(p, train=False):
        value, gradient = loss(p, truth)
        return value, gradient

    gradcheck((forward, lambda dvalue, gradient: dvalue * gradient), prediction, rng=rng)


def test_losses_have_the_values_of_their_formulas(rng):
    prediction, truth = rng.random((2, 3, 5, 5))
    error = ((prediction - truth) ** 2).reshape(3, -1)
    assert squared_error(prediction, truth)[0] == pytest.approx(error.mean())
    assert clipped_squared_error(prediction, truth, 0.4)[0] == pytest.approx(np.minimum(error, 0.16).mean())
    assert log_squared_error(prediction, truth, 0.01)[0] == pytest.approx(np.log(error.mean(axis=1) + 0.01).mean() / 2)
    energy = (truth**2).sum(axis=(1, 2))
    assert relative_psf_error(prediction, truth)[0] == pytest.approx((error.sum(axis=1) / energy).mean())


def test_the_log_loss_weighs_patches_by_ratio(rng):
    truth = np.zeros((2, 4, 4))
    prediction = np.stack([np.full((4, 4), 0.1), np.full((4, 4), 1.0)])
    _, gradient = log_squared_error(prediction, truth, floor=0.0)
    energy = (gradient * prediction).sum(axis=(1, 2))
    assert energy[0] == pytest.approx(energy[1])
