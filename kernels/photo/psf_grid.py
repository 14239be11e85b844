"""Non-negative least squares for PSFs on their small support: an accelerated projected gradient as one compiled loop.

Where few pixels are allowed, the compiled twin gathers the matrix that acts on them from the one table of correlations
that all PSFs share. Else it sums the correlation as it is defined, over the pixels that are not zero: few are, once the
constraint has acted. Sixteen neighbours across are one vector, eight rows are summed in registers.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.simd.refinement import TAP_ROWS, sum_of_taps
from deconvnet.kernels.simd.vector import LANES

__all__ = ["projected_gradient", "steepest_slope"]

#: Threads of a block of the CUDA kernel, and the shared memory of a block, which holds a PSF.
THREADS, SHARED = 256, 48 * 1024
#: Most allowed pixels for which a matrix is gathered: 1.6 MB of float32.
GATHERED = 640


def _circulant_spectrum(own: Array) -> tuple[Array, int]:
    """Real half spectrum of an autocorrelation (2k − 1, 2k − 1) on a periodic grid, and the grid's side."""
    xp = array_module(own)
    side = len(own) // 2 + 1
    n = scipy.fft.next_fast_len(len(own), real=True)
    lags = xp.arange(1 - side, side)
    circulant = xp.zeros((n, n), own.dtype)
    circulant[(lags % n)[:, None], lags % n] = own
    return rfft2(circulant).real, n


def steepest_slope(own: Array) -> float:
    """A bound on the largest eigenvalue of the correlation with ``own``, an autocorrelation (2k − 1, 2k − 1)."""
    return float(_circulant_spectrum(own)[0].max())


def _reference(
    own: Array, target: Array, start: Array, support: Array, beta: float, steepest: float, steps: int
) -> Array:
    """Steps towards ``min ⟨p, own * p⟩ + β ‖p‖² − 2 ⟨target, p⟩`` over p ≥ 0 within the support, for every PSF p.

    Parameters
    ----------
    own : real array (2k − 1, 2k − 1)
        Summed autocorrelation of the sharp features, the lag 0 in the middle; positive semidefinite.
    target, start : real array (N, k, k)
    support : real array (1 or N, k, k)
        Factor after every step: 1 where a PSF may be, 0 elsewhere.
    beta : float
    steepest : float
        At least the largest eigenvalue of the quadratic form, β included.
    steps : int

    Returns
    -------
    real array (N, k, k)

    Notes
    -----
    The accelerated projected gradient of Beck & Teboulle 2009, doi:10.1137/080716542.
    """
    xp = array_module(own, target, start, support)
    real, side = start.dtype.type, start.shape[-1]
    spectrum, n = _circulant_spectrum(own)
    room = xp.zeros((len(start), n, n), start.dtype)
    psfs = ahead = start
    for share in _momenta(steps):
        room[:, :side, :side] = ahead
        slope = irfft2(spectrum * rfft2(room), (n, n))[:, :side, :side] + real(beta) * ahead - target
        before, psfs = psfs, xp.maximum(ahead - slope / real(steepest), 0) * support
        ahead = psfs + real(share) * (psfs - before)
    return psfs


def _momenta(steps: int) -> np.ndarray:
    """How far each step is prolonged, float64 (steps,)."""
    found, momentum = np.empty(steps), 1.0
    for i in range(steps):
        last, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        found[i] = (last - 1) / momentum
    return found


@compiled
def _allowed(start, support, pixels):
    """Lists the pixels that may be, or at first are, other than zero, and returns their number."""
    side, count = start.shape[-1], 0
    for i in range(side):
        for j in range(side):
            if support[i, j] != 0 or start[i, j] != 0:
                pixels[count] = i * side + j
                count += 1
    return count


