"""Fusion of registered whole frames without any learning: vanilla Fourier burst accumulation, and the plain mean."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.layers.fba import FLOOR, periodic_gaussian
from deconvnet.ops.border import extend_periodically
from deconvnet.progress import step

__all__ = ["fourier_burst_accumulation", "mean"]


def _periodic_gaussian_hat(xp: Any, size: int, sigma: float, dtype: DTypeLike) -> Array:
    """Transform (size,) of `periodic_gaussian`, which is even: it is real."""
    return xp.asarray(np.fft.fft(periodic_gaussian(size, sigma)).real.astype(dtype))


def _smooth(magnitude: Array, shape: tuple[int, int], gaussian: list[Array]) -> Array:
    """Gaussian smoothing of the magnitudes (H, W//2 + 1) of a real picture, over the full periodic spectrum.

    Such magnitudes are even, so they are themselves the half spectrum of a real array (H, W), and the periodic
    convolution is one product there with the Gaussian's transform, whose factors are (H,) and (W,): no need to unfold
    the spectrum.
    """
    xp = array_module(magnitude)
    down, across = gaussian
    correlation = irfft2(magnitude.astype(xp.result_type(magnitude, xp.complex64)), shape)
    correlation *= down[:, None]
    correlation *= across
    return rfft2(correlation).real


def fourier_burst_accumulation(
    frames: Iterable[Array],
    p: float = 11.0,
    sigma: float | None = None,
    *,
    extend: bool = False,
    progress: bool = False,
) -> Array:
    """Fuse registered frames: each frequency comes mostly from the frames in which it is strongest.

    Parameters
    ----------
    frames : real array (N, H, W) or (N, H, W, C), or iterable of real arrays (H, W) or (H, W, C)
        Registered frames, float32 or float64, in [0, 1]. They are taken one after the other, so an iterator that reads
        or converts them needs the memory of one.
    p : float
        0 is the mean of the frames, a large p takes each frequency from the one frame where it is strongest.
    sigma : float, optional
        Width of the Gaussian that smooths the magnitudes, in frequency bins; 0 for none. By default
        ``min(H, W) / 50``.
    extend : bool
        Continue the frames smoothly to the next sizes with fast DFTs: frames cropped by a registration have any size,
        and one with a large prime factor takes four times as long. Nothing changes for sizes that are fast already.
    progress : bool
        Show a bar.

    Returns
    -------
    real array (H, W) or (H, W, C)
        In the frames' dtype, not clipped: it may leave [0, 1] a little.

    Raises
    ------
    ValueError
        If there is no frame, or shapes differ.

    Notes
    -----
    ``u = F⁻¹[ Σ_i w_i F(v_i) ]`` with ``w_i = |v̂_i|^p / Σ_j |v̂_j|^p``, where ``|v̂_i|`` is the mean over the channels
    of the magnitudes of ``F(v_i)``, smoothed with the Gaussian; one weight map serves all channels. Delbracio & Sapiro
    2015, Eqs. (5) and (6) and Algorithm 1, doi:10.1109/TIP.2015.2442914, with their p = 11. The weights
    are a softmax over the frames of ``p · log|v̂_i|`` (the power itself overflows float32), summed up as the frames come
    by rescaling to the largest exponent so far: one pass, and besides the current frame only the sums, C half spectra,
    are in memory.

    Borders are periodic, and without ``extend`` nothing is done about them, as published.

    Examples
    --------
    >>> import numpy as np
    >>> sharp = np.random.default_rng(0).random((64, 64))
    >>> frames = [np.full((64, 64), sharp.mean()), sharp]  # one blurred away, one sharp
    >>> bool(abs(fourier_burst_accumulation(frames, sigma=0) - sharp).max() < 1e-3)
    True
    """
    largest: Any = None
    known = len(frames) if isinstance(frames, Sized) else None
    with step("accumulating", known, "frame", shown=progress) as accumulating:
        for frame in frames:
            xp = array_module(frame)
            if largest is None:
                first_shape, shape = frame.shape, frame.shape[:2]
                sigma = min(shape) / 50 if sigma is None else sigma
                grid = tuple(scipy.fft.next_fast_len(n, real=True) for n in shape) if extend else shape
                gaussian = [_periodic_gaussian_hat(xp, n, sigma, frame.dtype) for n in grid] if sigma > 0 else None
            elif frame.shape != first_shape:
                raise ValueError(f"frames of different shapes: {first_shape} and {frame.shape}")
            channels = xp.moveaxis(frame.reshape(*shape, -1), -1, 0)
            channels = xp.ascontiguousarray(channels) if grid == shape else extend_periodically(channels, grid)
            spectra = rfft2(channels)  # (C, H, W//2 + 1)
            magnitude = xp.abs(spectra).mean(axis=0)
            if gaussian is not None:
                magnitude = _smooth(magnitude, grid, gaussian)
            logits = p * xp.log(xp.maximum(magnitude, FLOOR))
            if largest is None:
                largest, total, fused = logits, xp.ones_like(logits), spectra
                accumulating.update()
                continue
            higher = xp.maximum(largest, logits)
            kept, share = xp.exp(largest - higher), xp.exp(logits - higher)
            largest = higher
            total *= kept
            total += share
            fused *= kept
            spectra *= share
            fused += spectra
            accumulating.update()
    if largest is None:
        raise ValueError("no frames to accumulate")
    fused /= total
    picture = irfft2(fused, grid)[:, : shape[0], : shape[1]]
    return xp.ascontiguousarray(xp.moveaxis(picture, 0, -1)).reshape(first_shape)


def mean(frames: Iterable[Array]) -> Array:
    """Mean of registered frames: "align and average".

    Parameters
    ----------
    frames : real array (N, H, W) or (N, H, W, C), or iterable of real arrays (H, W) or (H, W, C)
        float32 or float64, any range. At least one.

    Returns
    -------
    real array (H, W) or (H, W, C)
        In the frames' dtype.

    Raises
    ------
    ValueError
        If there is no frame.

    Examples
    --------
    >>> import numpy as np
    >>> mean([np.zeros((1, 2)), np.ones((1, 2))])
    array([[0.5, 0.5]])
    """
    total: Any = None
    count = 0
    for frame in frames:
        if total is None:
            total = frame.copy()
        else:
            total += frame
        count += 1
    if total is None:
        raise ValueError("no frames to average")
    return total / count
