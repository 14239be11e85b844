"""A better PSF for one photo, without learned weights: from an estimate that it refines, or from nothing.

The steps are those of a stage of Schuler et al. 2015 (features, PSF, latent image), with hand-made features: the
gradients of a latent image that has few edges (Xu, Zheng & Jia 2013) and those of the blurry image.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import array_module, irfft2, rfft2, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.border import extend_periodically, extended_shape
from deconvnet.layers.psf import psf_to_otf
from deconvnet.layers.resample import resample
from deconvnet.layers.window import barthann_border
from deconvnet.restore.nonblind import (
    ESTIMATED_PSF,
    deconvolve,
    differences,
    differences_adjoint,
    differences_power,
    estimate_noise,
)
from deconvnet.restore.psf_quality import JUDGED, clean_psf, middle, unlikeliness

__all__ = ["edge_gradients", "estimate_psf_sparse", "fit_score", "psf_from_gradients", "refine_psf"]

#: Prices of an edge pixel that are tried first when nothing is known of the PSF.
FIRST_PRICES = (0.7e-2, 1.4e-2, 2.8e-2)
#: Price when a good estimate is known, and the least that it falls to.
REFINING_PRICE, LEAST_PRICE = 1e-3, 2e-4
#: Price at which `fit_score` counts edges.
JUDGING_PRICE = 1.4e-2
#: Percentiles between which an image's values count as its range; prices of edges are for the range 1.
RANGE = (0.1, 99.9)
#: The price of an edge is divided by this after every iteration.
FALL = 1.1
#: Weights that draw the latent image's gradients to the sparse ones: the first is this many times the price of an
#: edge, each one is twice the one before, and the last is below the limit.
FIRST_COUPLING, LAST_COUPLING = 2.0, 1e2
#: Weight of the squared PSF beside the squared misfit of the gradients.
BETA = 4.0
#: With noise, an edge costs at least this many times its variance, and the weight of the squared PSF grows by this many
#: times its variance, for each pixel.
NOISE_PRICE, NOISE_BETA = 16.0, 4.0
#: Steps of the accelerated projected gradient that finds the PSF.
STEPS = 60
#: Share of the maximum below which a PSF's pixels become zero after every iteration, and the share of the heaviest
#: connected part's light that another part must have.
THRESHOLD, LEAST_PART = 0.03, 0.1
#: Iterations on each level of the pyramid.
ITERATIONS = 5
#: Levels of the pyramid on which a given PSF is refined.
LEVELS = 2
#: The coarsest PSF of a pyramid is not smaller.
SMALLEST_SIZE = 3


def edge_gradients(y_hat, otf, price, shape):
    """Gradients of the latent image that explains a blurry one with few edges.

    Parameters
    ----------
    y_hat, otf : complex array (H, W//2 + 1)
        Half spectra of the blurry image, continued periodically, and of the PSF.
    price : float
        What an edge pixel costs, in units of the squared misfit of a pixel.
    shape : (int, int)
        H and W.

    Returns
    -------
    real array (2, H, W)
        Differences to the next pixel down and across, both zero where there is no edge.

    Notes
    -----
    Half-quadratic splitting (Xu, Lu, Xu & Jia 2011; Xu, Zheng & Jia 2013) of
    ``min_x ‖psf * x − y‖² + price · #{∇x ≠ 0}``: with a coupling b that doubles from step to step, the gradients
    ``w = ∇x where |∇x|² > price / b, else 0`` and ``x = F⁻¹[ (conj(K) Y + b F(∇ᵀw)) / (|K|² + b |F∇|²) ]`` in turn,
    from x = y.
    """
    xp = array_module(y_hat, otf)
    real = y_hat.real.dtype.type
    data, power = otf.conj() * y_hat, otf.real**2 + otf.imag**2
    gradient_power = differences_power(xp, shape, real)
    x_hat, coupling = y_hat, FIRST_COUPLING * price
    while True:
        down, across = differences(irfft2(x_hat, shape))
        edge = down**2 + across**2 > price / coupling
        down, across = down * edge, across * edge
        if coupling >= LAST_COUPLING / 2:
            return xp.stack([down, across])
        b = real(coupling)
        x_hat = (data + b * rfft2(differences_adjoint(down, across))) / (power + b * gradient_power)
        coupling *= 2


def psf_from_gradients(x, y, start, beta=BETA, steps=STEPS):
    """The non-negative PSF on a small support that best takes sharp feature images to blurry ones.

    Parameters
    ----------
    x, y : real array (M, H, W)
        Pairs of feature images, faded to zero at the borders.
    start : real array (k, k)
        First guess; it gives the support.
    beta : float
        Positive weight of the squared PSF.
    steps : int

    Returns
    -------
    array (k, k)
        Not normalised.

    Notes
    -----
    ``min Σ_m ‖psf * x_m − y_m‖² + β ‖psf‖²  subject to psf ≥ 0, and 0 outside the support``. Without the two
    constraints it is the quotient layer (Schuler et al. 2015, Sec. 3.1.2), whose crop and clip come after the division
    instead. The normal equations on the support only need the features' summed correlations at lags below k, so that
    after one transform of each feature image every step works on a grid of about 2k × 2k: an accelerated projected
    gradient (Beck & Teboulle 2009).
    """
    xp = array_module(x, y, start)
    side, shape, real = len(start), x.shape[-2:], x.dtype.type
    x_hat, y_hat = rfft2(x), rfft2(y)
    own = irfft2((x_hat.real**2 + x_hat.imag**2).sum(axis=0), shape)
    cross = irfft2((x_hat.conj() * y_hat).sum(axis=0), shape)
    place, lags = xp.arange(side) - side // 2, xp.arange(1 - side, side)
    target = cross[(place % shape[0])[:, None], place % shape[1]]
    n = scipy.fft.next_fast_len(2 * side - 1, real=True)
    circulant = xp.zeros((n, n), x.dtype)
    circulant[(lags % n)[:, None], lags % n] = own[(lags % shape[0])[:, None], lags % shape[1]]
    spectrum = rfft2(circulant).real
    steepest = real(float(spectrum.max()) + beta)
    room = xp.zeros((n, n), x.dtype)

    psf = ahead = start
    momentum = 1.0
    for _ in range(steps):
        room[:side, :side] = ahead
        slope = irfft2(spectrum * rfft2(room), (n, n))[:side, :side] + real(beta) * ahead - target
        before, psf = psf, xp.maximum(ahead - slope / steepest, 0)
        last, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = psf + real((last - 1) / momentum) * (psf - before)
    return psf


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


def _resized(psf, factor, size):
    """The PSF on a grid finer by a factor, in an odd support of this size."""
    xp = array_module(psf)
    side = max(SMALLEST_SIZE, 2 * round((len(psf) * factor - 1) / 2) + 1)
    fine = xp.maximum(resample(psf, (side, side)), 0)
    if side < size:
        fine = xp.pad(fine, (size - side) // 2)
    else:
        start = (side - size) // 2
        fine = fine[start : start + size, start : start + size]
    return fine / fine.sum()


def _iterate(image, psf, price, iterations, beta, variance):
    """The PSF after some iterations on one level, and the price of an edge then."""
    shape, side = image.shape, len(psf)
    grid = extended_shape(image.shape, side)
    extended = extend_periodically(image, grid)
    y_hat = rfft2(extended)
    xp = array_module(image)
    inside = (slice(None), slice(shape[0] - 1), slice(shape[1] - 1))
    fade = max(side, 8)
    blurry = barthann_border(xp.stack(differences(extended))[inside], fade)
    least = max(LEAST_PRICE, NOISE_PRICE * variance)
    beta += NOISE_BETA * variance * image.size
    for _ in range(iterations):
        sharp = edge_gradients(y_hat, psf_to_otf(psf[None], grid)[0], price, grid)[inside]
        found = psf_from_gradients(barthann_border(sharp, fade), blurry, psf, beta)
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
            psf = _resized(psf, shape[0] / before, size)
        level = resample(image, shape) if shape != image.shape else image
        psf, price = _iterate(level, psf, price, iterations, beta, variance * level.size / image.size)
        before = shape[0]
    return psf


def _relative(image):
    """The image in units of its range of values."""
    xp = array_module(image)
    darkest, brightest = xp.percentile(image, xp.asarray(RANGE, dtype=image.dtype))
    if not float(brightest - darkest) > 0:
        raise DeconvnetError("the image is constant nearly everywhere: without edges there is nothing to tell its blur")
    return image / (brightest - darkest)


def fit_score(image, psf, *, border=None):
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
        The smaller, the better: the `unlikeliness` of the deconvolved image, times the share of pixels that are edges
        in the latent image of `edge_gradients`. Both are taken from the middle of the photo only.

    Notes
    -----
    What a wrong PSF leaves is ringing, which has many small differences, or a double contour, which has more edges.
    Tried on 18 photographs (8 of the benchmark of Levin et al. 2009, 10 with synthetic shake) with a bad, a middling
    and a good estimate of this module for each. The product was chosen among some thirty measures on half of them; on
    the other half its choice is 0.18 dB below the best of the three on average, that of the unlikeliness alone 0.21 dB,
    that of the edges alone 0.46 dB. Against PSFs of other kinds it is less sure: a softened PSF often scores better
    than the true one, and of eleven very different PSFs its choice was 1.3 dB below the best.
    """
    psf = psf.astype(image.dtype) / psf.sum(dtype=image.dtype)
    part = middle(image, JUDGED)
    border = len(psf) // 2 if border is None else border
    score = unlikeliness(deconvolve(part, psf, psf_error=ESTIMATED_PSF), border)
    part = _relative(part)
    grid = extended_shape(part.shape, len(psf))
    y_hat = rfft2(extend_periodically(part, grid))
    edges = edge_gradients(y_hat, psf_to_otf(psf[None], grid)[0], JUDGING_PRICE, grid).any(axis=0)
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
        Positive weight of the squared PSF, see `psf_from_gradients`.

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
    start = _resized(psf, grids[0][0][0] / image.shape[0], grids[0][1])
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
        the best `fit_score` is refined: which way the coarse levels go is a matter of chance.
    beta : float
        Positive weight of the squared PSF, see `psf_from_gradients`.

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
    the blurry image (`psf_from_gradients`), without its specks and moved to the middle; a lower price of an edge.
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
    best = candidates[0] if len(candidates) == 1 else min(candidates, key=lambda psf: fit_score(image, psf))
    return _coarse_to_fine(relative, best, grids[-1:], REFINING_PRICE, iterations, beta)
