"""The two steps that blind restoration alternates: a latent image with few edges, and PSFs from pairs of gradients.

Both take one blurry image or the registered frames of a burst, which share the latent image.
"""

from __future__ import annotations

from deconvnet.backend import Array, array_module, irfft2
from deconvnet.kernels.photo.edge_gradients import edge_gradients as edges_by_couplings
from deconvnet.kernels.photo.psf_grid import projected_gradient, steepest_slope

__all__ = ["couplings", "edge_gradients", "psfs_from_correlations", "psfs_from_gradients", "value_range"]

#: Percentiles between which an image's values count as its range; l0 weights are for the range 1.
RANGE = (0.1, 99.9)
#: Weights that draw the latent image's gradients to the sparse ones: the first is this many times the l0 weight, each
#: one is a multiple of the one before, and the last is the first from half of the limit on.
FIRST_COUPLING, LAST_COUPLING, GROWTH = 2.0, 1e2, 2.0
#: Steps of the accelerated projected gradient that finds the PSFs.
STEPS = 60


def value_range(image: Array) -> float:
    """Range of an image's values without the rarest: 0 for one that is constant nearly everywhere."""
    xp = array_module(image)
    darkest, brightest = xp.percentile(image, xp.asarray(RANGE, dtype=image.dtype))
    return float(brightest - darkest)


def couplings(l0_weight: float, last: float = LAST_COUPLING) -> tuple[float, ...]:
    """Weights, up to about the last, that draw the latent image's gradients to the sparse ones, one after the other."""
    found = [FIRST_COUPLING * l0_weight]
    while found[-1] < last / 2:
        found.append(GROWTH * found[-1])
    return tuple(found)


def edge_gradients(y_hat: Array, otf: Array, l0_weight: float, start: Array, *, last: float = LAST_COUPLING) -> Array:
    """Gradients of the latent image that explains blurry ones with few edges.

    Parameters
    ----------
    y_hat, otf : complex array (N, H, W//2 + 1)
        Half spectra of the blurry images, continued periodically, and of their PSFs.
    l0_weight : float
        What an edge pixel costs, in units of the squared misfit of a pixel.
    start : real array (H, W)
        A first guess of the latent image.
    last : float
        About the last coupling.

    Returns
    -------
    real array (2, H, W)
        Differences to the next pixel down and across, both zero where there is no edge.

    Notes
    -----
    Half-quadratic splitting (Xu, Lu, Xu & Jia 2011, doi:10.1145/2024156.2024208; Xu, Zheng & Jia 2013,
    doi:10.1109/CVPR.2013.147) of ``min_x Σ_i ‖psf_i * x − y_i‖² + l0_weight · #{∇x ≠ 0}`` with a coupling that grows
    from step to step; see `deconvnet.kernels.photo.edge_gradients`.
    """
    data, power = (otf.conj() * y_hat).sum(axis=0), (otf.real**2 + otf.imag**2).sum(axis=0)
    return edges_by_couplings(data, power, l0_weight, start, couplings(l0_weight, last))


def psfs_from_gradients(
    x_hat: Array,
    y_hat: Array,
    start: Array,
    beta: float,
    shape: tuple[int, int],
    *,
    steps: int = STEPS,
    anchor: Array | None = None,
    support: Array | None = None,
    blurring: Array | None = None,
) -> Array:
    """The non-negative PSFs on a small support that best take sharp feature images to blurry ones.

    Parameters
    ----------
    x_hat : complex array (M, H, W//2 + 1)
        Half spectra of the sharp feature images, faded to zero at the borders.
    y_hat : complex array (N, M, H, W//2 + 1)
        Those of the blurry ones.
    start : real array (N, k, k)
        First guess; it gives the support.
    beta : float
        Positive weight of the squared PSF.
    shape : (int, int)
        H and W.
    steps, anchor, support
        As for `psfs_from_correlations`.
    blurring : real array (2k − 1, 2k − 1), optional
        Autocorrelation, summed over the M images, of what is uncertain in the sharp ones; its middle is the lag 0.

    Returns
    -------
    real array (N, k, k)
        Not normalised.

    Notes
    -----
    ``min Σ_m ‖psf * x_m − y_m‖² + ⟨psf, A psf⟩ + β ‖psf − anchor‖²  subject to psf ≥ 0, and 0 outside the support``
    for every blurry image, A the convolution with ``blurring``. Without the constraints, A and the anchor it is the
    quotient layer (Schuler et al. 2015, Sec. 3.1.2), whose crop and clip come after the division instead.
    """
    xp = array_module(x_hat, y_hat, start)
    side = start.shape[-1]
    own = irfft2((x_hat.real**2 + x_hat.imag**2).sum(axis=0), shape)
    cross = irfft2((x_hat.conj() * y_hat).sum(axis=1), shape)
    pixels, lags = xp.arange(side) - side // 2, xp.arange(1 - side, side)
    cross = cross[:, (pixels % shape[0])[:, None], pixels % shape[1]]
    own = own[(lags % shape[0])[:, None], lags % shape[1]]
    if blurring is not None:
        own = own + blurring
    return psfs_from_correlations(own, cross, start, beta, steps=steps, anchor=anchor, support=support)


def psfs_from_correlations(
    own: Array,
    cross: Array,
    start: Array,
    beta: float,
    *,
    steps: int = STEPS,
    anchor: Array | None = None,
    support: Array | None = None,
) -> Array:
    """The non-negative PSFs of `psfs_from_gradients` from all that they need of the feature images.

    Parameters
    ----------
    own : real array (2k − 1, 2k − 1)
        Summed autocorrelation of the sharp images at small lags; its middle is the lag 0.
    cross : real array (N, k, k)
        Summed correlations of the sharp images with the blurry ones, likewise.
    start : real array (N, k, k)
    beta : float
        Positive weight of the squared PSF.
    steps : int
        Of the projected gradient.
    anchor : real array (N, k, k), optional
        PSFs whose distance is weighed by beta; zero by default.
    support : real array (N, k, k), optional
        1 where a PSF may be, 0 elsewhere.

    Returns
    -------
    real array (N, k, k)
        Not normalised.
    """
    xp = array_module(own, cross, start)
    target = cross if anchor is None else cross + start.dtype.type(beta) * anchor
    support = xp.ones((1, *start.shape[1:]), start.dtype) if support is None else support
    own = xp.ascontiguousarray(own, dtype=start.dtype)
    steepest = steepest_slope(own) + beta
    return projected_gradient(own, target, start, support, beta, steepest, steps)
