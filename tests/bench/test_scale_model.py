"""The simulation of many items on many workers."""

import numpy as np
import pytest

from bench.scale_model import simulate


def test_items_go_to_the_next_worker_that_is_free(rng):
    assert simulate([3, 1, 1, 1], 2, rng, start=2) == (5, 0, 0)
    assert simulate([1, 1, 4], 2, rng) == (5, 4, 0)
    assert simulate(np.ones(1000), 8, rng).seconds == 125


def test_workers_that_die_cost_what_they_were_at(rng):
    """Of exponential lives with the mean m, an item of s seconds takes (e^(s/m) − 1) m: known for restarts at once."""
    items = np.full(20_000, 2.0)
    run = simulate(items, 1, rng, mean_life=2.0)
    assert run.seconds / len(items) == pytest.approx(2 * (np.e - 1), rel=0.03)
    assert run.again / len(items) == pytest.approx(np.e - 1, rel=0.03)
    assert simulate(items, 1, rng, mean_life=1e12) == (40_000, 0, 0)
