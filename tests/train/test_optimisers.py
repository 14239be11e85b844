"""Optimisers on a problem with a known solution, schedules, clipping, and the moving average."""

import numpy as np
import pytest

from deconvnet.layers.base import Parameter
from train.optimisers import SGD, Adadelta, Adam, MovingAverage, gradient_norm, make_schedule


def _minimise(optimiser, parameters, target, rate, steps):
    for step in range(1, steps + 1):
        for p in parameters.values():
            p.grad[...] = 2 * (p.value - target)
        optimiser.step(rate, step, gradient_norm(parameters))


@pytest.mark.parametrize(("make", "rate"), [(Adam, 0.05), (SGD, 0.02)])
def test_optimisers_find_the_minimum(rng, make, rate):
    parameters = {"w": Parameter(rng.standard_normal((4, 3)))}
    _minimise(make(parameters), parameters, 1.5, rate, 400)
    assert np.allclose(parameters["w"].value, 1.5, atol=1e-3)


@pytest.mark.parametrize("make", [Adam, SGD, Adadelta])
def test_moments_carried_over_continue_bit_for_bit(rng, make):
    start = rng.standard_normal(50).astype(np.float32)
    whole, first = {"w": Parameter(start.copy())}, {"w": Parameter(start.copy())}
    _minimise(make(whole, clip=1.0), whole, 0.3, 0.01, 20)
    optimiser = make(first, clip=1.0)
    _minimise(optimiser, first, 0.3, 0.01, 12)
    second = {"w": Parameter(first["w"].value.copy())}
    resumed = make(second, clip=1.0)
    resumed.load_state({k: v.copy() for k, v in optimiser.state().items()})
    for step in range(13, 21):
        second["w"].grad[...] = 2 * (second["w"].value - 0.3)
        resumed.step(0.01, step, gradient_norm(second))
    assert np.array_equal(whole["w"].value, second["w"].value)


def test_adadelta_takes_the_steps_of_its_formula():
    p = {"w": Parameter(np.array([2.0]))}
    optimiser = Adadelta(p, decay=0.9, epsilon=1e-4)
    value, gradients, updates = 2.0, 0.0, 0.0
    for g in (3.0, -1.0, 0.5):
        p["w"].grad[...] = g
        optimiser.step(0.5, 1, abs(g))
        gradients = 0.9 * gradients + 0.1 * g * g
        delta = g * np.sqrt((updates + 1e-4) / (gradients + 1e-4))
        updates = 0.9 * updates + 0.1 * delta**2
        value -= 0.5 * delta
    assert p["w"].value[0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("make", [Adam, SGD, Adadelta])
def test_parameters_that_are_not_to_be_changed_keep_value_and_moments(rng, make):
    p = {"w": Parameter(rng.standard_normal(4)), "v": Parameter(rng.standard_normal(4))}
    optimiser = make(p)
    for step in (1, 2):
        for q in p.values():
            q.grad[...] = 1.0
        before = {name: a.copy() for name, a in optimiser.state().items()} | {"v": p["v"].value.copy()}
        optimiser.step(0.1, step, 1.0, only=None if step == 1 else {"w"})
    assert np.array_equal(p["v"].value, before["v"])
    for name, moment in optimiser.state().items():
        assert np.array_equal(moment, before[name]) == name.startswith("v/")


def test_clipping_bounds_the_step():
    p = {"w": Parameter(np.zeros(4))}
    p["w"].grad[...] = [300.0, 0, 400.0, 0]
    SGD(p, clip=1.0).step(1.0, 1, gradient_norm(p))
    assert np.allclose(p["w"].value, [-0.6, 0, -0.8, 0])


def test_gradient_norm_of_a_non_finite_gradient_is_infinite():
    p = {"w": Parameter(np.zeros(4))}
    p["w"].grad[1] = np.nan
    assert gradient_norm(p) == np.inf


def test_schedules():
    cosine, step = make_schedule("cosine", 2.0, 1000), make_schedule("step", 2.0, 20000)
    assert cosine(0) == pytest.approx(0.02)
    assert cosine(500) == pytest.approx(1.0)
    assert cosine(1000) == pytest.approx(0.0)
    assert step(4999) == pytest.approx(2.0)
    assert step(5000) == pytest.approx(1.6)
    assert make_schedule("constant", 2.0, 10, warmup=0)(7) == 2.0


def test_moving_average_follows_and_gives_the_weights_back(rng):
    p = {"w": Parameter(rng.standard_normal(5))}
    average = MovingAverage(p, decay=0.9)
    p["w"].value[...] = 4.0
    for _ in range(200):
        average.update()
    p["w"].value[...] = -1.0
    with average.applied():
        assert np.allclose(p["w"].value, 4.0, atol=1e-6)
    assert np.all(p["w"].value == -1.0)
    average.restart(["w"])
    with average.applied():
        assert np.all(p["w"].value == -1.0)
