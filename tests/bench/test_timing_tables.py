"""What the timing tables are made of: cells, checks, interleaved medians, exponents, processes of their own."""

import importlib
import json
import time

import numpy as np
import pytest

from bench import peers
from bench.peers.torch_peer import Peer
from bench.timing.child import in_child
from bench.timing.growth import exponent
from bench.timing.machine import describe
from bench.timing.measure import Device, check_equal, fastest_form, interleaved
from bench.timing.photo import flops, photo_network, photo_table
from bench.timing.refinement import REFINEMENT
from bench.timing.table import Column, Table, cell
from deconvnet.errors import DeconvnetError


@pytest.fixture
def cpu():
    return Device("cpu")


def allocate(megabytes):
    """A case for a process of its own: takes that much memory for a moment."""
    return (lambda: None), (lambda: np.ones(megabytes * 10**6 // 8).sum())


def fail():
    """A case that cannot be made."""
    raise ValueError("no such case")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "–"),
        ("not installed", "s", "not installed"),
        (0.012345, "ms", "12.3"),
        (1.234e9, "GFLOP", "1.23"),
        (123.4, "s", "123"),
        (2048, "side", "2048²"),
        (2.5, "x", "2.50×"),
        (0.257, "%", "26"),
        (14, "n", "14"),
    ],
)
def test_cells_carry_three_digits_and_their_unit(value, unit, text):
    assert cell(value, unit) == text


def test_text_is_aligned_and_columns_without_values_are_left_out():
    table = Table("t", "Title", [Column("a", "name"), Column("b", "time", "s"), Column("c", "empty", "s")])
    table.add({"a": "x", "b": 1.0})
    table.add({"a": "longer", "b": 123.0})
    title, heading, first, second = table.text().splitlines()
    assert title == "Title"
    assert "empty" not in heading
    assert heading.index("time (s)") + len("time (s)") == len(first) == len(second)


def test_tables_survive_json():
    table = Table("t", "Title", [Column("a", "name", "s")], "A note.", [{"a": 1.5, "more": {"b": [1]}}])
    assert Table.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_results_that_differ_are_refused():
    exact = np.linspace(0, 1, 50)
    assert check_equal("same", exact + 1e-9, exact, 1e-6) < 1e-6
    with pytest.raises(DeconvnetError, match="features: the results differ by"):
        check_equal("features", exact + 0.1, exact, 1e-6)
    with pytest.raises(DeconvnetError, match="shapes"):
        check_equal("features", exact[1:], exact, 1e-6)
    with pytest.raises(DeconvnetError, match="differ by nan"):
        check_equal("features", exact * np.nan, exact, 1e-6)


def test_calls_take_turns(cpu):
    order = []

    def call(name):
        def run():
            order.append(name)
            time.sleep(0.003)

        return run

    found = interleaved({"a": call("a"), "b": call("b")}, cpu, seconds=0.05)
    assert order[:4] == ["a", "b", "a", "b"]
    assert found["a"]["samples"] == found["b"]["samples"] > 2
    assert 0.003 <= found["a"]["fastest"] <= found["a"]["seconds"] <= found["a"]["slowest"]


def test_short_calls_are_repeated_within_a_sample(cpu):
    calls = []
    found = interleaved({"a": lambda: calls.append(0)}, cpu, seconds=0.02)["a"]
    assert len(calls) > 20 * found["samples"]
    assert found["seconds"] < 1e-4


def test_the_fastest_working_form_is_taken(cpu):
    def broken():
        raise RuntimeError("no compiler\nand more")

    best, seconds = fastest_form({"slow": lambda: time.sleep(0.02), "fast": lambda: None, "broken": broken}, cpu)
    assert best == "fast"
    assert seconds["broken"] == "failed: RuntimeError: no compiler"
    with pytest.raises(DeconvnetError, match="no form works"):
        fastest_form({"broken": broken}, cpu)


def test_exponent_of_a_power_law():
    sizes = np.array([1, 4, 16, 64.0])
    assert exponent(sizes, 3 * sizes**1.5) == pytest.approx(1.5)


def test_memory_is_that_of_the_call_alone():
    found = in_child("tests.bench.test_timing_tables:allocate", {"megabytes": 120})
    assert 110e6 < found["extra"] < 150e6
    assert found["process"] > found["extra"]


def test_a_case_that_fails_is_named():
    with pytest.raises(DeconvnetError, match=r"test_timing_tables:fail .* failed in its process: .*no such case"):
        in_child("tests.bench.test_timing_tables:fail", {})


def test_flops_of_the_filters_are_counted_directly():
    small, large = photo_network(17), photo_network(17)
    large.scales[0].stages[0].features.size += 4
    added = flops(large, (255, 255)) - flops(small, (255, 255))
    taps = 32 * (13**2 - 9**2) * 2
    assert 0.8 < added / (taps * 243**2) < 1.1


def test_machine_says_threads_versions_and_commit():
    machine = describe(["cpu"])
    assert machine["threads"] >= 1
    assert {"python", "numpy", "numba"} <= set(machine["versions"])
    assert machine["gpu"] is None
    json.dumps(machine)


def test_without_pytorch_its_column_says_how_to_install_it(cpu):
    absent = "not installed: pip install 'deconvnet[bench]'"
    table = photo_table(cpu, Peer(False, absent), {"sgemm": 1e11}, quick=True, sizes=[(17, 64)])
    assert absent in table.text()
    assert table.rows[0]["ratio"] is None
    assert table.rows[0]["ours"] > 0


@pytest.mark.parametrize("kernel", REFINEMENT, ids=lambda kernel: kernel.name.partition(" (")[0])
def test_rows_of_refinement_equal_their_references(cpu, kernel):
    for size in kernel.quick:
        calls = kernel.make(np.random.default_rng(0), size, cpu)
        found = calls.ours()
        assert all(np.isfinite(part).all() for part in (found if isinstance(found, tuple) else [found]))
        check_equal(kernel.name, found, calls.reference(), calls.tolerance)


def test_a_row_that_fails_says_so_and_the_others_go_on(capsys):
    table = Table("t", "Title", [Column("a", "name"), Column("b", "time", "s")])
    for name in ("good", "bad"):
        row = {"a": name}
        with table.attempt(row):
            row["b"] = 1.0 if name == "good" else 1.0 / 0
    assert [row.get("error") for row in table.rows] == [None, "ZeroDivisionError: float division by zero"]
    assert capsys.readouterr().err == "Title: bad: ZeroDivisionError: float division by zero\n"


def test_a_peer_that_needs_pytorch_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DeconvnetError, match=r"pip install 'deconvnet\[bench\]'"):
        peers.load("torch_photo")
    monkeypatch.undo()
    with pytest.raises(ModuleNotFoundError, match="no_such_peer"):
        peers.load("no_such_peer")
    assert peers.load("torch_peer").Peer(False).absent is None  # this one can be asked without PyTorch
