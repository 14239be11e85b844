"""Filters that are given in the Fourier domain, applied to 65×65 patches of which only the middle is wanted.

On the CPU the transforms, the product and the centre of the inverse are one pass over sixteen patches at a time.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.burst.patch_spectra import centre_factors, dft_factors
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.simd.pairs import PAIR, multiply_pairs
from deconvnet.kernels.simd.pruned_dft import (
    GROUPS,
    flat_patches,
    forward_column,
    forward_rows,
    forward_tables,
    inverse_centre,
    inverse_tables,
    lane_starts,
    load_lanes,
    padded,
    store_lanes,
    workspace,
)
from deconvnet.kernels.simd.vector import LANES

__all__ = ["filter_spectrum", "patch_filter"]


def filter_spectrum(filters: Array, side: int) -> Array:
    """Half spectrum of filters that are given by their independent coefficients.

    Parameters
    ----------
    filters : real array (..., side² − 1)
        With h = side // 2, interleaved real and imaginary parts of the ``side · h`` coefficients with z_x = 1..h, row
        by row (z_y = 0..h, −h..−1), and then of the h coefficients with z_x = 0, z_y = 1..h.
    side : int
        Side of the patches that the filter is for, odd.

    Returns
    -------
    complex array (..., side, h + 1)
        DC 1, conjugate-symmetric in the column z_x = 0: the spectrum of a real filter.
    """
    xp = array_module(filters)
    leading, half = filters.shape[:-1], side // 2
    coefficients = xp.ascontiguousarray(filters).view(np.result_type(filters.dtype, np.complex64))
    filter_hat = xp.empty((*leading, side, half + 1), dtype=coefficients.dtype)
    filter_hat[..., 1:] = coefficients[..., : side * half].reshape(*leading, side, half)
    column = coefficients[..., side * half :]
    filter_hat[..., 0, 0] = 1
    filter_hat[..., 1 : half + 1, 0] = column
    filter_hat[..., half + 1 :, 0] = column[..., ::-1].conj()
    return filter_hat


def _reference(filters: Array, patches: Array, centre: int) -> Array:
    """Middle of filtered patches: ``centre(F⁻¹[ H · F patch ])``.

    Parameters
    ----------
    filters : real array (B, N, S² − 1)
        As for `filter_spectrum`, which makes H of them.
    patches : real array (B, N, S, S)
        S odd. Borders are taken as periodic.
    centre : int
        Side of what is kept, odd.

    Returns
    -------
    real array (B, N, centre, centre)
    """
    side = patches.shape[-1]
    start = (side - centre) // 2
    filtered = irfft2(filter_spectrum(filters, side) * rfft2(patches), (side, side))
    return array_module(filtered).ascontiguousarray(filtered[..., start : start + centre, start : start + centre])


@compiled
def _patch_filter(filters, flat, steps, shape, tables, back, out, begin, end):
    batch, frames, side, centre, width = shape
    reach = side // 2
    reals = side * side - 1
    starts, wide = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    nothing = np.zeros(LANES, flat.dtype)
    ones = np.ones((side + 1) * (reach + 1), flat.dtype)
    scratch = workspace(side, flat)
    half = np.empty(width * (side + 1) * PAIR, flat.dtype)
    column = np.empty(side * PAIR, flat.dtype)
    bank = np.empty(reals * LANES, flat.dtype)
    spectrum = np.empty((reach + 1) * side * PAIR, flat.dtype)
    for group in range(begin, end):
        lanes = min(LANES, batch * frames - group * LANES)
        lane_starts(group, batch * frames, frames, steps, starts)
        for lane in range(LANES):
            wide[lane] = min(group * LANES + lane, batch * frames - 1) * reals
        load_lanes(filters, wide, 0, reals, bank, 0, LANES)
        forward_rows(flat, starts, steps[2], side, side, ones, nothing, tables[0], tables[1], reach, half, scratch)
        for k in range(reach + 1):
            forward_column(half, k * (side + 1) * PAIR, side, ones, tables[0], tables[1], reach, column, scratch)
            first = k * side
            if k > 0:
                for z in range(side):
                    f = (z - reach) % side * reach + k - 1
                    multiply_pairs(column, z * PAIR, bank, f * PAIR, spectrum, (first + z) * PAIR)
                continue
            for v in range(PAIR):
                spectrum[reach * PAIR + v] = column[reach * PAIR + v]
            for z in range(1, reach + 1):
                f, plus, minus = side * reach + z - 1, (reach + z) * PAIR, (reach - z) * PAIR
                multiply_pairs(column, plus, bank, f * PAIR, spectrum, plus)
                for lane in range(LANES):
                    spectrum[minus + lane] = spectrum[plus + lane]
                    spectrum[minus + LANES + lane] = -spectrum[plus + LANES + lane]
        inverse_centre(spectrum, side, centre, back[0], back[1], back[2], back[3], half, bank, scratch)
        for lane in range(LANES):
            wide[lane] = (group * LANES + lane) * centre * centre
        store_lanes(bank, 0, centre * centre, out, wide, 0, lanes)


def _numba(filters, patches, centre):
    """Sixteen patches at a time."""
    batch, frames, side, _ = patches.shape
    name = patches.dtype.name
    flat, steps = flat_patches(patches)
    out = np.empty((batch, frames, centre, centre), patches.dtype)
    arguments = (
        np.ascontiguousarray(filters).reshape(-1),
        flat,
        steps,
        (batch, frames, side, centre, padded(side // 2 + 1)),
        forward_tables(side, side, side // 2, name),
        inverse_tables(side, centre, name),
        out.reshape(-1),
    )
    in_chunks(_patch_filter, arguments, -(-batch * frames // LANES), GROUPS)
    return out


def _cuda(filters, patches, centre):
    """One block per patch."""
    xp = array_module(filters, patches)
    filters, patches = xp.ascontiguousarray(filters), xp.ascontiguousarray(patches)
    batch, frames, side, _ = patches.shape
    cuda.expect(
        patches=(patches, (batch, frames, side, side)),
        filters=(filters, (batch, frames, side * side - 1)),
    )
    dtype, width = np.result_type(patches.dtype, np.complex64), side // 2 + 1
    factors = dft_factors((1.0,) * side, side, 0, dtype) + centre_factors(side, centre, dtype)
    by_rows, filtered_hat = (xp.empty((batch, frames, side * width), dtype=dtype) for _ in range(2))
    out = xp.empty((batch, frames, centre, centre), dtype=patches.dtype)
    sizes = [side, width, centre]
    arguments = [filters.view(dtype), patches, *sizes, *map(xp.asarray, factors), by_rows, filtered_hat, out]
    cuda.launch("burst/patch_filter", "patch_filter", batch * frames, 256, arguments, real=patches.dtype)
    return out


patch_filter = Kernel("patch_filter", reference=_reference, cpu=_numba, cuda=_cuda)
