"""The two inner problems of blind restoration, on small ones whose answer is known otherwise."""

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.optimize import nnls

from deconvnet.backend import irfft2, rfft2, to_device, to_host
from deconvnet.ops.psf import psf_to_otf
from deconvnet.restore.blind_steps import edge_gradients, psfs_from_gradients, value_range

SIDE = 5


def delta_otf(count, shape):
    psfs = np.zeros((count, SIDE, SIDE))
    psfs[:, SIDE // 2, SIDE // 2] = 1
    return psf_to_otf(psfs, shape)


@pytest.mark.parametrize("count", [1, 4])
def test_sparse_gradients_are_those_of_the_flat_picture_behind_noise(count):
    flat = np.zeros((32, 40))
    flat[8:20, 10:30] = 0.6
    noisy_hat = rfft2(flat + 0.01 * np.random.default_rng(0).standard_normal((count, *flat.shape)))
    start = irfft2(noisy_hat.mean(axis=0), flat.shape)
    found = edge_gradients(noisy_hat, delta_otf(count, flat.shape), 0.02, start)
    true = np.stack([np.roll(flat, -1, axis=0) - flat, np.roll(flat, -1, axis=1) - flat])
    np.testing.assert_array_equal(found.any(axis=0), true.any(axis=0))
    np.testing.assert_allclose(found, true, atol=0.05)


def test_a_high_l0_weight_leaves_noise_without_edges_and_a_low_one_does_not():
    noise = 0.01 * np.random.default_rng(0).standard_normal((1, 32, 40))
    noise_hat = rfft2(noise)
    otf = delta_otf(1, (32, 40))
    assert not edge_gradients(noise_hat, otf, 0.02, noise[0]).any()
    assert edge_gradients(noise_hat, otf, 1e-6, noise[0]).any(axis=0).mean() > 0.9


def _problem(rng, shape=(12, 14), count=2):
    """Sharp and blurry images, the matrix that convolves with the sharp ones, and the targets."""
    x, y = rng.standard_normal((2, *shape)), rng.standard_normal((count, 2, *shape))
    place = np.arange(SIDE) - SIDE // 2
    matrix = np.stack([np.roll(x, (i, j), axis=(-2, -1)).ravel() for i in place for j in place], axis=1)
    return x, y, matrix


def _solve(x, y, device, **options):
    x_hat, y_hat = rfft2(x), rfft2(y)
    start = np.full((len(y), SIDE, SIDE), 1 / SIDE**2)
    x_hat, y_hat, start = (to_device(a, device) for a in (x_hat, y_hat, start))
    options = {name: to_device(a, device) for name, a in options.items()}
    return to_host(psfs_from_gradients(x_hat, y_hat, start, 3.0, x.shape[-2:], steps=600, **options))


def test_the_psfs_are_the_non_negative_least_squares_solutions(device):
    x, y, matrix = _problem(np.random.default_rng(6))
    found = _solve(x, y, device)
    for psf, blurry in zip(found, y):
        stacked = np.concatenate([matrix, np.sqrt(3.0) * np.eye(SIDE**2)])
        expected, _ = nnls(stacked, np.concatenate([blurry.ravel(), np.zeros(SIDE**2)]))
        np.testing.assert_allclose(psf, expected.reshape(SIDE, SIDE), atol=1e-8)
        assert (expected == 0).any()  # so that the constraint matters


def test_anchor_support_and_blurring_enter_the_least_squares(device):
    rng = np.random.default_rng(7)
    x, y, matrix = _problem(rng, count=1)
    anchor, support = rng.random((1, SIDE, SIDE)), np.ones((1, SIDE, SIDE))
    support[0, :2] = 0
    lags = np.arange(1 - SIDE, SIDE)
    blurring = 40.0 * np.exp(-(lags[:, None] ** 2) - lags**2)  # positive definite: the correlation of a Gaussian
    profile = np.exp(-(np.arange(SIDE) ** 2.0))
    quadratic = matrix.T @ matrix + 3 * np.eye(SIDE**2) + 40 * np.kron(toeplitz(profile), toeplitz(profile))
    linear = matrix.T @ y.ravel() + 3 * anchor.ravel()
    inside = support.ravel() > 0
    root = np.linalg.cholesky(quadratic[np.ix_(inside, inside)])
    expected = np.zeros(SIDE**2)
    expected[inside], _ = nnls(root.T, np.linalg.solve(root, linear[inside]))
    found = _solve(x, y, device, anchor=anchor, support=support, blurring=blurring)
    np.testing.assert_allclose(found[0].ravel(), expected, atol=1e-8)


def test_the_range_forgets_the_rarest_values():
    image = np.linspace(0.2, 0.7, 10_000, dtype=np.float32).reshape(100, 100)
    image[0, :5] = 40
    assert value_range(image) == pytest.approx(0.5, abs=0.01)
    assert value_range(np.full((8, 8), 0.3)) == 0
