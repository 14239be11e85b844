"""Model files: those that cannot be right are refused in one line, before anything is built."""

import json
import pickle
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from deconvnet.errors import DeconvnetError
from deconvnet.networks import io
from deconvnet.networks.config import SCHEMAS, check_config
from deconvnet.networks.io import build_network, load_network, save_network
from deconvnet.weights import shipped_models

SCALE = {"psf_size": 5, "stages": 1, "filters": 3, "filter_size": 3, "hidden_layers": 1, "features": [2]}
SMALL = {
    "quotient": {"psf_size": 9, "widths": (8, 8), "refinement_width": 8},
    "compact": {"frames": 2, "w1": 4, "w2": 4, "g": 4, "layers": 1},
    "pyramid": {"scales": [SCALE]},
    "scale-free": {"filters": 2, "filter_size": 3, "levels": 2},
    "two-step": {"width": 4, "depth": 2},
}


@pytest.fixture
def refusal(tmp_path, monkeypatch):
    """Change the record or the arrays of a small pyramid, load it, and return the line that refuses it."""
    network = build_network("pyramid", SMALL["pyramid"])
    arrays = {name: np.asarray(array) for name, array in network.state().items()}
    record = {"kind": "photo", "network": "pyramid", "config": network.config, "training": {}}

    def run(change_record=None, change_arrays=None, *, built=False):
        config = json.loads(json.dumps(record))
        path = tmp_path / "model.safetensors"
        path.write_bytes(
            save(arrays | (change_arrays or {}), {"deconvnet": json.dumps(config | (change_record or {}))})
        )
        with monkeypatch.context() as patch:
            if not built:
                patch.setattr(io, "build_network", None)  # must not be reached
            with pytest.raises(DeconvnetError) as found:
                load_network(path, kind="photo")
        assert "\n" not in str(found.value) and str(path) in str(found.value)
        return str(found.value)

    return run


@pytest.mark.parametrize("name", SMALL)
def test_every_network_goes_round(tmp_path, name):
    network = build_network(name, SMALL[name], rng=np.random.default_rng(3))
    save_network(tmp_path / "model.safetensors", network)
    again = load_network(tmp_path / "model.safetensors", kind=network.kind)
    assert again.config == network.config
    for key, array in network.state().items():
        np.testing.assert_array_equal(again.state()[key], array)


def test_schemas_cover_every_network_and_what_ships():
    for name in SCHEMAS:
        config = SMALL.get(name, {"w1": 4, "w2": 4, "g": 4, "layers": 1})
        network = build_network(name, config)
        assert set(network.config) == set(SCHEMAS[name])
        check_config(name, network.config, 10_000)
    for name in shipped_models():
        load_network(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foo": 1}, "without the entry 'foo'"),
        ({"depth": "many"}, "'depth' is a whole number"),
        ({"depth": None}, "'depth' is"),
        ({"depth": -1}, "'depth' is"),
        ({"depth": True}, "'depth' is"),
        ({"depth": 10**9}, "'depth' is"),
        ({"scales": []}, "'scales' is a list"),
        ({"scales": "ab"}, "'scales' is a list"),
        ({"scales": [1]}, "names and values"),
        ({"scales": [{**SCALE, "filters": 10**9}]}, "'filters' is a whole number"),
        ({"scales": [{**SCALE, "filters": 60_000}]}, "widths are those of its weights"),
        ({"scales": [{**SCALE, "psf_size": 4}]}, "'psf_size' is an odd number"),
        ({"scales": [{**SCALE, "features": []}]}, "'features' is a list"),
        ({"scales": [{**SCALE, "features": [1.5]}]}, "entries that are a whole number"),
        ({"scales": [{**SCALE, "stages": 2}]}, "as many features as stages"),
        ({"scales": [{k: v for k, v in SCALE.items() if k != "filters"}]}, "with the entry 'filters'"),
        ({"scales": [{**SCALE, "targets": "all"}]}, "one of learned, gradients"),
    ],
)
def test_configurations_that_cannot_be_are_refused_before_building(refusal, change, message):
    network = build_network("pyramid", SMALL["pyramid"])
    assert message in refusal({"config": {**network.config, **change}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": [1]}, "names and values"),
        ({"config": None}, "names and values"),
        ({"network": "resnet"}, "no network 'resnet'"),
        ({"network": ["pyramid"]}, "no network"),
        ({"kind": "burst"}, "for a burst"),
        ({"network": "quotient"}, "without the entry"),
    ],
)
def test_records_that_cannot_be_are_refused(refusal, change, message):
    assert message in refusal(change)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full(3, np.nan, np.float32), "not finite"),
        (np.full(3, np.inf, np.float32), "not finite"),
        (np.ones(3, np.int64), "floats are wanted"),
        (np.ones(3, bool), "floats are wanted"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused(refusal, array, message):
    assert message in refusal(None, {"scales.0.stages.0.features.conv.bias": array})


def test_weights_that_do_not_fit_are_refused(refusal):
    name = "scales.0.stages.0.features.conv.bias"
    assert f"{name} is (4,), expected (3,)" in refusal(None, {name: np.ones(4, np.float32)}, built=True)
    assert "names that differ" in refusal(None, {"more": np.ones(4, np.float32)}, built=True)
    other = {"network": "two-step", "config": {"width": 4, "depth": 2}, "kind": "photo"}
    assert "names that differ" in refusal(other, built=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        pickle.dumps({"weights": [1, 2, 3]}),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 100_000_000) + b"{" * 1000,
        struct.pack("<Q", 2) + b"{}",
        save({"a": np.ones(2)}, {"deconvnet": "not json"}),
        save({"a": np.ones(2)}, {"deconvnet": "[1]"}),
        save({"a": np.ones(2)}, {"deconvnet": "[" * 100_000}),
        save({"a": np.ones(2)}, {"deconvnet": "{}"}),
    ],
    ids=range(10),
)
def test_files_that_are_no_models_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DeconvnetError) as refusal:
        load_network(path)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)
