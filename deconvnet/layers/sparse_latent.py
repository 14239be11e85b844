"""Latent images with few edges, by a few unrolled steps of half-quadratic splitting with learned constants.

The second quotient layer of Schuler et al. 2015 (Sec. 3.1.3) leaves ringing and noise where the PSF passes nothing.
Here its result is mended: gradients that are too small to be edges are shrunk, and a quotient asks for an image that
fits both the blurry one and these gradients. A few times over this is the sparse latent image of Xu, Zheng & Jia 2013,
and all of it has a gradient, also with respect to the PSF.
"""

from __future__ import annotations

from typing import Any

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward
from deconvnet.ops.differences import differences, differences_adjoint, differences_power
from deconvnet.ops.psf import psf_to_otf, psf_to_otf_backward

__all__ = ["shrink", "shrink_backward", "sparse_latents", "sparse_latents_backward"]


def _gradients(x):
    """Differences of ``x (B, H, W)`` to the next pixel across and down, taken as periodic, (B, 2, H, W)."""
    down, across = differences(x)
    return array_module(x).stack([across, down], axis=1)


def _gradients_adjoint(d):
    """Adjoint of `_gradients`."""
    return differences_adjoint(d[:, 1], d[:, 0])


def shrink(g: Array, threshold: Array) -> tuple[Array, tuple]:
    """Gradients of which only the large ones stay.

    Parameters
    ----------
    g : real array (B, 2, H, W)
        Differences across and down.
    threshold : real array (B,)
        Square of the length below which a gradient counts as none, positive.

    Returns
    -------
    array (B, 2, H, W)
    cache : tuple
        What `shrink_backward` needs.

    Notes
    -----
    ``w = g · q² / (1 + q²)`` with ``q = |g|² / threshold``: nearly the hard decision of a gradient that is either zero
    or stays, but with a derivative. Backward, with s = q² / (1 + q²) and ``s' = 2 q / (1 + q²)²``:
    ``Δg = s Δ + 2 s' / threshold · (Σ Δ·g) g``,  ``Δthreshold = −Σ s' q / threshold · (Δ·g)``.
    """
    xp = array_module(g)
    across, down = g[:, 0], g[:, 1]
    q = across * across
    q += down * down
    q /= threshold[:, None, None]
    s = xp.minimum(q, 1e6)  # its square stays finite in float32
    s *= s
    s /= 1 + s
    w = xp.empty_like(g)
    xp.multiply(across, s, out=w[:, 0])
    xp.multiply(down, s, out=w[:, 1])
    return w, (g, q, s, threshold)


def shrink_backward(dw: Array, cache: tuple) -> tuple[Array, Array]:
    """Gradients ``(dg, dthreshold (B,))`` of `shrink`."""
    g, q, s, threshold = cache
    inner = dw[:, 0] * g[:, 0]
    inner += dw[:, 1] * g[:, 1]
    slope = (1 - s) ** 2  # 1 / (1 + q²)², so that s' = 2 q · slope
    slope *= q
    slope *= inner
    dthreshold = -2 * (slope * q).sum(axis=(-2, -1)) / threshold
    slope *= (4 / threshold)[:, None, None]
    dg = g * slope[:, None]
    dg[:, 0] += dw[:, 0] * s
    dg[:, 1] += dw[:, 1] * s
    return dg, dthreshold


def sparse_latents(
    y_hat: Array, psf: Array, couplings: Array, thresholds: Array, grid: tuple[int, int], shape: tuple[int, int]
) -> tuple[Array, Array, Array, tuple]:
    """A latent image as the quotient gives it, one with few edges, and the gradients of its edges.

    Parameters
    ----------
    y_hat : complex array (B, gh, gw//2 + 1)
        Half spectra of the blurry images, see `deconvnet.layers.image_estimation.blurry_spectrum`.
    psf : real array (B, k, k)
    couplings, thresholds : real array (N + 1, B)
        Positive: weights of the gradients in each quotient, and squared lengths for `shrink` after each.
    grid, shape : (int, int)
        Extended size, and the size of the image.

    Returns
    -------
    first, last : array (B, H, W)
    edges : array (B, 2, H, W)
        Across and down.
    cache : tuple
        What `sparse_latents_backward` needs.

    Notes
    -----
    With ∂ the differences to the next pixel, ``w₀ = 0`` and ``n = 0 … N``::

        x_n     = F⁻¹[ (conj(F psf) F y + c_n F(∂ᵀ w_n)) / (|F psf|² + c_n |F ∂|²) ],      w_{n+1} = shrink(∂ x_n, t_n)

    which gives ``first = x_0``, ``last = x_N`` and ``edges = w_{N+1}``.
    """
    xp = array_module(y_hat, psf)
    batch, (height, width) = len(psf), shape
    otf = psf_to_otf(psf, grid).reshape(batch, -1)
    y_hat = y_hat.reshape(batch, -1)
    power = differences_power(xp, grid, psf.dtype).ravel()
    data, fit = otf.conj() * y_hat, otf.real**2 + otf.imag**2
    divergence, kept, steps, images = None, None, [], []
    for coupling, threshold in zip(couplings, thresholds):
        c = coupling[:, None]
        denominator = fit + c * power
        x_hat = (data if divergence is None else data + c * divergence) / denominator
        image = irfft2(x_hat.reshape(batch, grid[0], -1), grid)
        w, kept = shrink(_gradients(image), threshold)
        steps.append((x_hat, denominator, divergence, kept))
        images.append(image)
        if len(steps) < len(couplings):
            divergence = rfft2(_gradients_adjoint(w)).reshape(batch, -1)
    first, last = (image[:, :height, :width] for image in (images[0], images[-1]))
    cache = (y_hat, otf, power, steps, couplings, psf.shape[-1], grid, shape)
    return first, last, w[:, :, :height, :width], cache


def sparse_latents_backward(dfirst: Array, dlast: Array, dedges: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Gradients ``(dpsf, dcouplings, dthresholds)`` of `sparse_latents`; the blurry image gets none."""
    y_hat, otf, power, steps, couplings, side, grid, shape = cache
    xp = array_module(dedges)
    batch, (height, width) = len(dedges), shape
    dcouplings, dthresholds = xp.zeros_like(couplings), xp.zeros_like(couplings)
    ddata: Any = 0
    dfit: Any = 0
    dw = xp.zeros((batch, 2, *grid), dtype=dedges.dtype)
    dw[:, :, :height, :width] = dedges
    for n in range(len(steps) - 1, -1, -1):
        x_hat, denominator, divergence, kept = steps[n]
        dg, dthresholds[n] = shrink_backward(dw, kept)
        dimage = _gradients_adjoint(dg)
        if n == len(steps) - 1:
            dimage[:, :height, :width] += dlast
        if n == 0:
            dimage[:, :height, :width] += dfirst
        dx_hat = irfft2_backward(dimage).reshape(batch, -1)
        dnumerator = dx_hat / denominator
        ddenominator = -(dnumerator.real * x_hat.real + dnumerator.imag * x_hat.imag)
        ddata, dfit = ddata + dnumerator, dfit + ddenominator
        dcouplings[n] = ddenominator @ power
        if divergence is not None:
            dcouplings[n] += (dnumerator.real * divergence.real + dnumerator.imag * divergence.imag).sum(axis=1)
            ddivergence = couplings[n][:, None] * dnumerator
            dw = _gradients(rfft2_backward(ddivergence.reshape(batch, grid[0], -1), grid))
    dotf = ddata.conj() * y_hat + 2 * dfit * otf
    return psf_to_otf_backward(dotf.reshape(batch, grid[0], -1), side, grid), dcouplings, dthresholds