@compiled(fastmath={"contract"})
def _descend_gathered(own, pitch, target, start, support, beta, steepest, shares, pixels, count, out):
    """All steps of one PSF on its allowed pixels."""
    side, zero = start.shape[-1], start.dtype.type(0)
    places, active = np.empty(count, np.int64), np.empty(count + 3, np.int64)
    psf, inside, wanted = np.empty(count, own.dtype), np.empty(count, own.dtype), np.empty(count, own.dtype)
    slope, ahead = np.empty(count, own.dtype), np.zeros(count + 1, own.dtype)
    for a in range(count):
        i, j = pixels[a] // side, pixels[a] % side
        places[a] = i * pitch + j
        psf[a] = ahead[a] = start[i, j]
        inside[a], wanted[a] = support[i, j], target[i, j]
    matrix = np.empty((count + 1, count), own.dtype)
    matrix[count] = 0  # a column to fill up with
    for b in range(count):
        row, origin = matrix[b], (side - 1) * (pitch + 1) - places[b]
        for a in range(count):
            row[a] = own[origin + places[a]]
        row[b] += beta
    for share in shares:
        kept = 0
        for a in range(count):
            slope[a] = -wanted[a]
            if ahead[a] != 0:
                active[kept] = a
                kept += 1
        active[kept : kept + 3] = count
        for done in range(0, kept, 4):  # four columns at once: the sums are loaded and stored once for them
            b, c, d, e = active[done], active[done + 1], active[done + 2], active[done + 3]
            p, q, r, s = ahead[b], ahead[c], ahead[d], ahead[e]
            first, second, third, fourth = matrix[b], matrix[c], matrix[d], matrix[e]
            for a in range(count):
                slope[a] += first[a] * p + second[a] * q + third[a] * r + fourth[a] * s
        for a in range(count):
            step = max(ahead[a] - slope[a] / steepest, zero) * inside[a]
            ahead[a] = step + share * (step - psf[a])
            psf[a] = step
    for i in range(side):
        for j in range(side):
            out[i, j] = 0
    for a in range(count):
        out[pixels[a] // side, pixels[a] % side] = psf[a]


@compiled
def _descend(own, pitch, target, start, support, beta, steepest, shares, out, begin, end):
    side = start.shape[-1]
    real = start.dtype.type
    pixels = np.empty(side * side, np.int64)
    wide, tall = -(-side // LANES) * LANES, -(-side // TAP_ROWS) * TAP_ROWS
    slope = np.empty(tall * wide, start.dtype)
    ahead, psf = np.empty((side, side), start.dtype), np.empty((side, side), start.dtype)
    values, places = np.empty(side * side, start.dtype), np.empty(side * side, np.int64)
    first = (side - 1) * (pitch + 1)
    for n in range(begin, end):
        inside, wanted = support[n if len(support) > 1 else 0], target[n]
        allowed = _allowed(start[n], inside, pixels)
        if allowed <= GATHERED:
            _descend_gathered(own, pitch, wanted, start[n], inside, beta, steepest, shares, pixels, allowed, out[n])
            continue
        for i in range(side):
            for j in range(side):
                psf[i, j] = ahead[i, j] = start[n, i, j]
        for share in shares:
            count = 0
            for i in range(side):
                for j in range(side):
                    if ahead[i, j] != 0:
                        values[count], places[count] = ahead[i, j], -(i * pitch + j)
                        count += 1
            for i in range(0, side, TAP_ROWS):
                for j in range(0, side, LANES):
                    src, dst = first + i * pitch + j, i * wide + j
                    sum_of_taps(values, 0, places, count, own, src, pitch, slope, dst, wide)
            for i in range(side):
                for j in range(side):
                    here = ahead[i, j]
                    step = here - (slope[i * wide + j] + beta * here - wanted[i, j]) / steepest
                    step = max(step, real(0)) * inside[i, j]
                    ahead[i, j] = step + share * (step - psf[i, j])
                    psf[i, j] = step
        for i in range(side):
            for j in range(side):
                out[n, i, j] = psf[i, j]


def _numba(own, target, start, support, beta, steepest, steps):
    """One PSF after the other, each with all of its steps."""
    side, dtype = start.shape[-1], start.dtype
    pitch = 2 * side - 1 + LANES  # whole vectors and groups of rows may be read beyond the end
    room = np.zeros((2 * side - 1 + TAP_ROWS, pitch), dtype)
    room[: 2 * side - 1, : 2 * side - 1] = own
    out, real = np.empty(start.shape, dtype), dtype.type
    shares = _momenta(steps).astype(dtype)
    arguments = room.reshape(-1), pitch, target, start, support, real(beta), real(steepest), shares, out
    in_chunks(_descend, arguments, len(start), 1)
    return out


def _cuda(own, target, start, support, beta, steepest, steps):
    """A block per PSF, where one fits into its memory."""
    xp = array_module(own, target, start, support)
    if start[0].nbytes > SHARED:
        return _reference(own, target, start, support, beta, steepest, steps)
    own, target, start, support = (xp.ascontiguousarray(a) for a in (own, target, start, support))
    count, side = start.shape[:2]
    cuda.expect(
        own=(own, (2 * side - 1, 2 * side - 1)),
        target=(target, start.shape),
        support=(support, (len(support), side, side)),
    )
    shares = xp.asarray(_momenta(steps), dtype=start.dtype)
    out = xp.empty(start.shape, start.dtype)
    arguments = [own, target, start, support, shares, len(support), steps, beta, steepest, out]
    constants = {"SIDE": side, "THREADS": THREADS}
    cuda.launch(
        "photo/psf_grid", "projected_gradient", count, THREADS, arguments, real=start.dtype, constants=constants
    )
    return out


projected_gradient = Kernel("projected_gradient", reference=_reference, cpu=_numba, cuda=_cuda)
