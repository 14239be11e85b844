"""Fusion of registered whole frames without any learning: vanilla Fourier burst accumulation, and the plain mean."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.layers.fba import FLOOR, periodic_gaussian

__all__ = ["fourier_burst_accumulation", "mean"]


def _periodic_gaussian_hat(xp, size, sigma, dtype):
    """Transform (size,) of `periodic_gaussian`, which is even: it is real."""
    return xp.asarray(np.fft.fft(periodic_gaussian(size, sigma)).real.astype(dtype))


def _smooth(magnitude, shape, sigma):
    """Gaussian smoothing of the magnitudes (H, W//2 + 1) of a real picture, over the full periodic spectrum.

    Such magnitudes are even, so they are themselves the half spectrum of a real array (H, W), and the periodic
    convolution is one product with the Gaussian's transform there: no need to unfold the spectrum.
    """
    xp = array_module(magnitude)
    height, width = shape
    correlation = irfft2(magnitude.astype(xp.result_type(magnitude, xp.complex64)), shape)
    correlation *= _periodic_gaussian_hat(xp, height, sigma, magnitude.dtype)[:, None]
    correlation *= _periodic_gaussian_hat(xp, width, sigma, magnitude.dtype)[None]
    return rfft2(correlation).real


def fourier_burst_accumulation(frames, p=11.0, sigma=None, *, progress=False):
    """Fuse registered frames: each frequency comes mostly from the frames in which it is strongest.

    Parameters
    ----------
    frames : array (N, H, W) or (N, H, W, C), or iterable of arrays (H, W) or (H, W, C)
        Registered frames, float32 or float64, in [0, 1]. They are taken one after the other, so an iterator that reads
        or converts them needs the memory of one.
    p : float
        0 is the mean of the frames, a large p takes each frequency from the one frame where it is strongest.
    sigma : float, optional
        Width of the Gaussian that smooths the magnitudes, in frequency bins; 0 for none. By default
        ``min(H, W) / 50``.
    progress : bool
        Show a bar.

    Returns
    -------
    array (H, W) or (H, W, C)
        In the frames' dtype, not clipped: it may leave [0, 1] a little.

    Raises
    ------
    ValueError
        If there is no frame, or shapes differ.

    Notes
    -----
    ``u = F⁻¹[ Σ_i w_i F(v_i) ]`` with ``w_i = |v̂_i|^p / Σ_j |v̂_j|^p``, where ``|v̂_i|`` is the mean over the channels
    of the magnitudes of ``F(v_i)``, smoothed with the Gaussian; one weight map serves all channels. Delbracio & Sapiro
    2015, Eqs. (5) and (6) and Algorithm 1, with their p = 11. The weights are a softmax over the frames of
    ``p · log|v̂_i|`` (the power itself overflows float32), summed up as the frames come by rescaling to the largest
    exponent so far: one pass, and besides the current frame only the sums, C half spectra, are in memory.

    The DFT is periodic, and nothing is done about the borders, as published.
    """
    largest = None
    if progress:
        from tqdm import tqdm

        frames = tqdm(frames, desc="accumulating", unit="frame")
    for frame in frames:
        xp = array_module(frame)
        if largest is None:
            first_shape, shape = frame.shape, frame.shape[:2]
            width = min(shape) / 50 if sigma is None else sigma
        elif frame.shape != first_shape:
            raise ValueError(f"frames of different shapes: {first_shape} and {frame.shape}")
        channels = xp.moveaxis(frame.reshape(*shape, -1), -1, 0)
        spectra = rfft2(xp.ascontiguousarray(channels))  # (C, H, W//2 + 1)
        magnitude = xp.abs(spectra).mean(axis=0)
        if width > 0:
            magnitude = _smooth(magnitude, shape, width)
        logits = p * xp.log(xp.maximum(magnitude, FLOOR))
        if largest is None:
            largest, total, fused = logits, xp.ones_like(logits), spectra
            continue
        higher = xp.maximum(largest, logits)
        kept, share = xp.exp(largest - higher), xp.exp(logits - higher)
        largest = higher
        total *= kept
        total += share
        fused *= kept
        spectra *= share
        fused += spectra
    if largest is None:
        raise ValueError("no frames to accumulate")
    fused /= total
    picture = irfft2(fused, shape)
    return xp.ascontiguousarray(xp.moveaxis(picture, 0, -1)).reshape(first_shape)


def mean(frames):
    """Mean of registered frames: "align and average".

    Parameters
    ----------
    frames : array (N, H, W) or (N, H, W, C), or iterable of arrays (H, W) or (H, W, C)
        float32 or float64, any range. At least one.

    Returns
    -------
    array (H, W) or (H, W, C)
        In the frames' dtype.

    Raises
    ------
    ValueError
        If there is no frame.
    """
    total, count = None, 0
    for frame in frames:
        total = frame.copy() if total is None else total + frame
        count += 1
    if total is None:
        raise ValueError("no frames to average")
    return total / count
