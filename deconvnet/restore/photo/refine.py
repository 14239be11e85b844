"""A better PSF for one photo, without learned weights, and what tells a good PSF from a bad one.

The steps are those of a stage of Schuler et al. 2015 (features, PSF, latent image), with hand-made features: the
gradients of a latent image that has few edges (Xu, Zheng & Jia 2013) and those of the blurry image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.photo.feature_correlations import feature_correlations, feature_spectra
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.differences import differences
from deconvnet.ops.edge_taper import edge_taper_factors
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample
from deconvnet.restore.blind_steps import edge_gradients, psfs_from_correlations, value_range
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve, estimate_noise
from deconvnet.restore.photo.psf_cleanup import (
    SCORING_CROP,
    SMALLEST_SIZE,
    clean_psf,
    density,
    informative_part,
    resized_psf,
)

__all__ = [
    "Fit",
    "Level",
    "checked_image",
    "checked_range",
    "first_level",
    "fit",
    "fit_cost",
    "refine_psf",
    "side_on_level",
]

#: l0 weight (what an edge pixel costs) when a good estimate is known, and the least that it falls to.
REFINING_L0_WEIGHT, LEAST_L0_WEIGHT = 1e-3, 2e-4
#: l0 weight with which `fit_cost` finds edges, the share of it that each of them costs there, and how many borders the
#: part that it looks at has on a side.
SCORING_L0_WEIGHT, EDGE_SHARE, SCORING_BORDERS = 5e-3, 0.3, 12
#: The l0 weight is divided by this after every iteration.
DECAY = 1.1
#: Up to which coupling a latent image is drawn to its edges, see `edge_gradients`.
LAST_COUPLING = 12.0
#: Weight of the squared PSF beside the squared misfit of the gradients.
BETA = 4.0
#: With noise, an edge costs at least this many times its variance, and the weight of the squared PSF grows by this many
#: times its variance, for each pixel.
NOISE_L0_WEIGHT, NOISE_BETA = 16.0, 4.0
#: Share of the maximum below which a PSF's pixels become zero after every iteration, and the share of the heaviest
#: connected part's mass that another part must have.
THRESHOLD, LEAST_PART = 0.03, 0.1
#: Iterations on each level of the pyramid.
ITERATIONS = 5
#: Levels of the pyramid on which a given PSF is refined.
LEVELS = 2


def _centred(psf: Array) -> Array:
    """The PSF moved by whole pixels so that its centre of mass is nearest the middle; what leaves the grid is lost."""
    xp = array_module(psf)
    side = len(psf)
    host = to_host(psf).astype(np.float64)
    offset = np.arange(side) - side // 2
    moves = [-round(float(host.sum(axis=1 - axis) @ offset / host.sum())) for axis in (0, 1)]
    moved = xp.zeros_like(psf)
    dst = tuple(slice(max(m, 0), side + min(m, 0)) for m in moves)
    src = tuple(slice(max(-m, 0), side - max(m, 0)) for m in moves)
    moved[dst] = psf[src]
    return moved / moved.sum()


def _pyramid(shape: tuple[int, int], size: int, levels: int) -> list[tuple[tuple[int, int], int]]:
    """Image shapes and PSF sizes, from coarse to fine, each finer by √2 than the one before; all sizes are odd."""
    grids = []
    for level in range(levels):
        scale, side = 2 ** (-level / 2), side_on_level(size, level)
        height, width = (max(side, round(n * scale)) for n in shape)
        grids.append(((height, width), side))
        if side == SMALLEST_SIZE:
            break
    return grids[::-1]


def side_on_level(size: int, level: int) -> int:
    """Side, odd, of a PSF of some size on a level of the pyramid, each coarser by √2 than the one before."""
    return max(SMALLEST_SIZE, 2 * round((size * 2 ** (-level / 2) - 1) / 2) + 1)


def first_level(size: int) -> int:
    """The finest level on which a PSF of some size is the smallest that there is."""
    level = 0
    while side_on_level(size, level) > SMALLEST_SIZE:
        level += 1
    return level


class Level:
    """A photo on one level of the pyramid, and what all iterations there share, whatever the PSF.

    Parameters
    ----------
    image : float array (H, W)
    side : int
        Side of the PSF's support.
    variance : float
        Of the image's noise.
    """

    def __init__(self, image: Array, side: int, variance: float) -> None:
        xp = array_module(image)
        self.height, self.side, self.variance, self.pixels = len(image), side, variance, image.size
        self.grid = extended_shape(image.shape, side)
        self.extended = extend_periodically(image, self.grid)
        self.y_hat = rfft2(self.extended)[None]
        #: Differences that do not reach over the border.
        self.inside = (slice(None), slice(image.shape[0] - 1), slice(image.shape[1] - 1))
        shape = (image.shape[0] - 1, image.shape[1] - 1)
        self.window = edge_taper_factors(shape, max(side, 8), like=image)
        self.gradient_spectra = self._spectra(xp.stack(differences(self.extended)))

    def _spectra(self, gradients: Array) -> Array:
        return feature_spectra(gradients[self.inside], *self.window, self.grid)

    def iterate(
        self, psf: Array, l0_weight: float, iterations: int, beta: float, noise_l0_weight: float = NOISE_L0_WEIGHT
    ) -> tuple[Array, float]:
        """The PSF after some iterations, and the l0 weight then."""
        least = max(LEAST_L0_WEIGHT, noise_l0_weight * self.variance)
        beta += NOISE_BETA * self.variance * self.pixels
        for _ in range(iterations):
            sharp = edge_gradients(
                self.y_hat, psf_to_otf(psf[None], self.grid), l0_weight, self.extended, last=LAST_COUPLING
            )
            spectra = self._spectra(sharp)
            own, cross = feature_correlations(spectra, self.gradient_spectra, self.grid, self.side)
            found = psfs_from_correlations(own, cross[None], psf[None], beta)[0]
            if float(found.sum()) > 0:  # no edges were left: the next iteration, at a lower weight, has more
                psf = _centred(clean_psf(found, THRESHOLD, LEAST_PART))
            l0_weight = max(l0_weight / DECAY, least)
        return psf, l0_weight


def _levels(image: Array, grids: list[tuple[tuple[int, int], int]]) -> list[Level]:
    """The levels of an image's pyramid."""
    variance = estimate_noise(image) ** 2
    found = []
    for shape, size in grids:
        level = resample(image, shape) if shape != image.shape else image
        found.append(Level(level, size, variance * level.size / image.size))
    return found


