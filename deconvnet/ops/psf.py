"""PSF <-> OTF: the transform of a small PSF, whose centre is the origin, on a larger grid."""

from __future__ import annotations

import functools

import numpy as np

from deconvnet.backend import array_module

__all__ = [
    "psf_spectrum",
    "psf_spectrum_backward",
    "psf_to_otf",
    "psf_to_otf_backward",
]


@functools.cache
def _dft_factors(side, grid, rows_kept, columns_kept, dtype):
    """Factors (len(rows), side) and (side, len(columns)) of the DFT of a centred small array."""
    place = np.arange(side) - side // 2  # the centre of the PSF is the origin of the transform
    down = np.exp(-2j * np.pi * np.outer(rows_kept, place) / grid[0])
    across = np.exp(-2j * np.pi * np.outer(place, columns_kept) / grid[1])
    return down.astype(dtype), across.astype(dtype)


def _half_spectrum(shape):
    """Row and column frequencies of the half spectrum of a grid."""
    return tuple(range(shape[0])), tuple(range(shape[1] // 2 + 1))


def psf_spectrum(psf, grid, rows, columns):
    """DFT of a PSF, whose centre is the origin, at chosen frequencies.

    Parameters
    ----------
    psf : array (..., side, side)
    grid : (int, int)
        Height and width, in pixels, of the period: frequency z is z / grid cycles per pixel.
    rows, columns : tuple of int
        Vertical and horizontal frequencies wanted, all pairs.

    Returns
    -------
    complex array (..., len(rows), len(columns))

    Notes
    -----
    Two small matrix products instead of a zero-padded FFT: most of the padded grid is zero.
    """
    side = psf.shape[-1]
    xp = array_module(psf)
    dtype = np.complex64 if psf.dtype == np.float32 else np.complex128
    down, across = (xp.asarray(a) for a in _dft_factors(side, tuple(grid), rows, columns, dtype))
    # Real times complex as one real product on the interleaved parts.
    half = (psf.reshape(-1, side) @ across.view(psf.dtype).reshape(side, -1)).view(dtype)
    spectrum = xp.matmul(down, half.reshape(-1, side, len(columns)))
    return spectrum.reshape(*psf.shape[:-2], len(rows), len(columns))


def psf_spectrum_backward(dspectrum, side, grid, rows, columns):
    """Adjoint of `psf_spectrum`: gradient (..., side, side) from ``∂L/∂Re + i ∂L/∂Im``."""
    xp = array_module(dspectrum)
    dtype = dspectrum.dtype
    down, across = (xp.asarray(a) for a in _dft_factors(side, tuple(grid), rows, columns, dtype.type))
    real = dspectrum.real.dtype
    dhalf = xp.ascontiguousarray(xp.matmul(down.conj().T, dspectrum))  # (..., side, columns)
    dpsf = dhalf.view(real).reshape(-1, 2 * len(columns)) @ across.view(real).reshape(side, -1).T
    return dpsf.reshape(*dspectrum.shape[:-2], side, side)


def psf_to_otf(psf, shape):
    """Half spectrum (..., H, W//2 + 1) of a PSF on a grid of ``shape``; its centre becomes the origin."""
    return psf_spectrum(psf, shape, *_half_spectrum(shape))


def psf_to_otf_backward(dotf, side, shape):
    """Adjoint of `psf_to_otf`: gradient (..., side, side) from ``∂L/∂Re + i ∂L/∂Im``."""
    return psf_spectrum_backward(dotf, side, shape, *_half_spectrum(shape))
