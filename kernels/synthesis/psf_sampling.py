"""Blur kernels from camera paths: sample a Gaussian process or read a recorded path, and splat it."""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.synthesis.counter_random import normal_pair, normal_pair_array

__all__ = ["gp_psfs", "path_response", "recorded_psfs"]

LENGTH_SCALE = 0.3  # l of the Matérn covariance, in units of the exposure
STANDARD_DEVIATION = 0.25  # s
SMOOTHING = 0.3  # σ of the final 3×3 smoothing, pixels
MAX_REDRAWS = 1000
PSFS = 16  # of a chunk
_SMALLEST = 1e-4  # a tap below this share of the light is dropped: it costs as much as a large one


def _transition(time_samples):
    """Matérn-3/2 process as a Markov chain in (f, f'/λ), λ = √3/l: transition matrix and Cholesky factor of its noise.

    The stationary covariance is s²·I, so the noise of a step is s²·(I − A Aᵀ): exact, whatever the step.
    """
    a = math.sqrt(3) / LENGTH_SCALE / (time_samples - 1)
    matrix = math.exp(-a) * np.array([[1 + a, a], [-a, 1 - a]])
    noise = STANDARD_DEVIATION**2 * (np.eye(2) - matrix @ matrix.T)
    return matrix, np.linalg.cholesky(noise)


def _smoothing_taps():
    taps = np.exp(-0.5 * (np.array([-1.0, 0.0, 1.0]) / SMOOTHING) ** 2)
    return taps / taps.sum()


_TAPS = _smoothing_taps()


# --- reference ---------------------------------------------------------------------------------------------------


def path_response(time_samples: int) -> np.ndarray:
    """Matrix ``(T, 2·T)`` from the standard normal numbers of all times to the process: R·Rᵀ = k(t, t')."""
    matrix, factor = _transition(time_samples)
    powers = np.empty((time_samples, 2, 2))
    powers[0] = np.eye(2)
    for t in range(1, time_samples):
        powers[t] = powers[t - 1] @ matrix
    response = np.zeros((time_samples, time_samples, 2))
    response[:, 0] = STANDARD_DEVIATION * powers[:, 0]
    kicks = (powers @ factor)[:, 0]  # what a kick adds to f so many steps later
    for t in range(1, time_samples):
        response[t, 1 : t + 1] = kicks[:t][::-1]
    return response.reshape(time_samples, 2 * time_samples)


def _gp_reference(keys: Array, extent: Array, shift: Array, size: int, time_samples: int) -> Array:
    """PSFs of Gaussian-process camera paths.

    Parameters
    ----------
    keys : uint32 array (M, 2)
        Keys of the noise, from `deconvnet.kernels.synthesis.counter_random.draw_keys`.
    extent : float array (M,)
        Pixels that the interval [−1/2, 1/2] of the process spans; 0 for no shake.
    shift : float array (M, 2)
        Where the centre of mass lies, in pixels down and right of the middle ``size // 2``.
    size : int
        Side of the grid.
    time_samples : int
        Positions along the path.

    Returns
    -------
    float32 array (M, size, size)
        Non-negative, each of sum 1.

    Raises
    ------
    RuntimeError
        If a path does not fit on its grid in 1000 trials.

    Notes
    -----
    See `deconvnet.blur.psf.sample_gp_psfs`. Trial k of a PSF uses the counters from ``2·time_samples·k`` on: a pair
    for the rows and a pair for the columns at every time.
    """
    xp = array_module(keys, extent, shift)
    count = len(extent)
    response = xp.asarray(path_response(time_samples))
    paths = xp.zeros((count, time_samples, 2))
    pending = extent > 0
    for trial in range(MAX_REDRAWS):
        if not bool(pending.any()):
            break
        base = 2 * time_samples * trial + 2 * np.arange(time_samples)[:, None] + np.arange(2)[None, :]
        counter = xp.asarray(base.astype(np.uint32))[None]
        pair = xp.stack(normal_pair_array(counter, keys[:, :1, None], keys[:, 1:, None]), axis=-1)
        noise = pair.transpose(0, 2, 1, 3).reshape(count, 2, 2 * time_samples)
        path = xp.matmul(noise, response.T).transpose(0, 2, 1)
        path = path - path.mean(axis=1, keepdims=True)
        fits = abs(path).max(axis=(1, 2)) <= 0.5
        path = path * extent[:, None, None]
        fits &= _on_grid(path + shift[:, None], size).all(axis=(1, 2))
        paths = xp.where((pending & fits)[:, None, None], path, paths)
        pending = pending & ~fits
    if bool(pending.any()):
        raise RuntimeError(f"no camera path fits on a grid of {size} pixels in {MAX_REDRAWS} trials")
    return _splat_reference(xp, paths, shift, size, extent > 0)


