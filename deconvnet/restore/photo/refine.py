"""A better PSF for one photo, without learned weights: from an estimate that it refines, or from nothing.

The steps are those of a stage of Schuler et al. 2015 (features, PSF, latent image), with hand-made features: the
gradients of a latent image that has few edges (Xu, Zheng & Jia 2013) and those of the blurry image.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module, rfft2, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.differences import differences
from deconvnet.ops.edge_taper import edge_taper
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample
from deconvnet.restore.blind_steps import edge_gradients, psfs_from_gradients, value_range
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve, estimate_noise
from deconvnet.restore.photo.psf_cleanup import (
    SCORING_CROP,
    SMALLEST_SIZE,
    clean_psf,
    middle,
    resized_psf,
    sparsity_cost,
)

__all__ = ["estimate_psf_sparse", "fit_cost", "refine_psf"]

#: Prices of an edge pixel that are tried first when nothing is known of the PSF.
FIRST_PRICES = (0.7e-2, 1.4e-2, 2.8e-2)
#: Price when a good estimate is known, and the least that it falls to.
REFINING_PRICE, LEAST_PRICE = 1e-3, 2e-4
#: Price at which `fit_cost` counts edges.
JUDGING_PRICE = 1.4e-2
#: The price of an edge is divided by this after every iteration.
FALL = 1.1
#: Weight of the squared PSF beside the squared misfit of the gradients.
BETA = 4.0
#: With noise, an edge costs at least this many times its variance, and the weight of the squared PSF grows by this many
#: times its variance, for each pixel.
NOISE_PRICE, NOISE_BETA = 16.0, 4.0
#: Share of the maximum below which a PSF's pixels become zero after every iteration, and the share of the heaviest
#: connected part's light that another part must have.
THRESHOLD, LEAST_PART = 0.03, 0.1
#: Iterations on each level of the pyramid.
ITERATIONS = 5
#: Levels of the pyramid on which a given PSF is refined.
LEVELS = 2


def _centred(psf):
    """The PSF moved by whole pixels so that its centre of mass is nearest the middle; what leaves the grid is lost."""
    xp = array_module(psf)
    side = len(psf)
    host = to_host(psf).astype(np.float64)
    place = np.arange(side) - side // 2
    moves = [-round(float(host.sum(axis=1 - axis) @ place / host.sum())) for axis in (0, 1)]
    moved = xp.zeros_like(psf)
    to = tuple(slice(max(m, 0), side + min(m, 0)) for m in moves)
    of = tuple(slice(max(-m, 0), side - max(m, 0)) for m in moves)
    moved[to] = psf[of]
    return moved / moved.sum()


def _pyramid(shape, size, levels):
    """Image shapes and PSF sizes, from coarse to fine, each finer by √2 than the one before; all sizes are odd."""
    grids = []
    for level in range(levels):
        scale = 2 ** (-level / 2)
        side = max(SMALLEST_SIZE, 2 * round((size * scale - 1) / 2) + 1)
        grids.append((tuple(max(side, round(n * scale)) for n in shape), side))
        if side == SMALLEST_SIZE:
            break
    return grids[::-1]


def _iterate(image, psf, price, iterations, beta, variance):
    """The PSF after some iterations on one level, and the price of an edge then."""
    shape, side = image.shape, len(psf)
    grid = extended_shape(image.shape, side)
    extended = extend_periodically(image, grid)
    y_hat = rfft2(extended)
    xp = array_module(image)
    inside = (slice(None), slice(shape[0] - 1), slice(shape[1] - 1))
    fade = max(side, 8)
    faded = (shape[0] - 1, shape[1] - 1)
    blurry_hat = rfft2(edge_taper(xp.stack(differences(extended))[inside], fade))[None]
    least = max(LEAST_PRICE, NOISE_PRICE * variance)
    beta += NOISE_BETA * variance * image.size
    for _ in range(iterations):
        sharp = edge_gradients(y_hat[None], psf_to_otf(psf[None], grid), price, y_hat, grid)[inside]
        sharp_hat = rfft2(edge_taper(sharp, fade))
        found = psfs_from_gradients(sharp_hat, blurry_hat, psf[None], beta, faded)[0]
        if float(found.sum()) > 0:  # no edges were left: the next iteration, at a lower price, has more
            psf = _centred(clean_psf(found, THRESHOLD, LEAST_PART))
        price = max(price / FALL, least)
    return psf, price


def _checked(image, size):
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


def _coarse_to_fine(image, psf, grids, price, iterations, beta):
    """The PSF on the finest of the grids, from one that fits the coarsest."""
    variance = estimate_noise(image) ** 2
    before = None
    for shape, size in grids:
        if before is not None:
            psf = resized_psf(psf, shape[0] / before, size)
        level = resample(image, shape) if shape != image.shape else image
        psf, price = _iterate(level, psf, price, iterations, beta, variance * level.size / image.size)
        before = shape[0]
    return psf


def _relative(image):
    """The image in units of its range of values."""
    extent = value_range(image)
    if not extent > 0:
        raise DeconvnetError("the image is constant nearly everywhere: without edges there is nothing to tell its blur")
    return image / image.dtype.type(extent)


def fit_cost(image, psf, *, border=None):
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
    float
        The smaller, the better: the `sparsity_cost` of the deconvolved image, times the share of pixels that are edges
        in the latent image of `edge_gradients`. Both are taken from the middle of the photo only.

    Notes
    -----
    What a wrong PSF leaves is ringing, which has many small differences, or a double contour, which has more edges.
    Tried on 18 photographs (8 of the benchmark of Levin et al. 2009, 10 with synthetic shake) with a bad, a middling
    and a good estimate of this module for each. The product was chosen among some thirty measures on half of them; on
    the other half its choice is 0.18 dB below the best of the three on average, that of `sparsity_cost` alone 0.21,
    that of the edges alone 0.46 dB. Against PSFs of other kinds it is less sure: a softened PSF often scores better
    than the true one, and of eleven very different PSFs its choice was 1.3 dB below the best.
    """
    psf = psf.astype(image.dtype) / psf.sum(dtype=image.dtype)
    part = middle(image, SCORING_CROP)
    border = len(psf) // 2 if border is None else border
    score = sparsity_cost(deconvolve(part, psf, psf_error=ESTIMATED_PSF), border)
    part = _relative(part)
    grid = extended_shape(part.shape, len(psf))
    y_hat = rfft2(extend_periodically(part, grid))
    edges = edge_gradients(y_hat[None], psf_to_otf(psf[None], grid), JUDGING_PRICE, y_hat, grid).any(axis=0)
    return score * float(edges[border : part.shape[0] - border, border : part.shape[1] - border].mean())


