"""PSF <-> OTF: the transform of a small PSF, whose centre is the origin, on a larger grid."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module

__all__ = [
    "psf_spectrum",
    "psf_spectrum_backward",
    "psf_to_otf",
    "psf_to_otf_backward",
]


@functools.lru_cache(maxsize=32)
def _dft_factors(
    side: int, grid: tuple[int, int], rows: tuple[int, ...], columns: tuple[int, ...], dtype: DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    """Factors (len(rows), side) and (side, len(columns)) of the DFT of a centred small array."""
    offset = np.arange(side) - side // 2  # the centre of the PSF is the origin of the transform
    down = np.exp(-2j * np.pi * np.outer(rows, offset) / grid[0])
    across = np.exp(-2j * np.pi * np.outer(offset, columns) / grid[1])
    return down.astype(dtype), across.astype(dtype)


def _half_spectrum(shape: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Row and column frequencies of the half spectrum of a grid."""
    return tuple(range(shape[0])), tuple(range(shape[1] // 2 + 1))


def psf_spectrum(psf: Array, grid: tuple[int, int], rows: tuple[int, ...], columns: tuple[int, ...]) -> Array:
    """DFT of a PSF, whose centre is the origin, at chosen frequencies.

    Parameters
    ----------
    psf : real array (..., side, side)
        Its centre, ``(side // 2, side // 2)``, is the origin.
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


def psf_spectrum_backward(
    dspectrum: Array, side: int, grid: tuple[int, int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> Array:
    """Adjoint of `psf_spectrum`: gradient (..., side, side) from ``∂L/∂Re + i ∂L/∂Im``."""
    xp = array_module(dspectrum)
    dtype = dspectrum.dtype
    down, across = (xp.asarray(a) for a in _dft_factors(side, tuple(grid), rows, columns, dtype.type))
    real = dspectrum.real.dtype
    dhalf = xp.ascontiguousarray(xp.matmul(down.conj().T, dspectrum))  # (..., side, columns)
    dpsf = dhalf.view(real).reshape(-1, 2 * len(columns)) @ across.view(real).reshape(side, -1).T
    return dpsf.reshape(*dspectrum.shape[:-2], side, side)


def psf_to_otf(psf: Array, shape: tuple[int, int]) -> Array:
    """Optical transfer function of a PSF: its half spectrum on a larger grid.

    Parameters
    ----------
    psf : real array (..., side, side)
        Its centre, ``(side // 2, side // 2)``, becomes the origin.
    shape : (int, int)
        Height H and width W of the grid, at least the side; its borders are periodic.

    Returns
    -------
    complex array (..., H, W//2 + 1)
        complex64 of a float32 PSF, else complex128.

    Examples
    --------
    >>> import numpy as np
    >>> delta = np.zeros((3, 3))
    >>> delta[1, 1] = 1
    >>> np.allclose(psf_to_otf(delta, (8, 8)), 1)  # no blur
    True
    >>> box = np.full((3, 3), 1 / 9)
    >>> psf_to_otf(box, (6, 6))[0].real.round(3).tolist()
    [1.0, 0.667, 0.0, -0.333]
    """
    return psf_spectrum(psf, shape, *_half_spectrum(shape))


def psf_to_otf_backward(dotf: Array, side: int, shape: tuple[int, int]) -> Array:
    """Adjoint of `psf_to_otf`: gradient (..., side, side) from ``∂L/∂Re + i ∂L/∂Im``."""
    return psf_spectrum_backward(dotf, side, shape, *_half_spectrum(shape))
