"""PSFs as non-negative least squares: the quotient layer with the support and the sign inside, unrolled.

Schuler et al. 2015 (Sec. 3.1.2) divide the spectra first, then crop to the support and clip what is negative. The same
least squares with both constraints need more steps, but each is on a grid of about twice the PSF only.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward

__all__ = ["psf_least_squares", "psf_least_squares_backward"]


def _places(xp, side, grid, n):
    """Indices of the support on the features' grid, of the lags below the side there, and of these on n × n pixels."""
    place, lags = xp.arange(side) - side // 2, xp.arange(1 - side, side)
    of = [(..., (at % grid[0])[:, None], at % grid[1]) for at in (place, lags)]
    return (*of, (..., (lags % n)[:, None], lags % n))


def _momenta(steps):
    """Weights of the last step in each new one (Beck & Teboulle 2009)."""
    momenta, last = [], 1.0
    for _ in range(steps):
        new = (1 + np.sqrt(1 + 4 * last**2)) / 2
        momenta.append((last - 1) / new)
        last = new
    return momenta


def _apply(spectrum, psf, n):
    """Correlations of the images with what the PSF makes of them, on the support; and the PSF's spectrum."""
    xp = array_module(psf)
    side = psf.shape[-1]
    room = xp.zeros((len(psf), n, n), dtype=psf.dtype)
    room[:, :side, :side] = psf
    hat = rfft2(room)
    return irfft2(spectrum * hat, (n, n))[:, :side, :side], hat


def psf_least_squares(
    x_hat: Array, y_hat: Array, start: Array, beta: Array, alpha: float, grid: tuple[int, int], steps: int
) -> tuple[Array, tuple]:
    """The non-negative PSFs that best take images to blurry ones, after some steps.

    Parameters
    ----------
    x_hat, y_hat : complex array (B, M, F)
        Half spectra, flattened, of M pairs of images, faded to zero at the borders.
    start : real array (B, k, k)
        First guess, and the anchor.
    beta : real array (B,)
        Positive weights of the squared PSFs.
    alpha : float
        Positive weight of their squared distance from the anchor.
    grid : (int, int)
        Height and width of the images, at least ``2 k − 1``.
    steps : int

    Returns
    -------
    psf : array (B, k, k)
        Non-negative, not normalised.
    cache : tuple
        What `psf_least_squares_backward` needs.

    Notes
    -----
    ``min ½ Σ_m ‖psf * x_m − y_m‖² + ½ β ‖psf‖² + ½ α ‖psf − start‖²  subject to psf ≥ 0`` on the support. With A the
    correlation of the images at lags below k and b their correlation with the blurry ones, both from one transform, ::

        a_t = p_t + μ_t (p_t − p_{t−1}),   p_{t+1} = max(a_t − (A a_t + (β + α) a_t − b − α start) / L, 0)

    an accelerated projected gradient with L = max Â + β + α. The backward runs the steps in reverse; A is its own
    adjoint.
    """
    xp = array_module(x_hat, start)
    batch, side = len(start), start.shape[-1]
    real = start.dtype.type
    n = scipy.fft.next_fast_len(2 * side - 1, real=True)
    support, lags, small = _places(xp, side, grid, n)
    half = (batch, grid[0], grid[1] // 2 + 1)
    power = (x_hat.real**2 + x_hat.imag**2).sum(axis=1)
    own = irfft2(power.reshape(half).astype(x_hat.dtype), grid)[lags]
    target = irfft2((x_hat.conj() * y_hat).sum(axis=1).reshape(half), grid)[support] + real(alpha) * start
    room = xp.zeros((batch, n, n), dtype=start.dtype)
    room[small] = own
    spectrum = rfft2(room).real
    flat = spectrum.reshape(batch, -1)
    steepest = flat.argmax(axis=1)
    ridge = (beta + real(alpha))[:, None, None]
    rate = 1 / (flat[xp.arange(batch), steepest][:, None, None] + ridge)
    before, psf, kept = start, start, []
    for momentum in _momenta(steps):
        ahead = psf + real(momentum) * (psf - before)
        seen, hat = _apply(spectrum, ahead, n)
        slope = seen + ridge * ahead - target
        before, psf = psf, xp.maximum(ahead - rate * slope, 0)
        kept.append((ahead, hat, slope, psf > 0))
    return psf, (x_hat, y_hat, start, ridge, alpha, grid, n, spectrum, steepest, rate, kept)


def psf_least_squares_backward(dpsf: Array, cache: tuple) -> tuple[Array, Array, Array, Array, float]:
    """Gradients ``(dx_hat, dy_hat, dstart, dbeta (B,), dalpha)`` of `psf_least_squares`; the last is a float."""
    x_hat, y_hat, start, ridge, alpha, grid, n, spectrum, steepest, rate, kept = cache
    xp = array_module(dpsf)
    batch, side = len(start), start.shape[-1]
    real = start.dtype.type
    support, lags, small = _places(xp, side, grid, n)
    dbefore, dtarget, dspectrum = xp.zeros_like(start), xp.zeros_like(start), xp.zeros_like(spectrum)
    drate, dridge = xp.zeros((2, batch), dtype=start.dtype)
    room = xp.zeros((batch, n, n), dtype=start.dtype)
    for momentum, (ahead, hat, slope, active) in zip(_momenta(len(kept))[::-1], kept[::-1]):
        dahead = active * dpsf
        drate -= (dahead * slope).sum(axis=(-2, -1))
        dslope = -rate * dahead
        room[:, :side, :side] = dslope
        back = irfft2_backward(room)
        dspectrum += back.real * hat.real + back.imag * hat.imag
        dahead = dahead + _apply(spectrum, dslope, n)[0] + ridge * dslope
        dridge += (dslope * ahead).sum(axis=(-2, -1))
        dtarget -= dslope
        dpsf, dbefore = dbefore + real(1 + momentum) * dahead, -real(momentum) * dahead
    dlargest = -drate * rate[:, 0, 0] ** 2
    dridge += dlargest
    dspectrum.reshape(batch, -1)[xp.arange(batch), steepest] += dlargest
    dalpha = float(dridge.sum()) + float((dtarget * start).sum())
    dstart = dpsf + dbefore + real(alpha) * dtarget
    full = xp.zeros((2, batch, *grid), dtype=start.dtype)
    full[0][lags] = rfft2_backward(dspectrum.astype(x_hat.dtype), (n, n))[small]
    full[1][support] = dtarget
    dpower, dcross = irfft2_backward(full).reshape(2, batch, 1, -1)
    dx_hat = 2 * dpower.real * x_hat + dcross.conj() * y_hat
    return dx_hat, dcross * x_hat, dstart, dridge, dalpha
