"""The projected gradient that finds the PSFs of all frames of a window, on the pixels where each of them may be.

A PSF occupies a few hundred of the pixels of its grid. On these the normal equations of every frame are a small matrix,
gathered from the one table of correlations that all frames share; no transform is needed.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel

__all__ = ["psf_descent"]

#: Threads of a block on a GPU.
THREADS = 256


def _reference(
    own: Array, target: Array, start: Array, support: Array, beta: float, steepest: float, steps: int
) -> Array:
    """``min ½⟨psf, (A + β) psf⟩ − ⟨target, psf⟩`` over ``psf ≥ 0`` that are 0 outside the support, for every frame.

    Parameters
    ----------
    own : real array (2k − 1, 2k − 1)
        A is the convolution with it; even, its middle is the lag 0.
    target, start : real array (N, k, k)
        Right hand sides, and first guesses, of which only what lies on the support counts.
    support : real array (N, k, k)
        1 where a PSF may be, 0 elsewhere.
    beta, steepest : float
        β, and a bound on the norm of A + β.
    steps : int

    Returns
    -------
    real array (N, k, k)

    Notes
    -----
    The accelerated projected gradient (Beck & Teboulle 2009, DOI 10.1137/080716542), FISTA with the projection
    ``max(·, 0)``.
    """
    xp = array_module(own, target, start, support)
    side, real = start.shape[-1], start.dtype.type
    lags = xp.arange(len(own)) - side + 1
    n = scipy.fft.next_fast_len(len(own), real=True)
    circulant = xp.zeros((n, n), own.dtype)
    circulant[(lags % n)[:, None], lags % n] = own
    spectrum = xp.fft.rfft2(circulant).real
    room = xp.zeros((len(start), n, n), start.dtype)
    psfs = ahead = start * support
    momentum = 1.0
    for _ in range(steps):
        room[:, :side, :side] = ahead
        convolved = xp.fft.irfft2(spectrum * xp.fft.rfft2(room), (n, n))[:, :side, :side].astype(start.dtype)
        slope = convolved + real(beta) * ahead - target
        before, psfs = psfs, xp.maximum(ahead - slope / real(steepest), 0) * support
        last, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = psfs + real((last - 1) / momentum) * (psfs - before)
    return psfs


@compiled(fastmath={"contract"})
def _psf_descent(own, target, start, support, beta, steepest, weights, out, begin, end):
    side, lags = start.shape[1], own.shape[1]
    place, flat = np.empty(side * side, np.int64), own.reshape(-1)
    pixel, active = np.empty(side * side, np.int64), np.zeros(side * side + 4, np.int64)
    for n in range(begin, end):
        count = 0
        for i in range(side):
            for j in range(side):
                out[n, i, j] = 0
                if support[n, i, j] > 0:
                    place[count] = i * lags + j
                    pixel[count] = i * side + j
                    count += 1
        matrix = np.empty((count + 1, count), own.dtype)
        matrix[count] = 0
        centre = (side - 1) * lags + side - 1
        for b in range(count):
            row, origin = matrix[b], centre - place[b]
            for a in range(count):
                row[a] = flat[origin + place[a]]
            row[b] += beta
        psf, before, ahead = np.empty(count, own.dtype), np.empty(count, own.dtype), np.zeros(count + 1, own.dtype)
        wanted, slope = np.empty(count, own.dtype), np.empty(count, own.dtype)
        for a in range(count):
            i, j = pixel[a] // side, pixel[a] % side
            psf[a] = ahead[a] = start[n, i, j]
            wanted[a] = target[n, i, j]
        for step in range(weights.size):
            kept = 0
            for a in range(count):
                slope[a] = -wanted[a]
                if ahead[a] != 0:
                    active[kept] = a
                    kept += 1
            active[kept : kept + 3] = count  # nothing lies ahead there, and the matrix has a column for it
            for done in range(0, kept, 4):  # four columns at once: the sums are loaded and stored once for them
                b, c, d, e = active[done], active[done + 1], active[done + 2], active[done + 3]
                p, q, r, s = ahead[b], ahead[c], ahead[d], ahead[e]
                first, second, third, fourth = matrix[b], matrix[c], matrix[d], matrix[e]
                for a in range(count):
                    slope[a] += first[a] * p + second[a] * q + third[a] * r + fourth[a] * s
            weight = weights[step]
            for a in range(count):
                before[a] = psf[a]
                psf[a] = max(ahead[a] - slope[a] * steepest, own.dtype.type(0))
                ahead[a] = psf[a] + weight * (psf[a] - before[a])
        for a in range(count):
            out[n, pixel[a] // side, pixel[a] % side] = psf[a]


def _momenta(steps: int) -> list[float]:
    """What share of the last change is added ahead of each step's successor."""
    momentum, found = 1.0, []
    for _ in range(steps):
        last, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        found.append((last - 1) / momentum)
    return found


def _numba(
    own: np.ndarray,
    target: np.ndarray,
    start: np.ndarray,
    support: np.ndarray,
    beta: float,
    steepest: float,
    steps: int,
) -> np.ndarray:
    """Frame after frame."""
    real, out = start.dtype.type, np.empty_like(start)
    arrays = (np.ascontiguousarray(a) for a in (own, target, start, support))
    weights = np.array(_momenta(steps), start.dtype)
    _psf_descent(*arrays, real(beta), real(1 / steepest), weights, out, 0, len(out))
    return out


def _cuda(own: Array, target: Array, start: Array, support: Array, beta: float, steepest: float, steps: int) -> Array:
    """One block per frame; what lies ahead is in shared memory, every thread owns pixels."""
    xp = array_module(own, target, start, support)
    own, target, start, support = (xp.ascontiguousarray(a) for a in (own, target, start, support))
    count, side, _ = start.shape
    shape = (count, side, side)
    cuda.expect(
        own=(own, (2 * side - 1, 2 * side - 1)),
        target=(target, shape),
        start=(start, shape),
        support=(support, shape),
    )
    ahead, out = xp.empty((2, *shape), start.dtype), xp.empty(shape, start.dtype)
    weights = xp.asarray(np.array(_momenta(steps), start.dtype))
    cuda.launch(
        "burst/psf_descent", "psf_descent", count, THREADS,
        [own, target, start, support, side, beta, 1 / steepest, weights, steps, ahead, out],
        real=start.dtype,
    )  # fmt: skip
    return out


psf_descent = Kernel("psf_descent", reference=_reference, cpu=_numba, cuda=_cuda)
