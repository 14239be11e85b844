"""The rivals, where the answer is known."""

import numpy as np
import pytest

from bench.rivals.krishnan import krishnan_psf, normalized_sparsity, shrunk
from bench.rivals.steps import Level, centred, correlations, finished, least_squares_psf
from deconvnet.blur.convolve import convolve
from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.metrics import aligned_psf_error
from deconvnet.ops.differences import differences


@pytest.fixture(scope="module")
def case():
    """A sharp picture, a PSF that is no point, the blurry picture."""
    rng = np.random.default_rng(4)
    psf = np.zeros((9, 9), np.float32)
    for i, (row, column) in enumerate([(2, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (6, 6), (5, 7)]):
        psf[row, column] = 1 + i % 3
    psf /= psf.sum()
    sharp = dead_leaves(rng, 180).astype(np.float32) / 255
    blurry = convolve(sharp, psf, border="valid")
    return sharp[4:-4, 4:-4], psf, blurry + rng.normal(0, 0.002, blurry.shape).astype(np.float32)


def test_least_squares_find_the_psf_of_known_pictures(case):
    sharp, psf, blurry = case
    level = Level(blurry, 9)
    padding = [(0, grid - side) for grid, side in zip(level.grid, sharp.shape)]
    pair = [level.faded(np.stack(differences(np.pad(image, padding)))) for image in (sharp, blurry)]
    found = least_squares_psf(*correlations(*pair, 9), np.zeros_like(psf), 1e-3, 60)
    assert aligned_psf_error(finished(found, 0.05), psf) < 0.05


def test_krishnan_finds_the_blur(case):
    """Far nearer than no blur at all, and than the PSF turned around."""
    _, psf, blurry = case
    found = krishnan_psf(blurry, 9)
    assert found.min() >= 0 and found.sum() == pytest.approx(1)
    assert aligned_psf_error(found, psf) < 0.3
    assert aligned_psf_error(found, psf[:, ::-1]) > 0.5


def test_normalised_sparsity_grows_with_blur_and_not_with_contrast(case):
    sharp, _, blurry = case
    own = normalized_sparsity(np.stack(differences(sharp)))
    assert own < 0.9 * normalized_sparsity(np.stack(differences(blurry)))
    assert own == pytest.approx(normalized_sparsity(np.stack(differences(3 * sharp))), rel=1e-5)
    assert shrunk(np.array([-3.0, -0.5, 0.5, 3.0]), 1.0).tolist() == [-2, 0, 0, 2]


def test_a_psf_is_cut_and_centred():
    psf = np.zeros((7, 7))
    psf[1, 2], psf[1, 3], psf[6, 6] = 3, 3, 0.1
    found = centred(finished(psf, 0.05))
    assert found[3, 3] + found[3, 2] == pytest.approx(1)
    assert finished(-psf, 0.0)[3, 3] == 1  # nothing left: no blur
