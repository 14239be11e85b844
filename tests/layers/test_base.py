"""What all layers share: parameters found by name, weights that fit or are refused; and the list of layers."""

import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

from deconvnet import layers
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.dense import Dense


class _Two(Layer):
    buffer_names = ("mean",)

    def __init__(self, rng):
        self.first = Dense(2, 3, rng)
        self.rest = [Dense(3, 1, rng)]
        self.scale = Parameter(np.ones(1, np.float32))
        self.mean = np.zeros(2, np.float32)


def test_parameters_and_buffers_are_found_by_dotted_names(rng):
    layer = _Two(rng)
    learned = {"first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "scale"}
    assert set(layer.parameters()) == learned
    assert set(layer.state()) == learned | {"mean"}


def test_a_state_goes_from_layer_to_layer_and_keeps_the_dtype(rng):
    layer, other = _Two(rng), _Two(rng).astype(np.float64)
    layer.mean = np.float32([1, 2])
    other.load_state(layer.state())
    for name, array in other.state().items():
        assert array.dtype == np.float64
        assert np.array_equal(array, layer.state()[name])
    other.first.weight.value += 1
    assert not np.array_equal(other.first.weight.value, layer.first.weight.value)


def test_a_state_that_does_not_fit_is_refused_before_anything_changes(rng):
    layer = _Two(rng)
    before = {name: array.copy() for name, array in layer.state().items()}
    for wrong in ({"scale": np.ones(2)}, {"another": np.ones(1)}):
        with pytest.raises(ValueError, match="do not fit"):
            layer.load_state({**{name: array + 1 for name, array in before.items()}, **wrong})
    assert all(np.array_equal(array, before[name]) for name, array in layer.state().items())


def test_zero_grad_clears_what_backward_added_up(rng):
    layer = Dense(2, 3, rng)
    x, dy = np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)
    layer.backward(dy, x)
    once = layer.weight.grad.copy()
    layer.backward(dy, x)
    assert np.array_equal(layer.weight.grad, 2 * once)
    layer.zero_grad()
    assert not layer.weight.grad.any()


def test_a_layer_declares_both_directions(rng):
    with pytest.raises(NotImplementedError, match="_Two has no forward"):
        _Two(rng).forward(np.ones(2))
    with pytest.raises(NotImplementedError, match="_Two has no gradient"):
        _Two(rng).backward(np.ones(2), None)


@pytest.mark.parametrize("name", layers.__all__)
def test_every_layer_is_listed_by_its_name(name):
    value = getattr(layers, name)
    assert value.__name__ == name
    assert name == "Parameter" or issubclass(value, Layer)
    assert f"`{name}`" in layers.__doc__
    assert name in dir(layers)


def test_no_layer_is_missing_from_the_list():
    for file in pkgutil.iter_modules(layers.__path__):
        importlib.import_module(f"deconvnet.layers.{file.name}")
    defined = {sub.__name__ for sub in Layer.__subclasses__() if sub.__module__.startswith("deconvnet.layers.")}
    assert defined <= set(layers.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = layers.Nothing


def test_listing_the_layers_loads_none_of_them():
    code = "import sys, deconvnet.layers; print([m for m in sys.modules if m.startswith('deconvnet.layers.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
