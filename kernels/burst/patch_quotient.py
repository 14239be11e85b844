"""Multi-frame quotient of patches: the sharp centres that explain a burst of patches with known PSFs.

The transforms of patches and PSFs, the sums over the frames and the inverse transform, of which only the centre is
computed, are one pass over sixteen patches at a time on the CPU; no spectrum is written to memory.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.burst.patch_spectra import centre_factors, dft_factors
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.photo.quotient import quotient_spectrum
from deconvnet.kernels.simd.pairs import PAIR, add_quotient
from deconvnet.kernels.simd.pruned_dft import (
    fade_weights,
    flat_patches,
    forward_column,
    forward_rows,
    forward_tables,
    inverse_centre,
    inverse_tables,
    lane_means,
    load_lanes,
    padded,
    store_lanes,
    workspace,
)
from deconvnet.kernels.simd.vector import LANES

__all__ = ["patch_quotient"]


def _reference(patches: Array, psfs: Array, beta: Array, fade: tuple[float, ...], centre: int) -> Array:
    """``centre(F⁻¹[ Σ_i conj(K_i) Y_i / (Σ_i |K_i|² + β) ]) + mean`` of bursts of patches.

    Parameters
    ----------
    patches : real array (B, N, S, S)
        N frames; S odd. Each patch loses its mean and is multiplied by the window before it is transformed to Y_i.
    psfs : real array (B, N, k, k)
        K_i are their transforms, k odd, the middle pixel at the origin.
    beta : real array (B, S · (S // 2 + 1))
        Positive regulariser at each frequency of the half spectrum.
    fade : tuple of float
        Profile of the window, symmetric, S numbers: the window is its outer product with itself.
    centre : int
        Side of what is kept of the result, odd.

    Returns
    -------
    real array (B, centre, centre)
        With the mean over the frames of the patches' means.

    Notes
    -----
    The quotient layer of Schuler et al. 2015, Eq. (5), with PSFs and patches for their features.
    """
    xp = array_module(patches, psfs, beta)
    batch, frames, side, _ = patches.shape
    size, start = psfs.shape[-1], (side - centre) // 2
    mean = patches.mean(axis=(-2, -1), keepdims=True)
    window = xp.asarray(np.outer(fade, fade).astype(patches.dtype))
    patches_hat = rfft2((patches - mean) * window).reshape(batch, frames, -1)
    grid = xp.zeros((batch, frames, side, side), dtype=psfs.dtype)
    grid[..., :size, :size] = psfs
    otf = rfft2(xp.roll(grid, (-(size // 2), -(size // 2)), axis=(-2, -1))).reshape(batch, frames, -1)
    z_hat, _ = quotient_spectrum.reference(otf, patches_hat, beta)
    sharp = irfft2(z_hat.reshape(batch, side, -1), (side, side))
    return sharp[:, start : start + centre, start : start + centre] + mean.mean(axis=1)


@compiled
def _patch_quotient(flat, steps, psf_flat, psf_steps, beta, fade, tables, psf_tables, back, centre, out, begin, end):
    count, frames, side, size = steps[3], steps[4], steps[5], psf_steps[3]
    reach = side // 2
    columns = reach + 1
    starts, psf_starts = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    wide, high = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    mean, total = np.empty(LANES, flat.dtype), np.empty(LANES, flat.dtype)
    nothing = np.zeros(LANES, flat.dtype)
    ones = np.ones((size + 1) * (size // 2 + 1) + 2 * (side // 2 + 1), flat.dtype)
    scratch = workspace(side, flat)
    half = np.empty(psf_steps[4] * (side + 1) * PAIR, flat.dtype)
    psf_half = np.empty(psf_steps[4] * (size + 1) * PAIR, flat.dtype)
    column, psf_column = np.empty(side * PAIR, flat.dtype), np.empty(side * PAIR, flat.dtype)
    numerator = np.empty(columns * side * PAIR, flat.dtype)
    denominator = np.empty(columns * side * LANES, flat.dtype)
    for group in range(begin, end):
        lanes = min(LANES, count - group * LANES)
        total[:] = 0
        numerator[:] = 0
        for lane in range(LANES):
            wide[lane] = min(group * LANES + lane, count - 1)
            high[lane] = wide[lane] * side * columns
        for z in range(side):
            row = (z - reach) % side * columns
            load_lanes(beta, high, row, columns, denominator, z * LANES, side * LANES)
        for n in range(frames):
            for lane in range(LANES):
                starts[lane] = wide[lane] * steps[0] + n * steps[1]
                psf_starts[lane] = wide[lane] * psf_steps[0] + n * psf_steps[1]
            lane_means(flat, starts, steps[2], side, mean)
            total += mean
            forward_rows(flat, starts, steps[2], side, side, fade, mean, tables[0], tables[1], reach, half, scratch)
            forward_rows(
                psf_flat, psf_starts, psf_steps[2], size, size, ones, nothing, psf_tables[0], psf_tables[1], reach,
                psf_half, scratch,
            )  # fmt: skip
            for k in range(columns):
                start, psf_start = k * (side + 1) * PAIR, k * (size + 1) * PAIR
                forward_column(half, start, side, ones, tables[0], tables[1], reach, column, scratch)
                forward_column(
                    psf_half, psf_start, size, ones, psf_tables[0], psf_tables[1], reach, psf_column, scratch
                )
                for z in range(side):
                    f = k * side + z
                    add_quotient(psf_column, z * PAIR, column, z * PAIR, numerator, f * PAIR, denominator, f * LANES)
        for f in range(columns * side):
            for lane in range(LANES):
                inverse = 1 / denominator[f * LANES + lane]
                numerator[f * PAIR + lane] *= inverse
                numerator[f * PAIR + LANES + lane] *= inverse
        inverse_centre(numerator, side, centre, back[0], back[1], back[2], back[3], half, denominator, scratch)
        for lane in range(LANES):
            total[lane] /= flat.dtype.type(frames)
            high[lane] = wide[lane] * centre * centre
        for i in range(centre * centre):
            for lane in range(LANES):
                denominator[i * LANES + lane] += total[lane]
        store_lanes(denominator, 0, centre * centre, out, high, 0, lanes)


def _numba(patches, psfs, beta, fade, centre):
    """Sixteen patches at a time."""
    count, frames, side, _ = patches.shape
    size, name = psfs.shape[-1], patches.dtype.name
    flat, steps = flat_patches(patches)
    psf_flat, psf_steps = flat_patches(psfs)
    out = np.empty((count, centre, centre), patches.dtype)
    arguments = (
        flat,
        (*steps, count, frames, side),
        psf_flat,
        (*psf_steps, size, padded(side // 2 + 1)),
        np.ascontiguousarray(beta).reshape(-1),
        fade_weights(fade, name),
        forward_tables(side, side, side // 2, name),
        forward_tables(size, side, side // 2, name),
        inverse_tables(side, centre, name),
        centre,
        out.reshape(-1),
    )
    in_chunks(_patch_quotient, arguments, -(-count // LANES), 1)
    return out


def _cuda(patches, psfs, beta, fade, centre):
    """One block per burst."""
    xp = array_module(patches, psfs, beta)
    patches, psfs, beta = (xp.ascontiguousarray(a) for a in (patches, psfs, beta))
    batch, frames, side, _ = patches.shape
    size, width = psfs.shape[-1], side // 2 + 1
    cuda.expect(
        patches=(patches, (batch, frames, side, side)),
        psfs=(psfs, (batch, frames, size, size)),
        beta=(beta, (batch, side * width)),
        fade=(np.array(fade), (side,)),
    )
    dtype = np.result_type(patches.dtype, np.complex64)
    factors = (
        *dft_factors(fade, side, 0, dtype),
        *dft_factors((1.0,) * size, side, size // 2, dtype),
        *centre_factors(side, centre, dtype),
    )
    by_rows, psf_by_rows, quotient = (xp.empty((batch, n * width), dtype=dtype) for n in (side, size, side))
    denominator = xp.empty((batch, side * width), dtype=patches.dtype)
    out = xp.empty((batch, centre, centre), dtype=patches.dtype)
    sizes, scratch = [frames, side, width, size, centre], [by_rows, psf_by_rows, quotient, denominator]
    arguments = [patches, psfs, beta, *sizes, *map(xp.asarray, factors), *scratch, out]
    cuda.launch("burst/patch_quotient", "patch_quotient", batch, 256, arguments, real=patches.dtype)
    return out


patch_quotient = Kernel("patch_quotient", reference=_reference, cpu=_numba, cuda=_cuda)