def _recorded_reference(
    angles: Array,
    first: Array,
    step: Array,
    projection: Array,
    extent: Array,
    shift: Array,
    size: int,
    time_samples: int,
) -> Array:
    """PSFs of stretches of recorded camera paths.

    Parameters
    ----------
    angles : float array (K, 3)
        Recorded angles at equally spaced times.
    first, step : float array (M,)
        Where the exposure of each PSF starts, and how far apart its time samples lie, in rows of `angles` (values
        between rows are interpolated linearly).
    projection : float array (M, 2, 3)
        Maps angles to displacements down and right; the scale does not matter.
    extent : float array (M,)
        Twice the largest displacement from the centre of mass along either axis, pixels; the path is scaled to it,
        or to what fits on the grid. 0 for no shake.
    shift : float array (M, 2)
        Where the centre of mass lies, in pixels down and right of the middle ``size // 2``.
    size : int
        Side of the grid.
    time_samples : int
        Positions along the path.

    Returns
    -------
    float32 array (M, size, size)
        Non-negative, each of sum 1.
    """
    xp = array_module(angles, first, step, projection, extent, shift)
    position = first[:, None] + step[:, None] * xp.arange(time_samples)
    row = xp.minimum(position.astype(xp.int64), len(angles) - 2)
    weight = (position - row)[..., None]
    path = (1 - weight) * angles[row] + weight * angles[row + 1]  # (M, T, 3)
    path = xp.matmul(path, projection.transpose(0, 2, 1))
    path = path - path.mean(axis=1, keepdims=True)
    reach = xp.maximum(abs(path).max(axis=(1, 2)), 1e-12)
    room = xp.minimum(shift + size // 2, size - 1 - size // 2 - shift).min(axis=1)
    scale = xp.minimum(extent / 2, room * (1 - 1e-6)) / reach
    return _splat_reference(xp, path * scale[:, None, None], shift, size, extent > 0)


def _on_grid(position, size):
    """Whether bilinear splatting at this offset from the middle ``size // 2`` stays on the grid."""
    return (position >= -(size // 2)) & (position <= size - 1 - size // 2)


def _splat_reference(xp, paths, shift, size, smooth):
    position = paths + shift[:, None] + size // 2
    weights = xp.maximum(1 - abs(position[..., None] - xp.arange(size)), 0)  # (M, T, 2, size)
    psfs = xp.matmul(weights[:, :, 0].transpose(0, 2, 1), weights[:, :, 1])
    taps = xp.asarray(_TAPS)
    padded = xp.pad(psfs, ((0, 0), (1, 1), (1, 1)))
    rows = taps[0] * padded[:, :-2] + taps[1] * padded[:, 1:-1] + taps[2] * padded[:, 2:]
    smoothed = taps[0] * rows[..., :-2] + taps[1] * rows[..., 1:-1] + taps[2] * rows[..., 2:]
    psfs = xp.where(smooth[:, None, None], smoothed, psfs)
    psfs = psfs / psfs.sum(axis=(1, 2), keepdims=True)
    psfs = xp.where(psfs < _SMALLEST, 0, psfs)
    return (psfs / psfs.sum(axis=(1, 2), keepdims=True)).astype(xp.float32)


# --- CPU ---------------------------------------------------------------------------------------------------------


@compiled
def _splat(rows, columns, origin_y, origin_x, scale, smooth, psf):
    """Splat ``scale · path + origin`` bilinearly into ``psf``; the caller sees to it that it stays on the grid."""
    size = psf.shape[0]
    grid = np.zeros((size + 3, size + 3), np.float32)  # a border of one, and one more for the tap of weight zero
    for t in range(rows.size):
        y = rows[t] * scale + origin_y
        x = columns[t] * scale + origin_x
        i, j = int(y), int(x)
        v, u = np.float32(y - i), np.float32(x - j)
        top = np.float32(1) - v
        left = np.float32(1) - u
        grid[i + 1, j + 1] += top * left
        grid[i + 1, j + 2] += top * u
        grid[i + 2, j + 1] += v * left
        grid[i + 2, j + 2] += v * u
    total = np.float32(0)
    side, middle = np.float32(_TAPS[0]), np.float32(_TAPS[1])
    for i in range(size):
        above, here, below, row = grid[i], grid[i + 1], grid[i + 2], psf[i]
        for j in range(size):
            if smooth:
                left = side * (above[j] + below[j]) + middle * here[j]
                centre = side * (above[j + 1] + below[j + 1]) + middle * here[j + 1]
                right = side * (above[j + 2] + below[j + 2]) + middle * here[j + 2]
                row[j] = side * (left + right) + middle * centre
            else:
                row[j] = here[j + 1]
        for j in range(size):
            total += row[j]
    smallest = np.float32(_SMALLEST) * total
    kept = np.float32(0)
    for i in range(size):
        for j in range(size):
            if psf[i, j] < smallest:
                psf[i, j] = 0
            kept += psf[i, j]
    scale_to_one = np.float32(1) / kept
    for i in range(size):
        for j in range(size):
            psf[i, j] *= scale_to_one


@compiled
def _splat_still(shift, psf):
    """The PSF of a camera held still: one tap, or four where the shift is not whole."""
    still = np.zeros(1)
    middle = psf.shape[0] // 2
    _splat(still, still, middle + shift[0], middle + shift[1], 1.0, False, psf)


@compiled(fastmath={"contract"})
def _sample_path(key0, key1, base, matrix, factor, noise, rows, columns):
    """One path of the process: all noise first (SIMD), then the recursion of both coordinates.

    Returns mean, least and greatest value of the rows, then of the columns: the recursion waits for its own results
    anyway, so they cost nothing here.
    """
    samples = rows.size
    even, odd = noise
    for t in range(2 * samples):
        a, b = normal_pair(np.uint32(base + t), key0, key1)
        even[t] = a
        odd[t] = b
    f0, g0 = STANDARD_DEVIATION * even[0], STANDARD_DEVIATION * odd[0]
    f1, g1 = STANDARD_DEVIATION * even[1], STANDARD_DEVIATION * odd[1]
    rows[0], columns[0] = f0, f1
    sum0 = low0 = high0 = f0
    sum1 = low1 = high1 = f1
    m00, m01, m10, m11 = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    c00, c10, c11 = factor[0, 0], factor[1, 0], factor[1, 1]
    for t in range(1, samples):
        a0, b0, a1, b1 = even[2 * t], odd[2 * t], even[2 * t + 1], odd[2 * t + 1]
        f0, g0 = m00 * f0 + m01 * g0 + c00 * a0, m10 * f0 + m11 * g0 + c10 * a0 + c11 * b0
        f1, g1 = m00 * f1 + m01 * g1 + c00 * a1, m10 * f1 + m11 * g1 + c10 * a1 + c11 * b1
        rows[t], columns[t] = f0, f1
        sum0, low0, high0 = sum0 + f0, min(low0, f0), max(high0, f0)
        sum1, low1, high1 = sum1 + f1, min(low1, f1), max(high1, f1)
    return sum0 / samples, low0, high0, sum1 / samples, low1, high1


@compiled
def _gp_psfs(keys, extent, shift, matrix, factor, time_samples, psfs, done, begin, end):
    size = psfs.shape[1]
    for index in range(begin, end):
        psf = psfs[index]
        if extent[index] <= 0:
            _splat_still(shift[index], psf)
            done[index] = True
            continue
        noise = np.empty((2, 2 * time_samples), np.float32)
        rows = np.empty(time_samples)
        columns = np.empty(time_samples)
        scale = extent[index]
        for trial in range(MAX_REDRAWS):
            base = 2 * time_samples * trial
            mean0, low0, high0, mean1, low1, high1 = _sample_path(
                keys[index, 0], keys[index, 1], base, matrix, factor, noise, rows, columns
            )
            if min(low0 - mean0, low1 - mean1) < -0.5 or max(high0 - mean0, high1 - mean1) > 0.5:
                continue
            y = size // 2 + shift[index, 0] - scale * mean0
            x = size // 2 + shift[index, 1] - scale * mean1
            if min(y + scale * low0, x + scale * low1) < 0 or max(y + scale * high0, x + scale * high1) > size - 1:
                continue
            _splat(rows, columns, y, x, scale, True, psf)
            done[index] = True
            break


def _gp_numba(keys, extent, shift, size, time_samples):
    """PSF after PSF."""
    matrix, factor = _transition(time_samples)
    psfs = np.empty((len(extent), size, size), np.float32)
    done = np.zeros(len(extent), np.bool_)
    extent, shift = np.array(extent, np.float64), np.array(shift, np.float64)  # copies: read-only ones compile anew
    arguments = np.ascontiguousarray(keys), extent, shift, matrix, factor, time_samples, psfs, done
    in_chunks(_gp_psfs, arguments, len(psfs), PSFS)
    if not done.all():
        raise RuntimeError(f"no camera path fits on a grid of {size} pixels in {MAX_REDRAWS} trials")
    return psfs


@compiled
def _recorded_psfs(angles, first, step, projection, extent, shift, time_samples, psfs, begin, end):
    size = psfs.shape[1]
    for index in range(begin, end):
        if extent[index] <= 0:
            _splat_still(shift[index], psfs[index])
            continue
        rows = np.empty(time_samples)
        columns = np.empty(time_samples)
        p = projection[index]
        mean0 = mean1 = 0.0
        for t in range(time_samples):
            position = first[index] + step[index] * t
            row = min(int(position), len(angles) - 2)
            weight = position - row
            a0 = (1 - weight) * angles[row, 0] + weight * angles[row + 1, 0]
            a1 = (1 - weight) * angles[row, 1] + weight * angles[row + 1, 1]
            a2 = (1 - weight) * angles[row, 2] + weight * angles[row + 1, 2]
            rows[t] = p[0, 0] * a0 + p[0, 1] * a1 + p[0, 2] * a2
            columns[t] = p[1, 0] * a0 + p[1, 1] * a1 + p[1, 2] * a2
            mean0 += rows[t]
            mean1 += columns[t]
        mean0 /= time_samples
        mean1 /= time_samples
        reach = 1e-12
        for t in range(time_samples):
            reach = max(reach, abs(rows[t] - mean0), abs(columns[t] - mean1))
        low = size // 2 + min(shift[index, 0], shift[index, 1])
        high = size - 1 - size // 2 - max(shift[index, 0], shift[index, 1])
        scale = min(extent[index] / 2, low * (1 - 1e-6), high * (1 - 1e-6)) / reach
        y = size // 2 + shift[index, 0] - scale * mean0
        x = size // 2 + shift[index, 1] - scale * mean1
        _splat(rows, columns, y, x, scale, True, psfs[index])


def _recorded_numba(angles, first, step, projection, extent, shift, size, time_samples):
    """PSF after PSF."""
    psfs = np.empty((len(extent), size, size), np.float32)
    arrays = (np.array(a, np.float64, order="C") for a in (angles, first, step, projection, extent, shift))
    in_chunks(_recorded_psfs, (*arrays, time_samples, psfs), len(psfs), PSFS)
    return psfs


# --- GPU ---------------------------------------------------------------------------------------------------------


def _splat_cuda(xp, path, extent, size):
    """PSFs of paths ``(M, 2, T)`` in pixels on the grid: a block per PSF, each thread gathers its pixels' light."""
    count, _, samples = path.shape
    grid, psfs = (xp.empty((count, size, size), dtype=np.float32) for _ in range(2))
    arguments = [path, extent, size, samples, _TAPS[0], _TAPS[1], _SMALLEST, grid, psfs]
    cuda.launch("synthesis/psf_sampling", "splat", count, 256, arguments, real=np.float32)
    return psfs


def _gp_cuda(keys, extent, shift, size, time_samples):
    """A block per PSF."""
    xp = array_module(keys, extent, shift)
    keys = xp.ascontiguousarray(keys)
    extent, shift = (xp.ascontiguousarray(a, dtype=np.float64) for a in (extent, shift))
    count = len(extent)
    cuda.expect(keys=(keys, (count, 2)), extent=(extent, (count,)), shift=(shift, (count, 2)))
    matrix, factor = _transition(time_samples)
    chain = [STANDARD_DEVIATION, *matrix.reshape(-1), factor[0, 0], factor[1, 0], factor[1, 1]]
    path = xp.empty((count, 2, time_samples), dtype=np.float64)
    done = xp.empty(count, dtype=np.int32)
    arguments = [keys, extent, shift, size, time_samples, MAX_REDRAWS, *chain, path, done]
    cuda.launch("synthesis/psf_sampling", "gp_paths", count, 128, arguments, real=np.float32)
    if not bool((done == 1).all()):
        raise RuntimeError(f"no camera path fits on a grid of {size} pixels in {MAX_REDRAWS} trials")
    return _splat_cuda(xp, path, extent, size)


def _recorded_cuda(angles, first, step, projection, extent, shift, size, time_samples):
    """A block per PSF."""
    xp = array_module(angles, first, step, projection, extent, shift)
    given = (angles, first, step, projection, extent, shift)
    angles, first, step, projection, extent, shift = (xp.ascontiguousarray(a, dtype=np.float64) for a in given)
    rows, count = len(angles), len(extent)
    cuda.expect(
        angles=(angles, (rows, 3)),
        first=(first, (count,)),
        step=(step, (count,)),
        projection=(projection, (count, 2, 3)),
        shift=(shift, (count, 2)),
    )
    path = xp.empty((count, 2, time_samples), dtype=np.float64)
    arguments = [angles, rows, first, step, projection, extent, shift, size, time_samples, path]
    cuda.launch("synthesis/psf_sampling", "recorded_paths", count, 256, arguments, real=np.float32)
    return _splat_cuda(xp, path, extent, size)


gp_psfs = Kernel("gp_psfs", reference=_gp_reference, cpu=_gp_numba, cuda=_gp_cuda)
recorded_psfs = Kernel("recorded_psfs", reference=_recorded_reference, cpu=_recorded_numba, cuda=_recorded_cuda)
