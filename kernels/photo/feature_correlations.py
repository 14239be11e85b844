"""Summed correlations of pairs of feature images at small lags, from one transform of each image.

All that a least-squares estimate of a PSF of k pixels needs. The compiled twin transforms strips of sixteen columns,
multiplies, and transforms back within the cache (`deconvnet.kernels.simd.strip_images`); only rows of small lags go on.
On a GPU whole images are transformed, with a CUDA source for the sums between the transforms. `feature_spectra` needs
none there: it is `fade_pad` and a transform.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.photo.fade import fade_pad
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, second_step
from deconvnet.kernels.simd.pairs import add_quotient
from deconvnet.kernels.simd.refinement import swap_parts, swap_real
from deconvnet.kernels.simd.strip_images import column_memory, forward, over_strips, strip_plan
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["feature_correlations", "feature_spectra"]


def _reference(x_spectra: Array, y_spectra: Array, grid: tuple[int, int], side: int) -> tuple[Array, Array]:
    """Correlations of faded feature images at small lags.

    Parameters
    ----------
    x_spectra, y_spectra : array (M, …)
        `feature_spectra` of sharp and of blurry images.
    grid : (int, int)
        Height and width of their periodic grid; at least ``2 · side − 1``.
    side : int
        Odd side k of the PSF.

    Returns
    -------
    own : real array (2k − 1, 2k − 1)
        ``Σ_m F⁻¹ |X_m|²``, the lag 0 in the middle.
    cross : real array (k, k)
        ``Σ_m F⁻¹ [conj(X_m) Y_m]``, the lag 0 in the middle.
    """
    own = irfft2((x_spectra.real**2 + x_spectra.imag**2).sum(axis=0), grid)
    cross = irfft2((x_spectra.conj() * y_spectra).sum(axis=0), grid)
    return _around_zero(own, side - 1), _around_zero(cross, side // 2)


def _around_zero(correlation: Array, reach: int) -> Array:
    """The lags from −reach to reach each way, of a periodic correlation."""
    lags = array_module(correlation).arange(-reach, reach + 1)
    return correlation[(lags % correlation.shape[0])[:, None], lags % correlation.shape[1]]


@compiled
def _lag_rows(line, k, rows, plan, y, buffer, last, out, g):
    """After the last line: the rows of the columns' inverse transform, ``out[i, g]`` for the rows ``rows[i]``."""
    back = plan.back
    first_step(line, 0, COMPLEX, k, y, back, buffer)
    if k != last:
        return
    for q in range(back.down):
        second_step(y, q, line, 0, back, buffer)
        for i in range(rows.size):
            if rows[i] % back.down == q:
                place = rows[i] // back.down * COMPLEX
                for c in range(COMPLEX):
                    out[i, g, c] = line[place + c]


@compiled
def _lags(plan, x_spectra, y_spectra, far, near, own, cross, begin, end):
    """Strips of both correlations, their columns transformed back, in the rows of the wanted lags."""
    tall = plan.tall
    pairs, size = x_spectra.shape[0], plan.height
    x, y, line, buffer = column_memory(plan)
    z = np.empty_like(y)
    numerator, power = np.empty(size * COMPLEX, x.dtype), np.empty(size * LANES, x.dtype)
    for g in range(begin, end):
        start = g * plan.rows * COMPLEX
        numerator[:], power[:] = 0, 0
        for m in range(pairs):
            for r in range(size):
                at = start + r * COMPLEX
                add_quotient(x_spectra[m], at, y_spectra[m], at, numerator, r * COMPLEX, power, r * LANES)
        for k in range(tall.down):
            for j in range(tall.across):
                swap_parts(numerator, (k * tall.across + j) * COMPLEX, line, j * COMPLEX)
            _lag_rows(line, k, near, plan, y, buffer, tall.down - 1, cross, g)
        for k in range(tall.down):
            for j in range(tall.across):
                swap_real(power, (k * tall.across + j) * LANES, line, j * COMPLEX)
            _lag_rows(line, k, far, plan, z, buffer, tall.down - 1, own, g)


def _across(half, plan, lags):
    """Rows of an image at some columns, from strips of its half spectrum (rows, strips, 32), parts exchanged."""
    rows = half.reshape(len(half), plan.strips, 2, LANES).swapaxes(1, 2).reshape(len(half), 2, -1)
    spectrum = (rows[:, 1] + 1j * rows[:, 0])[:, : plan.width // 2 + 1]
    return np.fft.irfft(spectrum, plan.width)[:, lags % plan.width].astype(half.dtype)


def _spectra_reference(images: Array, down: Array, across: Array, grid: tuple[int, int]) -> Array:
    """Spectra of faded feature images, as `feature_correlations` takes them: in a form of its own on the CPU.

    Parameters
    ----------
    images : real array (M, h, w)
    down : real array (h,)
    across : real array (w,)
        Factors of the window that the images are multiplied by.
    grid : (int, int)
        Height and width of the periodic grid, at least h and w.

    Returns
    -------
    array (M, …)
    """
    return rfft2(fade_pad(images, down, across, grid))


def _spectra_numba(images, down, across, grid):
    """In strips, where both sides of the grid are `is_smooth`."""
    if not all(map(is_smooth, grid)):
        return _spectra_reference(images, down, across, grid)
    plan = strip_plan(tuple(grid), images.dtype.name)
    out = np.empty((len(images), plan.size), images.dtype)
    # Half of the transforms' factor here, so that a product of two has it once.
    scale = (grid[0] * grid[1]) ** -0.5
    for image, spectrum in zip(images, out):
        forward(np.ascontiguousarray(image), plan, scale=scale, window=(down, across), out=spectrum)
    return out


def _numba(x_spectra, y_spectra, grid, side):
    """Strip after strip."""
    if x_spectra.dtype.kind == "c":
        return _reference(x_spectra, y_spectra, grid, side)
    dtype = x_spectra.dtype
    plan = strip_plan(tuple(grid), dtype.name)
    near, far = np.arange(side) - side // 2, np.arange(1 - side, side)
    own = np.empty((len(far), plan.strips, COMPLEX), dtype)
    cross = np.empty((len(near), plan.strips, COMPLEX), dtype)
    over_strips(_lags, plan, x_spectra, y_spectra, far % grid[0], near % grid[0], own, cross)
    return _across(own, plan, far) * plan.width, _across(cross, plan, near) * plan.width


def _cuda(x_spectra, y_spectra, grid, side):
    """Both sums in one kernel, one thread per frequency, and their transforms back at once."""
    xp = array_module(x_spectra, y_spectra)
    x_spectra, y_spectra = xp.ascontiguousarray(x_spectra), xp.ascontiguousarray(y_spectra)
    count, *half = x_spectra.shape
    cuda.expect(x_spectra=(x_spectra, (count, grid[0], grid[1] // 2 + 1)), y_spectra=(y_spectra, x_spectra.shape))
    sums = xp.empty((2, *half), x_spectra.dtype)
    arguments = [x_spectra, y_spectra, count, sums[0].size, sums]
    blocks = cuda.blocks(sums[0].size, 256)
    cuda.launch("photo/feature_correlations", "summed_products", blocks, 256, arguments, real=sums.real.dtype)
    own, cross = irfft2(sums, grid)
    return _around_zero(own, side - 1), _around_zero(cross, side // 2)


feature_spectra = Kernel("feature_spectra", reference=_spectra_reference, cpu=_spectra_numba)
feature_correlations = Kernel("feature_correlations", reference=_reference, cpu=_numba, cuda=_cuda)
