"""The sparse prior: its shrinkage by Newton's steps and by a table."""

import numpy as np
import pytest

from deconvnet.ops.differences import differences, differences_adjoint
from deconvnet.restore.deconvolve.priors import ALPHA, shrink_hyper_laplacian, sparse_divergence


@pytest.mark.parametrize("beta", [4.0, 200.0])
def test_shrinkage_finds_the_minimum_that_a_fine_grid_finds(beta):
    v = np.linspace(-1.5, 1.5, 41)
    grid = np.linspace(-2, 2, 40001)
    cost = np.abs(grid) ** 0.8 + beta / 2 * (grid - v[:, None]) ** 2
    w = shrink_hyper_laplacian(v, beta)
    reached = np.abs(w) ** 0.8 + beta / 2 * (w - v) ** 2
    np.testing.assert_allclose(reached, cost.min(axis=1), atol=1e-4)
    assert (w == 0).any()
    assert (w != 0).any()


@pytest.mark.parametrize("beta", [4.0, 256.0])
def test_table_shrinks_as_newtons_steps_do(beta, rng):
    x = rng.uniform(0, 1, (30, 40))
    scale = beta ** (-1 / (2 - ALPHA))
    exact = differences_adjoint(*(shrink_hyper_laplacian(d, beta, steps=8) for d in differences(x)))
    np.testing.assert_allclose(sparse_divergence(x, beta), exact, atol=4e-4 * scale)


def test_small_differences_are_shrunk_to_nothing():
    x = 0.02 * np.indices((12, 12)).sum(axis=0) % 0.04
    assert not sparse_divergence(x, 4.0).any()