def checked_image(image: Array, size: int) -> None:
    """Refuse images and PSF sizes that the method cannot use."""
    if image.ndim != 2 or image.dtype.kind != "f":
        raise DeconvnetError(f"one channel of floats (H, W) is wanted for the PSF, not {image.shape} of {image.dtype}")
    if size < SMALLEST_SIZE or size % 2 == 0:
        raise DeconvnetError(f"the side of a PSF must be odd and at least {SMALLEST_SIZE} pixels, not {size}")
    if min(image.shape) < 2 * size:
        raise DeconvnetError(
            f"the image is {image.shape[1]}×{image.shape[0]} pixels, and a PSF of {size} needs {2 * size} on the "
            "shorter side: use a smaller PSF size or a larger image"
        )


def _coarse_to_fine(levels: list[Level], psf: Array, l0_weight: float, iterations: int, beta: float) -> Array:
    """The PSF on the last of the levels, from one that fits the first."""
    before = None
    for level in levels:
        if before is not None:
            psf = resized_psf(psf, level.height / before, level.side)
        psf, l0_weight = level.iterate(psf, l0_weight, iterations, beta)
        before = level.height
    return psf


def checked_range(image: Array) -> float:
    """Range of an image's values, if it is not constant nearly everywhere."""
    contrast = value_range(image)
    if not contrast > 0:
        raise DeconvnetError("the image is constant nearly everywhere: without edges there is nothing to tell its blur")
    return contrast


def _relative(image: Array) -> Array:
    """The image in units of its range of values."""
    return image / image.dtype.type(checked_range(image))


class Fit(NamedTuple):
    """How a PSF fits a photo: the cost of `fit_cost`, and the share of pixels of the latent image that are edges."""

    cost: float
    edges: float


def fit_cost(image: Array, psf: Array, *, border: int | None = None) -> float:
    """The cost of `fit`: the smaller, the better the PSF fits the photo."""
    return fit(image, psf, border=border).cost


