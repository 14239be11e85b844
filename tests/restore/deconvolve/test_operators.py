"""A blur's least-squares solution against a dense one, and the pixels that count."""

import numpy as np
import pytest

from deconvnet.backend import irfft2, rfft2
from deconvnet.ops.differences import differences, differences_adjoint
from deconvnet.restore.deconvolve.operators import Blur, Convolution, PixelWeights


@pytest.fixture
def blur(rng):
    psf = rng.random((3, 3))
    return Convolution(psf / psf.sum(), (7, 9))


class ByTransforms(Blur):
    """A convolution that knows nothing of kernels: its system is solved by the general method."""

    def __init__(self, blur):
        self.blur, self.shape, self.power = blur, blur.shape, blur.power

    def forward(self, x_hat):
        return self.blur.forward(x_hat)

    def adjoint(self, y):
        return self.blur.adjoint(y)


@pytest.mark.parametrize("general", [False, True])
def test_least_squares_finds_the_dense_solution(blur, general, rng):
    y, target, start = rng.standard_normal((3, *blur.shape))
    mask = rng.uniform(0, 1, blur.shape) * (rng.random(blur.shape) < 0.7)
    pixels = y.size
    unit = np.eye(pixels).reshape(pixels, *blur.shape)
    blurring = np.stack([blur.forward(rfft2(e)).ravel() for e in unit], axis=1)
    laplacian = np.stack([differences_adjoint(*differences(e)).ravel() for e in unit], axis=1)
    target -= target.mean()  # what a divergence is
    system = 50 * blurring.T @ (mask.ravel()[:, None] * blurring) + 2 * laplacian
    exact = np.linalg.solve(system, 50 * blurring.T @ (mask * y).ravel() + 2 * target.ravel())
    solver = ByTransforms(blur) if general else blur
    systems = solver.least_squares(y, mask, 50.0)
    found = systems.solve(start, target, 2.0, 200)
    np.testing.assert_allclose(found.ravel(), exact, atol=1e-5 * abs(exact).max())

    stricter = 50 * blurring.T @ (mask.ravel()[:, None] * blurring) + 8 * laplacian
    exact = np.linalg.solve(stricter, 50 * blurring.T @ (mask * y).ravel() - 8 * target.ravel())
    found = systems.solve(found, -target, 8.0, 200)  # goes on from what the first solution left
    np.testing.assert_allclose(found.ravel(), exact, atol=1e-5 * abs(exact).max())


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("looked", [False, True])
def test_what_is_known_of_a_solution_changes_nothing(blur, general, looked, rng):
    y, target, start = rng.standard_normal((3, *blur.shape))
    masks = rng.uniform(0, 1, (2, *blur.shape))
    solver = ByTransforms(blur) if general else blur
    systems = solver.least_squares(y, masks[0], 50.0)
    alone = found = start
    for beta, mask in ((2.0, masks[0]), (8.0, masks[0]), (8.0, masks[1]), (3.0, masks[0])):
        systems.mask = mask
        if looked:
            blurred = systems.blurred(found)
            np.testing.assert_allclose(blurred, blur.forward(rfft2(found)), atol=1e-12)
        found = systems.solve(found, target, beta, 3)
        alone = solver.least_squares(y, mask, 50.0).solve(alone, target, beta, 3)
        np.testing.assert_allclose(found, alone, atol=1e-9 * abs(alone).max())


def test_all_pixels_of_a_dark_image_count_and_none_outside(blur):
    weights = PixelWeights(np.full((7, 9), 0.4), blur, 0.01)
    assert not weights.changes
    assert weights.mask[:7, :9].all() and weights.mask.sum() == 63


def test_what_a_light_reaches_is_doubted_until_it_is_explained(blur):
    image = np.full((7, 9), 0.4)
    image[2:5, 3:6] = 1.0
    weights = PixelWeights(image, blur, 0.01)
    assert weights.changes
    assert weights.mask[3, 4] == 0 and weights.mask[0, 0] == 1 and weights.mask[1, 4] == 0
    latent = irfft2(rfft2(np.pad(image, [(0, s - n) for s, n in zip(blur.shape, image.shape)])), blur.shape)
    weights.image = weights.inside(blur.forward(rfft2(latent)))
    weights.update(blur.forward(rfft2(latent)))
    assert weights.mask[1, 4] == 1
