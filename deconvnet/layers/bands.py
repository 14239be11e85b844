"""Frequency bands of 65×65 patches: what the filter network sees of a frame.

Four groups of DFT coefficients at three resolutions (Wieschollek et al. 2016, Sec. 3.1 a,
doi:10.1007/978-3-319-54190-7_3, after Chakrabarti 2016, arXiv:1603.04771); with ``|z| = max(|z_y|, |z_x|)``:

====  ==============  ==================  =====
band  centred window  coefficients        reals
====  ==============  ==================  =====
b4    65×65           ``|z| ≤ 4``          81
b3    65×65           ``4 < |z| ≤ 8``      208
b2    33×33           ``4 < |z| ≤ 8``      208
b1    17×17           ``4 < |z| ≤ 8``      208
====  ==============  ==================  =====

A patch's bands are one row of 705 reals, in the order b4, b3, b2, b1 (`BAND_SLICES`), so that bands which are merged
lie side by side. A band holds the real parts of its coefficients and then their imaginary parts; b4 has the DC (real)
in front of both. Of each conjugate pair the coefficient with ``z_x > 0``, or ``z_x = 0`` and ``z_y > 0``, is kept;
they are sorted by z_y from −8 to 8, then by z_x. The origin of each DFT is the first pixel of its window. With the
factor √2/side (DC: 1/side) the rows of the transform are orthonormal: white noise of variance v in the patch is white
noise of variance v in each band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.burst.band_transform import (
    BAND_SIZES,
    BAND_SLICES,
    COLUMNS,
    DC,
    PATCH,
    TOTAL,
    WINDOWS,
    band_parts,
    band_transform,
    centred_window,
    dft_factors,
    kept_coefficients,
)
from deconvnet.layers.base import Layer

__all__ = [
    "BAND_SIZES",
    "BAND_SLICES",
    "PATCH",
    "TOTAL",
    "WhitenedBands",
    "bands",
    "bands_backward",
    "fit_whitening",
]


def bands(patches: Array) -> Array:
    """The four bands of each patch.

    Parameters
    ----------
    patches : real array (..., 65, 65)
        Luminance in [0, 1]; 0.5 is subtracted.

    Returns
    -------
    real array (..., 705)
        Layout in the module's docstring.

    Raises
    ------
    DeconvnetError
        If the patches are not 65×65.

    Examples
    --------
    >>> import numpy as np
    >>> patch = np.full((65, 65), 0.5)
    >>> bool(bands(patch).any())  # grey has none
    False
    >>> rows = bands(patch + 0.1 * np.cos(2 * np.pi * 3 * np.arange(65) / 65))  # three cycles across
    >>> rows.shape, [name for name, band in BAND_SLICES.items() if abs(rows[band]).max() > 1]
    ((705,), ['b4'])
    """
    if patches.shape[-2:] != (PATCH, PATCH):
        raise DeconvnetError(
            f"patches are {patches.shape[-2]}×{patches.shape[-1]}: frequency bands want {PATCH}×{PATCH}"
        )
    flat = patches.reshape(-1, *patches.shape[-3:]) if patches.ndim > 3 else patches.reshape(1, -1, PATCH, PATCH)
    return band_transform(flat).reshape(*patches.shape[:-2], TOTAL)


def bands_backward(dbands: Array) -> Array:
    """Adjoint of the linear part of `bands`: gradient (..., 65, 65) of the patches from ``dbands (..., 705)``."""
    xp = array_module(dbands)
    rows = dbands.reshape(-1, TOTAL)
    dpatches = xp.zeros((rows.shape[0], PATCH, PATCH), dtype=dbands.dtype)
    for side, names in WINDOWS.items():
        left, right = (xp.asarray(factor) for factor in dft_factors(side, np.result_type(dbands.dtype, np.complex64)))
        dgrid = xp.zeros((rows.shape[0], left.shape[0] * COLUMNS), dtype=left.dtype)
        for name in names:
            real, imaginary = band_parts(name)
            dgrid[:, xp.asarray(kept_coefficients(name))] = rows[:, real] + 1j * rows[:, imaginary]
            if name == "b4":
                dgrid[:, DC] = rows[:, 0] * 0.5**0.5
        dhalf = xp.matmul(left.conj().T, dgrid.reshape(-1, left.shape[0], COLUMNS))
        dwindow = dhalf.view(dbands.dtype).reshape(-1, 2 * COLUMNS) @ right.view(dbands.dtype).T
        dpatches[:, centred_window(side), centred_window(side)] += dwindow.reshape(-1, side, side)
    return dpatches.reshape(*dbands.shape[:-1], PATCH, PATCH)


def fit_whitening(samples: Array, epsilon: float = 1e-4) -> Array:
    """Linear map that whitens a band: eigenvectors of its covariance over the root of their eigenvalues.

    Parameters
    ----------
    samples : real array (S, K)
        One band of S training patches; S must be at least 2 K.
    epsilon : float
        Added to the eigenvalues, in units of a pixel's variance: directions weaker than it are not amplified to
        unit variance. 1e-4 is the variance of 1 % noise.

    Returns
    -------
    real array (K, K)
        ``samples @ matrix`` has almost unit covariance. The mean is not subtracted: the map is linear.

    Raises
    ------
    DeconvnetError
        If there are too few samples for the covariance.

    Examples
    --------
    >>> import numpy as np
    >>> samples = np.random.default_rng(0).standard_normal((1000, 2)) * [1, 10]
    >>> white = samples @ fit_whitening(samples, epsilon=0)
    >>> np.cov(white.T, bias=True).round(6)
    array([[ 1., -0.],
           [-0.,  1.]])
    """
    xp = array_module(samples)
    count, size = samples.shape
    if count < 2 * size:
        raise DeconvnetError(f"{count} patches are too few to whiten a band of {size} values: give at least {2 * size}")
    centred = samples.astype(np.float64)
    centred -= centred.mean(axis=0)
    eigenvalues, vectors = xp.linalg.eigh(centred.T @ centred / count)
    # Rounding can leave an eigenvalue that should be zero slightly negative.
    return (vectors / xp.sqrt(xp.maximum(eigenvalues, 0) + epsilon)).astype(samples.dtype)


class WhitenedBands(Layer):
    """`bands` followed by a fixed linear map per band; the maps are the identity until `fit`.

    Parameters
    ----------
    dtype : numpy dtype

    Notes
    -----
    Chakrabarti 2016 (arXiv:1603.04771) whitens the same way; without it a band's values span orders of magnitude
    (natural spectra fall off as 1/f) and training is hard.
    """

    buffer_names = tuple(f"whitening_{name}" for name in BAND_SIZES)

    def __init__(self, *, dtype: DTypeLike = np.float32) -> None:
        for name, size in BAND_SIZES.items():
            setattr(self, f"whitening_{name}", np.eye(size, dtype=dtype))

    def fit(self, patches: Array, epsilon: float = 1e-4) -> None:
        """Fit the whitening maps to training patches (..., 65, 65), at least 416 of them, and keep them."""
        rows = bands(patches).reshape(-1, TOTAL)
        for name, band in BAND_SLICES.items():
            setattr(self, f"whitening_{name}", fit_whitening(rows[:, band], epsilon))

    def forward(self, patches: Array, *, train: bool = False) -> tuple[Array, None]:
        """Whitened bands (..., 705) of patches (..., 65, 65); the map is linear and keeps nothing."""
        rows = bands(patches).reshape(-1, TOTAL)
        for name, band in BAND_SLICES.items():
            rows[:, band] = rows[:, band] @ getattr(self, f"whitening_{name}")
        return rows.reshape(*patches.shape[:-2], TOTAL), None

    def backward(self, dout: Array, cache: None = None) -> Array:
        """Gradient (..., 65, 65) of the patches."""
        drows = array_module(dout).empty_like(dout.reshape(-1, TOTAL))
        for name, band in BAND_SLICES.items():
            drows[:, band] = dout.reshape(-1, TOTAL)[:, band] @ getattr(self, f"whitening_{name}").T
        return bands_backward(drows.reshape(dout.shape))
