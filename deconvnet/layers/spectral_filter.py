"""Spectral filter: a predicted filter times the DFT of a 65×65 patch.

Wieschollek et al. 2016, Sec. 3.1 b, doi:10.1007/978-3-319-54190-7_3.

The filter is given by its 2112 complex Fourier coefficients: all of a 65×65 DFT up to conjugation, without the DC,
which passes unchanged. As 4224 reals they are interleaved (real, imaginary), in this order:

1. the 65·32 coefficients with ``z_x = 1..32``, row by row: ``z_y = 0..64`` (frequencies 0..32, −32..−1), z_x fastest;
2. the 32 coefficients with ``z_x = 0`` and ``z_y = 1..32``.

The rest of the half spectrum, ``z_x = 0`` and ``z_y = 33..64``, are the conjugates of (2), read backwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward, rfft2, rfft2_backward
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.burst import patch_filter
from deconvnet.layers.base import Layer

__all__ = [
    "CENTRE",
    "FILTER_REALS",
    "PATCH",
    "SpectralFilter",
    "filter_spectrum",
    "filter_spectrum_backward",
    "identity_filter",
    "spectral_filter",
    "spectral_filter_backward",
]

PATCH = 65  # side of the patches, pixels
CENTRE = 33  # side of what is kept of the filtered patch
HALF = PATCH // 2  # highest frequency
_INTERIOR = PATCH * HALF  # coefficients with z_x > 0
FILTER_REALS = 2 * (_INTERIOR + HALF)  # 4224
_MIDDLE = slice((PATCH - CENTRE) // 2, (PATCH + CENTRE) // 2)


def identity_filter(dtype: DTypeLike = np.float32) -> np.ndarray:
    """The filter (4224,) that changes nothing: 1 on every real part, 0 on every imaginary part."""
    reals = np.zeros(FILTER_REALS, dtype=dtype)
    reals[::2] = 1
    return reals


def _check_filters(filters: Array) -> None:
    if filters.shape[-1] != FILTER_REALS:
        raise DeconvnetError(f"a filter has {FILTER_REALS} reals and this one {filters.shape[-1]}")


def _check_patches(patches: Array) -> None:
    if patches.shape[-2:] != (PATCH, PATCH):
        raise DeconvnetError(f"patches are {patches.shape[-2]}×{patches.shape[-1]}: the filter wants {PATCH}×{PATCH}")


def filter_spectrum(filters: Array) -> Array:
    """Half spectrum of filters that are given by their independent coefficients.

    Parameters
    ----------
    filters : real array (..., 4224)
        Layout in the module's docstring.

    Returns
    -------
    complex array (..., 65, 33)
        DC 1, conjugate-symmetric in the column z_x = 0: the spectrum of a real filter.
    """
    _check_filters(filters)
    return patch_filter.filter_spectrum(filters, PATCH)


def filter_spectrum_backward(dfilter_hat: Array) -> Array:
    """Adjoint of the linear part of `filter_spectrum`: gradient (..., 4224) from ``∂L/∂Re + i ∂L/∂Im``."""
    xp = array_module(dfilter_hat)
    leading = dfilter_hat.shape[:-2]
    dcoefficients = xp.empty((*leading, FILTER_REALS // 2), dtype=dfilter_hat.dtype)
    dcoefficients[..., :_INTERIOR] = dfilter_hat[..., 1:].reshape(*leading, _INTERIOR)
    mirrored = dfilter_hat[..., HALF + 1 :, 0][..., ::-1]
    dcoefficients[..., _INTERIOR:] = dfilter_hat[..., 1 : HALF + 1, 0] + mirrored.conj()
    return dcoefficients.view(dfilter_hat.real.dtype)


def spectral_filter(filters: Array, patches: Array) -> tuple[Array, tuple]:
    """Centres of filtered patches: ``F⁻¹[ H · F patch ]`` with H the spectrum of the filter, cropped to 33×33.

    Parameters
    ----------
    filters : real array (..., 4224)
    patches : real array (..., 65, 65)
        Borders are periodic; what wraps around stays out of the centre for filters that reach up to 16 px.

    Returns
    -------
    centres : real array (..., 33, 33)
    cache : tuple
        What `spectral_filter_backward` needs.

    Raises
    ------
    DeconvnetError
        If the patches are not 65×65 or the filters not 4224 long.

    Notes
    -----
    Backward, with G the gradient of the filtered spectrum: ``ΔH = G · conj(F patch)``, and
    ``Δpatch`` is the adjoint DFT of ``G · conj(H)``.

    Examples
    --------
    >>> import numpy as np
    >>> patch = np.random.default_rng(0).random((65, 65))
    >>> centre, _ = spectral_filter(identity_filter(np.float64), patch)
    >>> np.allclose(centre, patch[16:49, 16:49])
    True
    """
    _check_patches(patches)
    filter_hat, patch_hat = filter_spectrum(filters), rfft2(patches)
    filtered = irfft2(filter_hat * patch_hat, (PATCH, PATCH))
    centres = array_module(filtered).ascontiguousarray(filtered[..., _MIDDLE, _MIDDLE])
    return centres, (filter_hat, patch_hat)


def spectral_filter_backward(
    dcentres: Array, cache: tuple, *, need_dpatches: bool = True
) -> tuple[Array, Array | None]:
    """Gradients ``(dfilters (..., 4224), dpatches (..., 65, 65))``; the second is None unless needed."""
    filter_hat, patch_hat = cache
    dfiltered = array_module(dcentres).zeros((*dcentres.shape[:-2], PATCH, PATCH), dtype=dcentres.dtype)
    dfiltered[..., _MIDDLE, _MIDDLE] = dcentres
    dproduct = irfft2_backward(dfiltered)
    dpatches = rfft2_backward(dproduct * filter_hat.conj(), (PATCH, PATCH)) if need_dpatches else None
    return filter_spectrum_backward(dproduct * patch_hat.conj()), dpatches


class SpectralFilter(Layer):
    """`spectral_filter` as a layer; it has no parameters."""

    def forward(self, filters: Array, patches: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Centres (..., 33, 33) of filtered patches (..., 65, 65), with one filter (..., 4224) for each."""
        if train:
            return spectral_filter(filters, patches)
        _check_filters(filters)
        _check_patches(patches)
        if patches.ndim != 4:
            flat = self.forward(filters.reshape(1, -1, FILTER_REALS), patches.reshape(1, -1, PATCH, PATCH))[0]
            return flat.reshape(*patches.shape[:-2], CENTRE, CENTRE), None
        return patch_filter.patch_filter(filters, patches, CENTRE), None

    def backward(self, dcentres: Array, cache: tuple, *, need_dpatches: bool = True) -> tuple[Array, Array | None]:
        """Gradients (..., 4224) of the filters and (..., 65, 65) of the patches; the latter None unless needed."""
        return spectral_filter_backward(dcentres, cache, need_dpatches=need_dpatches)