def fit(image: Array, psf: Array, *, border: int | None = None) -> Fit:
    """How badly a PSF fits a photo; for comparing PSFs of one photo, also of different sizes.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1].
    psf : float array (k, k)
        Non-negative; scaled to sum 1 here.
    border : int, optional
        Pixels left out on each side; half the PSF by default. For PSFs of several sizes give the same for all.

    Returns
    -------
    Fit
        Of a large photo only the `informative_part` counts.

    Notes
    -----
    The cost is ``(0.3 λ E + M) S² F^(1/4)``. Of the latent image of `edge_gradients` at l0 weight λ, which grows with
    noise, E is the share of pixels that are edges, and M the mean squared difference between the blurry image's
    gradients and its own, blurred again. Of the deconvolved image, S is the mean of its differences' magnitude over
    their root mean square (Krishnan, Tay & Fergus 2011, doi:10.1109/CVPR.2011.5995521), and F the mean squared misfit
    when it is blurred again. A wrong PSF leaves ringing or double contours, which are edges and are not sparse; one
    that is too small cannot explain the gradients. On the finest level only PSFs of similar size can be told apart so:
    what a PSF much too small leaves is smooth there, and looks like a photograph.
    """
    psf = psf.astype(image.dtype) / psf.sum(dtype=image.dtype)
    border = len(psf) // 2 if border is None else border
    part = informative_part(image, max(SCORING_CROP, SCORING_BORDERS * border))
    inside = (..., slice(border, part.shape[0] - border), slice(border, part.shape[1] - border))
    grid = extended_shape(part.shape, len(psf))
    otf = psf_to_otf(psf[None], grid)
    sharp = deconvolve(part, psf, psf_error=ESTIMATED_PSF, quick=True)
    again = irfft2(otf[0] * rfft2(extend_periodically(sharp, grid)), grid)[: part.shape[0], : part.shape[1]]
    misfit = float(((again - part)[inside] ** 2).mean())
    contrast = checked_range(part)
    extended = extend_periodically(part / part.dtype.type(contrast), grid)
    l0_weight = max(SCORING_L0_WEIGHT, NOISE_L0_WEIGHT * (estimate_noise(part) / contrast) ** 2)
    latent = edge_gradients(rfft2(extended)[None], otf, l0_weight, extended, last=LAST_COUPLING)
    rest = irfft2(otf * rfft2(latent), grid) - array_module(image).stack(differences(extended))
    edges = float(latent.any(axis=0)[inside].mean())
    energy = EDGE_SHARE * l0_weight * edges + float((rest[inside] ** 2).mean())
    return Fit(energy * density(sharp[inside]) ** 2 * misfit**0.25, edges)


def refine_psf(
    image: Array,
    psf: Array,
    *,
    iterations: int = ITERATIONS,
    levels: int = LEVELS,
    l0_weight: float = REFINING_L0_WEIGHT,
    beta: float = BETA,
) -> Array:
    """A better PSF of a photo, from an estimate.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1]; at least twice the PSF on each side.
    psf : float array (k, k)
        The estimate, non-negative; k is odd, and stays the size of the support.
    iterations : int
        Iterations on each level of the pyramid.
    levels : int
        Levels of the pyramid, at least 1, each coarser by √2: with more of them, a worse estimate is still mended.
    l0_weight : float
        What an edge pixel costs at first, see `edge_gradients`. A high weight keeps the strongest edges only.
    beta : float
        Positive weight of the squared PSF, see `psfs_from_gradients`.

    Returns
    -------
    array (k, k)
        Non-negative, of sum 1, its centre of mass nearest the middle; dtype of the image.

    Raises
    ------
    DeconvnetError
        If the image or the PSF cannot be used.

    See Also
    --------
    deconvnet.restore.photo.psf_size.psfs_from_nothing

    Notes
    -----
    A pyramid of images, each coarser by √2 than the one before. On each level, a few times: gradients of a latent image
    with few edges (`edge_gradients`); the PSF that takes them to the gradients of the blurry image
    (`psfs_from_correlations`), without its specks and moved to the middle; a lower l0 weight. Noise bounds the l0
    weight from below and adds to β: a latent image that follows the noise would explain it by a PSF that is too sharp.

    Cost: n log n in the number of pixels, some thirty transforms of the picture in an iteration on the finest level.
    """
    xp = array_module(image, psf)
    if psf.ndim != 2 or psf.shape[0] != psf.shape[1]:
        raise DeconvnetError(f"the PSF has the shape {psf.shape}: a square is wanted")
    checked_image(image, len(psf))
    psf = psf.astype(image.dtype)
    if not bool(xp.isfinite(psf).all()) or float(psf.min()) < 0 or not float(psf.sum()) > 0:
        raise DeconvnetError("the PSF must hold finite values from 0 up, and not only zeros")
    grids = _pyramid(image.shape, len(psf), levels)
    start = resized_psf(psf, grids[0][0][0] / image.shape[0], grids[0][1])
    return _coarse_to_fine(_levels(_relative(image), grids), start, l0_weight, iterations, beta)