def refine_psf(image, psf, *, iterations=ITERATIONS, levels=LEVELS, price=REFINING_PRICE, beta=BETA):
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
    price : float
        What an edge pixel costs at first, see `edge_gradients`. A high price keeps the strongest edges only.
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
    estimate_psf_sparse

    Notes
    -----
    The iterations are those of `estimate_psf_sparse`. True PSFs of 9 photographs, disturbed by noise of 0.8 of their
    norm or softened by a Gaussian of 1.2 px, gave 23 and 3.8 times the squared error of the true PSF in the restored
    picture (mean); refined, 1.2 times.
    """
    xp = array_module(image, psf)
    if psf.ndim != 2 or psf.shape[0] != psf.shape[1]:
        raise DeconvnetError(f"the PSF has the shape {psf.shape}: a square is wanted")
    _checked(image, len(psf))
    psf = psf.astype(image.dtype)
    if not bool(xp.isfinite(psf).all()) or float(psf.min()) < 0 or not float(psf.sum()) > 0:
        raise DeconvnetError("the PSF must hold finite values from 0 up, and not only zeros")
    grids = _pyramid(image.shape, len(psf), levels)
    start = resized_psf(psf, grids[0][0][0] / image.shape[0], grids[0][1])
    return _coarse_to_fine(_relative(image), start, grids, price, iterations, beta)


def estimate_psf_sparse(image, size, *, iterations=ITERATIONS, prices=FIRST_PRICES, beta=BETA):
    """The PSF of a photo, from nothing but a bound on its size.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1]; at least twice the PSF on each side.
    size : int
        Side of the PSF's support, odd.
    iterations : int
        Iterations on each level of the pyramid.
    prices : sequence of float
        What an edge pixel costs on the coarsest level, see `edge_gradients`. Every price gives a PSF, and the one with
        the best `fit_cost` is refined: which way the coarse levels go is a matter of chance.
    beta : float
        Positive weight of the squared PSF, see `psfs_from_gradients`.

    Returns
    -------
    array (size, size)
        Non-negative, of sum 1, its centre of mass nearest the middle; dtype of the image.

    Raises
    ------
    DeconvnetError
        If the image or the size cannot be used.

    Notes
    -----
    A pyramid of images, each coarser by √2 than the one before, down to where the PSF has 3 px. On each level, a few
    times: gradients of a latent image with few edges (`edge_gradients`); the PSF that takes them to the gradients of
    the blurry image (`psfs_from_gradients`), without its specks and moved to the middle; a lower price of an edge.
    The PSF is then refined on the finest level once more. Noise bounds the price from below and adds to β: a latent
    image that follows the noise would explain it by a PSF that is too sharp.

    On eight cases of the benchmark of Levin et al. 2009, given only the size 27 for PSFs of 15 to 27 px, the restored
    pictures have 32.2 dB, with the true PSFs 32.7 dB; the ratio of their squared errors is 1.14 in the mean and 1.4 at
    worst. On 20 photographs with synthetic shake of 9 to 33 px and noise of 0.01, given the size: 29.0 dB against
    30.1 dB; the ratio is 1.3 in the mean, and above 2 for one, of 33 px in a picture with few edges. The constants
    of this module were chosen on the eight and on nine of the twenty.
    Cost: n log n in the number of pixels, some thirty transforms of the picture in an iteration on the finest level.
    """
    xp = array_module(image)
    _checked(image, size)
    levels = 2 * int(np.ceil(np.log2(size)))  # more than enough: the pyramid ends where the PSF is smallest
    grids = _pyramid(image.shape, size, levels)
    side = grids[0][1]
    start = xp.zeros((side, side), image.dtype)
    start[side // 2, side // 2 - 1 : side // 2 + 1] = 0.5
    relative = _relative(image)
    candidates = [_coarse_to_fine(relative, start, grids, price, iterations, beta) for price in prices]
    best = candidates[0] if len(candidates) == 1 else min(candidates, key=lambda psf: fit_cost(image, psf))
    return _coarse_to_fine(relative, best, grids[-1:], REFINING_PRICE, iterations, beta)
