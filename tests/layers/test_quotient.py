"""The quotient layer against a direct least-squares solution, and its facts."""

import numpy as np
import pytest

from deconvnet.backend import rfft2, to_device, to_host
from deconvnet.layers.quotient import Quotient, quotient
from deconvnet.testing import TOLERANCE


def _circulant(image):
    """Matrix of the circular convolution with ``image`` on flattened images."""
    height, width = image.shape
    columns = [np.roll(image, (i, j), axis=(0, 1)).ravel() for i in range(height) for j in range(width)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("shape", [(6, 6), (5, 7), (8, 5)])
def test_quotient_solves_the_regularised_least_squares_problem(rng, device, shape):
    x, y = rng.standard_normal((2, 3, *shape)), rng.standard_normal((2, 3, *shape))
    z, _ = quotient(to_device(x, device), to_device(y, device), 0.7)
    for b in range(2):
        matrices = [_circulant(image) for image in x[b]]
        normal = sum(m.T @ m for m in matrices) + 0.7 * np.eye(shape[0] * shape[1])
        right = sum(m.T @ image.ravel() for m, image in zip(matrices, y[b]))
        assert np.allclose(to_host(z)[b].ravel(), np.linalg.solve(normal, right), rtol=0, atol=1e-10)


def test_quotient_recovers_the_psf_that_blurred(rng):
    sharp = rng.standard_normal((1, 1, 32, 32))
    psf = np.zeros((32, 32))
    psf[:3, :2] = rng.random((3, 2))
    blurry = np.fft.irfft2(np.fft.rfft2(sharp) * np.fft.rfft2(psf), s=(32, 32))
    found, _ = quotient(sharp, blurry, 1e-9)
    assert np.abs(found[0] - psf).max() < 1e-6


def test_beta_per_frequency_acts_where_it_is_large(rng):
    x, y = rng.standard_normal((1, 2, 8, 8)), rng.standard_normal((1, 2, 8, 8))
    beta = np.full((8, 5), 1e-6)
    beta[:, 3:] = 1e9
    z_hat = rfft2(quotient(x, y, beta)[0])[0]
    assert np.abs(z_hat[:, 3:]).max() < 1e-6 < np.abs(z_hat[:, :3]).max()


def test_beta_per_example_and_frequency_equals_separate_calls(rng):
    x, y = rng.standard_normal((2, 2, 8, 8)), rng.standard_normal((2, 2, 8, 8))
    beta = rng.uniform(0.1, 1, (2, 8, 5))
    together, _ = quotient(x, y, beta)
    for b in range(2):
        alone, _ = quotient(x[b : b + 1], y[b : b + 1], beta[b])
        assert np.allclose(together[b], alone[0], rtol=0, atol=1e-12)


def test_float32_stays_float32_and_close_to_float64(rng):
    x, y = rng.standard_normal((2, 3, 17, 16)), rng.standard_normal((2, 3, 17, 16))
    exact, _ = quotient(x, y, 0.5)
    single, _ = quotient(x.astype(np.float32), y.astype(np.float32), 0.5)
    assert single.dtype == np.float32
    assert np.abs(single - exact).max() <= TOLERANCE["float32"] * np.abs(exact).max()


@pytest.mark.parametrize("grid", [(24, 25), (22, 26)])
def test_the_middle_is_what_whole_transforms_give_around_the_origin(rng, device, grid):
    layer = Quotient(0.3, learned=True, dtype=np.float64).to(device)
    maps = to_device(rng.standard_normal((2, 4, 21, 19)), device)
    window = [to_device(rng.random(n), device) for n in (21, 19)]
    faded = np.zeros((2, 4, *grid))
    faded[..., :21, :19] = to_host(maps) * np.outer(*(to_host(w) for w in window))
    whole, _ = layer.forward(*(to_device(faded[:, part], device) for part in (slice(2), slice(2, 4))))
    offset = np.array([0, 1, 2, -2, -1])
    expected = to_host(whole)[:, offset[:, None], offset]
    assert np.allclose(to_host(layer.middle(maps, window, grid, 5)), expected, rtol=0, atol=1e-12)
