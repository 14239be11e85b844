"""Cases of the kernels that refine the PSFs of a burst."""

import numpy as np

from deconvnet.kernels.burst.latent_gradients import expected_spectra, faded_gradients
from deconvnet.kernels.burst.psf_correlations import psf_correlations
from deconvnet.kernels.burst.quotient_sums import quotient_sums
from deconvnet.kernels.burst.spectrum_strips import to_strips
from tests.kernels.case import Case, complex_normal

#: Frames, side of the PSFs, height and width of the grid: odd and even ones, of less than a strip, a strip and more.
SIZES = ((1, 1, 1, 1), (3, 3, 9, 30), (2, 5, 12, 33), (5, 19, 45, 48))


def _strips(rng, real, *shape):
    """Strips of spectra (..., H, W//2 + 1)."""
    return to_strips.reference(complex_normal(rng, (*shape[:-1], shape[-1] // 2 + 1), real))


def _to_strips(rng, real, size):
    count, _, height, width = size
    return [complex_normal(rng, (count, 2, height, width // 2 + 1), real)]


def _sums(rng, real, size):
    count, side, height, width = size
    psfs = rng.random((count, side, side)).astype(real)
    psfs[:, : side // 4] = 0  # a margin, on one side or on all
    if count > 2:
        psfs[:, -(side // 3) :] = psfs[:, :, : side // 3] = psfs[:, :, -(side // 3) :] = 0
    return [psfs, _strips(rng, real, count, height, width), (height, width)]


def _correlations(rng, real, size):
    count, side, height, width = size
    sharp, images = rng.standard_normal((2, height, width)), rng.standard_normal((count, 2, height, width))
    dtype = np.result_type(real, np.complex64)
    x_hat, y_hat = (np.fft.rfft2(a).astype(dtype) for a in (sharp, images))
    return [x_hat, to_strips.reference(y_hat), (height, width), side]


def _spectra(rng, real, size):
    shape = size[2], size[3] // 2 + 1
    data = complex_normal(rng, shape, real)
    return [data, *((rng.random(shape) + 0.1).astype(real) for _ in range(3)), 0.3]


def _gradients(rng, real, size):
    count, _, height, width = size
    images = rng.standard_normal((count, height + 2, width + 1)).astype(real)
    return [images, rng.random(height).astype(real), rng.random(width).astype(real), (height + 3, width + 5)]


CASES = [
    Case(to_strips, _to_strips, SIZES),
    Case(quotient_sums, _sums, SIZES),
    Case(psf_correlations, _correlations, SIZES),
    Case(expected_spectra, _spectra, SIZES),
    Case(faded_gradients, _gradients, SIZES),
]
