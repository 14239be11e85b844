"""The tables that users feel: commands from file to file are checked before they count, and loads are really there."""

import numpy as np
import pytest

from bench.timing import end_to_end
from bench.timing.loads import LOADS, other_process


def test_gain_forgives_shifts_and_tells_better_from_worse():
    rng = np.random.default_rng(0)
    truth = rng.random((80, 90, 3)).astype(np.float32)
    start = truth + np.float32(0.1) * rng.standard_normal(truth.shape, dtype=np.float32)
    half = np.roll(truth + (start - truth) / 2, (2, -1), (0, 1))
    assert abs(end_to_end._gain(half, start, truth, 8) - 20 * np.log10(2)) < 0.5
    assert end_to_end._gain(start, half, truth, 8) < 0


def test_a_command_that_fails_says_why():
    with pytest.raises(end_to_end.DeconvnetError, match="there is no file"):
        end_to_end._run(end_to_end.sys.executable, ["photo", "/nowhere.png", "-o", "out.png"], 1)


@pytest.mark.slow
def test_commands_are_measured_with_their_steps():
    table = end_to_end.end_to_end_table(quick=True, threads=1)
    assert len(table.rows) == 2 and not any("error" in row for row in table.rows)
    for row in table.rows:
        assert row["gain"] > end_to_end.LEAST_GAIN and row["seconds"] > 0 and row["memory"] > 1e7


@pytest.mark.slow
def test_a_picture_that_is_no_better_is_not_timed(monkeypatch):
    monkeypatch.setattr(end_to_end, "LEAST_GAIN", 60.0)
    table = end_to_end.end_to_end_table(quick=True, threads=1, only="photo")
    assert "nothing is timed" in table.rows[0]["error"] and "seconds" not in table.rows[0]


@pytest.mark.parametrize("load", LOADS)
def test_the_other_process_computes_and_goes_away(load):
    with other_process(LOADS[load]) as process:
        assert process.poll() is None
    assert process.poll() is not None
