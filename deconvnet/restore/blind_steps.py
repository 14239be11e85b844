"""The two steps that blind restoration alternates: a latent image with few edges, and PSFs from pairs of gradients.

Both take one blurry image or the registered frames of a burst, which share the latent image.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.ops.differences import differences, differences_adjoint, differences_power

__all__ = ["edge_gradients", "psfs_from_gradients", "value_range"]

#: Percentiles between which an image's values count as its range; prices of edges are for the range 1.
RANGE = (0.1, 99.9)
#: Weights that draw the latent image's gradients to the sparse ones: the first is this many times the price of an
#: edge, each one is twice the one before, and the last is below the limit.
FIRST_COUPLING, LAST_COUPLING = 2.0, 1e2
#: Steps of the accelerated projected gradient that finds the PSFs.
STEPS = 60


def value_range(image):
    """Range of an image's values without the rarest, as a float: 0 for one that is constant nearly everywhere."""
    xp = array_module(image)
    darkest, brightest = xp.percentile(image, xp.asarray(RANGE, dtype=image.dtype))
    return float(brightest - darkest)


def edge_gradients(y_hat, otf, price, start, shape):
    """Gradients of the latent image that explains blurry ones with few edges.

    Parameters
    ----------
    y_hat, otf : complex array (N, H, W//2 + 1)
        Half spectra of the blurry images, continued periodically, and of their PSFs.
    price : float
        What an edge pixel costs, in units of the squared misfit of a pixel.
    start : complex array (H, W//2 + 1)
        Half spectrum of a first guess of the latent image.
    shape : (int, int)
        H and W.

    Returns
    -------
    real array (2, H, W)
        Differences to the next pixel down and across, both zero where there is no edge.

    Notes
    -----
    Half-quadratic splitting (Xu, Lu, Xu & Jia 2011; Xu, Zheng & Jia 2013) of
    ``min_x Σ_i ‖psf_i * x − y_i‖² + price · #{∇x ≠ 0}``: with a coupling b that doubles from step to step, the
    gradients ``w = ∇x where |∇x|² > price / b, else 0`` and
    ``x = F⁻¹[ (Σ conj(K_i) Y_i + b F(∇ᵀw)) / (Σ |K_i|² + b |F∇|²) ]`` in turn.
    """
    xp = array_module(y_hat, otf)
    real = y_hat.real.dtype.type
    data, power = (otf.conj() * y_hat).sum(axis=0), (otf.real**2 + otf.imag**2).sum(axis=0)
    gradient_power = differences_power(xp, shape, real)
    x_hat, coupling = start, FIRST_COUPLING * price
    while True:
        down, across = differences(irfft2(x_hat, shape))
        edge = down**2 + across**2 > price / coupling
        down, across = down * edge, across * edge
        if coupling >= LAST_COUPLING / 2:
            return xp.stack([down, across])
        b = real(coupling)
        x_hat = (data + b * rfft2(differences_adjoint(down, across))) / (power + b * gradient_power)
        coupling *= 2


def psfs_from_gradients(x_hat, y_hat, start, beta, shape, *, steps=STEPS, anchor=None, support=None, blurring=None):
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
    steps : int
    anchor : real array (N, k, k), optional
        PSFs whose distance is weighed by beta; zero by default.
    support : real array (N, k, k), optional
        1 where a PSF may be, 0 elsewhere.
    blurring : real array (2k − 1, 2k − 1), optional
        Autocorrelation, summed over the M images, of what is uncertain in the sharp ones; its middle is the lag 0.

    Returns
    -------
    array (N, k, k)
        Not normalised.

    Notes
    -----
    ``min Σ_m ‖psf * x_m − y_m‖² + ⟨psf, A psf⟩ + β ‖psf − anchor‖²  subject to psf ≥ 0, and 0 outside the support``
    for every blurry image, A the convolution with `blurring`. Without the constraints, A and the anchor it is the
    quotient layer (Schuler et al. 2015, Sec. 3.1.2), whose crop and clip come after the division instead. The normal
    equations on the support only need the features' summed correlations at lags below k, so that after one transform
    of each feature image every step works on a grid of about 2k × 2k: an accelerated projected gradient (Beck &
    Teboulle 2009).
    """
    xp = array_module(x_hat, y_hat, start)
    side, dtype = start.shape[-1], start.dtype
    real = dtype.type
    own = irfft2((x_hat.real**2 + x_hat.imag**2).sum(axis=0), shape)
    cross = irfft2((x_hat.conj() * y_hat).sum(axis=1), shape)
    place, lags = xp.arange(side) - side // 2, xp.arange(1 - side, side)
    target = cross[:, (place % shape[0])[:, None], place % shape[1]]
    if anchor is not None:
        target = target + real(beta) * anchor
    own = own[(lags % shape[0])[:, None], lags % shape[1]]
    if blurring is not None:
        own = own + blurring
    n = scipy.fft.next_fast_len(2 * side - 1, real=True)
    circulant = xp.zeros((n, n), dtype)
    circulant[(lags % n)[:, None], lags % n] = own
    spectrum = rfft2(circulant).real
    steepest = real(float(spectrum.max()) + beta)
    room = xp.zeros((len(start), n, n), dtype)

    psfs = ahead = start
    momentum = 1.0
    for _ in range(steps):
        room[:, :side, :side] = ahead
        slope = irfft2(spectrum * rfft2(room), (n, n))[:, :side, :side] + real(beta) * ahead - target
        before, psfs = psfs, xp.maximum(ahead - slope / steepest, 0)
        if support is not None:
            psfs = psfs * support
        last, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = psfs + real((last - 1) / momentum) * (psfs - before)
    return psfs
