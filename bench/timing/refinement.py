"""Rows of the kernel table beyond the networks: refinement of PSFs, final deconvolution, and filters in training.

The reference is the same call with all kernels as plain array code. PyTorch has no equivalent that people would use.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from bench.timing.kernels import Calls, Kernel
from bench.timing.photo import photograph
from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.kernels.burst.latent_gradients import expected_spectra, faded_gradients
from deconvnet.kernels.burst.psf_correlations import psf_correlations
from deconvnet.kernels.burst.quotient_sums import quotient_sums
from deconvnet.kernels.burst.spectrum_strips import to_strips
from deconvnet.kernels.kernel import engine
from deconvnet.kernels.photo.edge_gradients import edge_gradients
from deconvnet.kernels.photo.feature_correlations import feature_correlations, feature_spectra
from deconvnet.kernels.photo.filter_bank import filter_bank
from deconvnet.kernels.photo.masked_deconvolution import masked_deconvolution
from deconvnet.kernels.photo.median_magnitude import median_magnitude
from deconvnet.kernels.photo.psf_grid import projected_gradient, steepest_slope
from deconvnet.ops.differences import differences, differences_power
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample
from deconvnet.ops.window import tukey
from deconvnet.restore.blind_steps import STEPS, couplings
from deconvnet.restore.deconvolve.priors import sparse_divergence

__all__ = ["REFINEMENT"]


def _with_reference(call, tolerance=1e-4):
    """A call, and the same one in plain array code."""

    def reference():
        with engine("reference"):
            return call()

    return Calls(call, reference, None, tolerance)


def _photo(side, psf_side, device):
    """A photograph (H, W), a round PSF of sum 1, its transfer function, and the photograph blurred periodically."""
    sharp, place = device.array(photograph(side)[0]), np.arange(psf_side) - psf_side // 2
    spot = np.exp(-(place[:, None] ** 2 + place**2) / (psf_side / 4) ** 2)
    psf = device.array((spot / spot.sum()).astype(np.float32))
    otf = psf_to_otf(psf, sharp.shape)
    return sharp, psf, otf, irfft2(otf * rfft2(sharp), sharp.shape)


def _edges(rng, side, device):
    _, _, otf, blurry = _photo(side, 17, device)
    data, power, weight = otf.conj() * rfft2(blurry), otf.real**2 + otf.imag**2, 4e-3
    # Rounding decides about pixels that are as steep as the threshold.
    return _with_reference(lambda: edge_gradients(data, power, weight, blurry, couplings(weight)), 5e-2)


def _correlations(rng, size, device):
    side, psf_side = size
    sharp, _, _, blurry = _photo(side, psf_side, device)
    images = [array_module(image).stack(differences(image)) for image in (sharp, blurry)]
    window = device.array(tukey(side, 16).astype(np.float32))

    def call():
        spectra = [feature_spectra(image, window, window, (side, side)) for image in images]
        return feature_correlations(*spectra, (side, side), psf_side)

    return _with_reference(call)


def _psf_descent(rng, size, device):
    count, side = size
    maps = rng.standard_normal((2, 4 * side, 4 * side))
    own = np.fft.irfft2((np.abs(np.fft.rfft2(maps)) ** 2).sum(axis=0))
    lags = np.arange(1 - side, side)
    own = own[lags[:, None], lags]
    psfs = sample_gp_psfs(rng, count, side)
    target = np.stack([fftconvolve(own, psf, mode="valid") for psf in psfs])
    target += 0.02 * abs(target).max() * rng.standard_normal(target.shape)
    arrays = [own, target, psfs[:, ::-1], np.ones((1, side, side))]  # from a start that is as sparse as the PSFs
    arrays = [device.array(a.astype(np.float32)) for a in arrays]
    steepest = steepest_slope(arrays[0]) + 3.0
    return _with_reference(lambda: projected_gradient(*arrays, 3.0, steepest, STEPS), 1e-3)


def _deconvolution(rng, size, device):
    side, steps = size
    _, psf, _, blurry = _photo(side, 17, device)
    mask = array_module(blurry).ones_like(blurry)
    mask[-32:], mask[:, -32:] = 0, 0
    target = sparse_divergence(blurry, 4.0)
    return _with_reference(lambda: masked_deconvolution(blurry, target, blurry, mask, psf, 3e3, 4.0, steps), 1e-3)


def _shrinkage(rng, side, device):
    image = device.array(photograph(side)[0])
    return _with_reference(lambda: sparse_divergence(image, 64.0), 1e-3)


def _median(rng, side, device):
    values = device.array(rng.standard_normal((side, side), dtype=np.float32))
    return _with_reference(lambda: median_magnitude(values))


def _resampling(rng, size, device):
    image, (_, smaller) = device.array(photograph(size[0])), size
    return _with_reference(lambda: resample(image, (smaller, smaller)))


def _window(rng, size, device):
    """What `deconvnet.restore.burst.refine` does once with every window, but for the PSFs' own steps."""
    frames, side, psf_side = size
    _, psf, otf, blurry = _photo(side, psf_side, device)
    xp, grid, inside = array_module(blurry), (side, side), side - 32
    images = blurry + device.array(0.01 * rng.standard_normal((frames, side, side), dtype=np.float32))
    psfs, window = xp.stack([psf] * frames), device.array(tukey(inside, 16).astype(np.float32))
    gradient_power, prior = differences_power(xp, grid, np.float32), xp.full(otf.shape, 50, np.float32)

    def call():
        data, power = quotient_sums(psfs, to_strips(rfft2(images)), grid)
        gradients = to_strips(rfft2(faded_gradients(images, window, window, grid)))
        sharp_hat, _ = expected_spectra(data, power, gradient_power, prior, 1e-4)
        sharp = faded_gradients(irfft2(sharp_hat, grid)[None], window, window, grid)[0]
        return psf_correlations(rfft2(sharp), gradients, grid, psf_side)

    return _with_reference(call, 1e-3)


def _filters(rng, size, device):
    side, filter_side, batch = size
    x = device.array(rng.standard_normal((batch, 1, side, side), dtype=np.float32))
    filters, bias = (
        device.array((0.1 * rng.standard_normal(shape)).astype(np.float32))
        for shape in ((32, 1, filter_side, filter_side), (32,))
    )
    return _with_reference(lambda: filter_bank(x, filters, bias), 1e-3)


#: More rows for `bench.timing.kernels.kernel_table`.
REFINEMENT = (
    Kernel("edges of a latent photo (side)", (768, 2048), (192,), _edges),
    Kernel("correlations of gradients (side, PSF side)", ((768, 17), (2048, 33)), ((192, 9),), _correlations),
    Kernel("projected gradient (PSFs, side)", ((14, 17), (4, 45)), ((2, 9),), _psf_descent),
    Kernel("deconvolution of a photo (side, steps)", ((768, 4), (2048, 4)), ((192, 2),), _deconvolution),
    Kernel("sparse prior (side)", (2048,), (256,), _shrinkage),
    Kernel("median magnitude (side)", (2048,), (256,), _median),
    Kernel("resampling (side, new side)", ((2048, 1448),), ((256, 181),), _resampling),
    Kernel("refinement of a burst's window (frames, side, PSF side)", ((14, 384, 17),), ((3, 96, 9),), _window),
    Kernel("filters and tanh (crop, filter side, batch)", ((256, 17, 8),), ((128, 9, 2),), _filters),
)
