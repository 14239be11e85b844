"""Cases of the kernels that refine the PSFs of photos and deconvolve them."""

import numpy as np
from scipy.ndimage import gaussian_filter

from deconvnet.backend import rfft2
from deconvnet.kernels.photo.edge_gradients import edge_gradients
from deconvnet.kernels.photo.feature_correlations import feature_correlations, feature_spectra
from deconvnet.kernels.photo.masked_deconvolution import masked_deconvolution, periodic_blur
from deconvnet.kernels.photo.median_magnitude import median_magnitude
from deconvnet.kernels.photo.psf_grid import projected_gradient, steepest_slope
from deconvnet.kernels.photo.shifted_sum import shifted_sum
from deconvnet.kernels.photo.table_shrinkage import table_shrinkage
from deconvnet.ops.psf import psf_to_otf
from tests.kernels.case import Case

#: Grids with every radix; images smaller and larger than 16 columns or 32 rows.
GRIDS = ((4, 6), (24, 20), (45, 72), (64, 81))
#: Number and side of PSFs.
PSFS = ((1, 3), (3, 7), (2, 17), (1, 27))


def _edges(rng, real, size):
    image = np.cumsum(np.cumsum(rng.standard_normal(size) * (rng.random(size) < 0.05), axis=0), axis=1)
    image /= max(np.ptp(image), 1e-3)
    blurry = (gaussian_filter(image, 1.0, mode="wrap") + 0.003 * rng.standard_normal(size)).astype(real)
    psf = np.zeros((3, 3), real)
    psf[1], psf[0, 1] = 0.25, 0.25
    otf = psf_to_otf(psf, size)
    return [otf.conj() * rfft2(blurry), otf.real**2 + otf.imag**2, 0.004, blurry, (0.01, 0.04, 0.16, 0.64)]


def _features(rng, real, size):
    height, width = (n - n // 4 for n in size)
    x, y = rng.standard_normal((2, 2, height, width)).astype(real)
    return [x, y + x, rng.random(height).astype(real), rng.random(width).astype(real), size, 2 * (min(size) // 5) + 1]


def _transformed(body, arguments):
    x, y, down, across, grid, side = arguments
    make = feature_spectra if body is None else getattr(feature_spectra, body) or feature_spectra.reference
    return [make(x, down, across, grid), make(y, down, across, grid), grid, side]


def _psfs(rng, real, size):
    count, side = size
    maps = rng.standard_normal((2, 4 * side, 4 * side))
    own = np.fft.irfft2((np.abs(np.fft.rfft2(maps)) ** 2).sum(axis=0))
    lags = np.arange(1 - side, side)
    target = 20 * side**2 * (rng.random((count, side, side)) - 0.5)
    support = rng.random((count, side, side)) < 0.8
    start = np.full((count, side, side), 1 / side**2)
    arrays = [a.astype(real) for a in (own[lags[:, None], lags], target, start, support)]
    return [*arrays, 3.0, steepest_slope(arrays[0]) + 3.0, 20]


def _one_support(rng, real, size):
    own, target, start, support, *numbers = _psfs(rng, real, size)
    return [own, target, start, support[:1], *numbers]


def _few_pixels(rng, real, size):
    own, target, start, support, *numbers = _psfs(rng, real, size)
    side = size[1]
    support[:, side // 2 :] = 0
    support[0] = 0  # a PSF without any place
    return [own, target, start * support, support, *numbers]


def _values(rng, real, size):
    values = rng.standard_normal(size).astype(real)
    values[: size[0] // 3] = 0  # many of one value
    return [values]


def _deconvolution(rng, real, size):
    height, width = size
    x, target, y = (gaussian_filter(rng.standard_normal(size), 1.0, mode="wrap").astype(real) for _ in range(3))
    mask = np.zeros(size, real)
    mask[: height - height // 4, : width - width // 4] = 1
    mask[0, 0] = 0.3
    psf = rng.random((3, 3)).astype(real)
    return [x, target, y, mask, psf / psf.sum(), 30.0, 2.0, 3]


def _solved(rng, real, size):
    """All pixels count, so that the preconditioner is the inverse: more steps than there is something to do."""
    x, target, y, mask, *rest, _ = _deconvolution(rng, real, size)
    return [x, target, y, np.ones_like(mask), *rest, 6]


def _blur(rng, real, size):
    x, _, _, _, psf, *_ = _deconvolution(rng, real, size)
    return [x, psf]


def _shrinkage(rng, real, size):
    steps = np.cumsum(rng.standard_normal(size), axis=1).astype(real)
    return [steps, np.cumsum(0.2 + rng.random(40)).astype(real), 0.4, 1.1, 8.0]


def _shifts(rng, real, size):
    images, sums, k = size
    places = rng.integers(-k - 3, k + 3, (sums, images, 2)).astype(np.int32)
    weights = rng.random((sums, images, 2, 2)) * (rng.random((sums, images, 2, 2)) < 0.7)
    return [rng.standard_normal((images, k, k)).astype(real), places, weights.astype(real)]


CASES = [
    Case(edge_gradients, _edges, GRIDS, outliers=0.01),  # what is as large as the threshold
    Case(feature_correlations, _features, GRIDS, before=_transformed),
    Case(projected_gradient, _psfs, PSFS),
    Case(projected_gradient, _one_support, PSFS, variant="one support"),
    Case(projected_gradient, _few_pixels, PSFS, variant="few pixels"),
    Case(median_magnitude, _values, ((1, 1), (1, 2), (3, 1), (40, 51), (41, 51), (67, 63))),
    Case(masked_deconvolution, _deconvolution, ((3, 3), (14, 11), *GRIDS[1:]), tolerance=2e-5),
    Case(masked_deconvolution, _solved, ((3, 3), (24, 20)), variant="solved", tolerance=2e-5),
    Case(periodic_blur, _blur, ((3, 3), (14, 11), *GRIDS[1:])),
    Case(shifted_sum, _shifts, ((1, 1, 1), (3, 7, 5), (20, 4, 17))),
    Case(table_shrinkage, _shrinkage, GRIDS, tolerance=2e-5),
]
