"""Frequency bands of 65×65 patches: what the filter network sees of a frame (Wieschollek et al. 2016, Sec. 3.1 a).

Four groups of DFT coefficients at three resolutions, as in Chakrabarti 2016; with ``|z| = max(|z_y|, |z_x|)``:

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

import functools

import numpy as np

from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
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

PATCH = 65  # side of the patches, pixels
REACH = 8  # largest |z| kept
LOW = 4  # largest |z| of the low-pass band
BAND_SIZES = {"b4": 81, "b3": 208, "b2": 208, "b1": 208}
TOTAL = sum(BAND_SIZES.values())
_ENDS = np.cumsum(list(BAND_SIZES.values())).tolist()
BAND_SLICES = {name: slice(end - size, end) for (name, size), end in zip(BAND_SIZES.items(), _ENDS)}

_COLUMNS = REACH + 1  # z_x = 0..8
_DC = REACH * _COLUMNS  # index of z = 0 in the flattened (z_y, z_x) grid
_WINDOWS = {65: ("b4", "b3"), 33: ("b2",), 17: ("b1",)}


@functools.cache
def _kept(name):
    """Indices of a band's coefficients, the DC left out, in the flattened grid z_y = −8..8, z_x = 0..8."""
    z_y, z_x = np.mgrid[-REACH : REACH + 1, 0:_COLUMNS]
    size = np.maximum(abs(z_y), z_x)
    one_of_pair = (z_x > 0) | (z_y > 0)
    wanted = size <= LOW if name == "b4" else size > LOW
    return np.flatnonzero(one_of_pair & wanted)


@functools.cache
def _dft_factors(side, dtype):
    """Left factor (17, side) and right factor (side, 9) of the pruned DFT, the right one with √2/side."""
    pixel = np.arange(side)
    left = np.exp(-2j * np.pi * np.outer(np.arange(-REACH, REACH + 1), pixel) / side)
    right = np.exp(-2j * np.pi * np.outer(pixel, np.arange(_COLUMNS)) / side) * (np.sqrt(2) / side)
    return left.astype(dtype), right.astype(dtype)


def _factors_like(xp, real, side):
    left, right = _dft_factors(side, np.result_type(real.dtype, np.complex64))
    return xp.asarray(left), xp.asarray(right.view(real.dtype))  # the right one as reals (side, 18)


def _parts(name):
    """Slices of a band's real and of its imaginary parts in the row of 705."""
    band = BAND_SLICES[name]
    start = band.start + (name == "b4")
    middle = (start + band.stop) // 2
    return slice(start, middle), slice(middle, band.stop)


def _window(side):
    start = (PATCH - side) // 2
    return slice(start, start + side)


def bands(patches):
    """The four bands of each patch.

    Parameters
    ----------
    patches : real array (..., 65, 65)
        Luminance in [0, 1]; 0.5 is subtracted.

    Returns
    -------
    array (..., 705)
        Layout in the module's docstring.

    Raises
    ------
    DeconvnetError
        If the patches are not 65×65.

    Notes
    -----
    Only the wanted coefficients are computed, as two small matrix products per window: the rows' DFT for
    z_x = 0..8, then the columns' DFT for z_y = −8..8.
    """
    if patches.shape[-2:] != (PATCH, PATCH):
        raise DeconvnetError(
            f"patches are {patches.shape[-2]}×{patches.shape[-1]}: frequency bands want {PATCH}×{PATCH}"
        )
    xp = array_module(patches)
    centred = patches.reshape(-1, PATCH, PATCH) - patches.dtype.type(0.5)
    out = xp.empty((centred.shape[0], TOTAL), dtype=patches.dtype)
    for side, names in _WINDOWS.items():
        left, right = _factors_like(xp, patches, side)
        window = centred[:, _window(side), _window(side)].reshape(-1, side)
        half = (window @ right).view(left.dtype).reshape(-1, side, _COLUMNS)
        grid = xp.matmul(left, half).reshape(-1, left.shape[0] * _COLUMNS)
        for name in names:
            coefficients = grid[:, xp.asarray(_kept(name))]
            real, imaginary = _parts(name)
            out[:, real], out[:, imaginary] = coefficients.real, coefficients.imag
            if name == "b4":
                out[:, 0] = grid[:, _DC].real * 0.5**0.5
    return out.reshape(*patches.shape[:-2], TOTAL)


def bands_backward(dbands):
    """Gradient (..., 65, 65) of the patches: the adjoint of the linear part of `bands`."""
    xp = array_module(dbands)
    rows = dbands.reshape(-1, TOTAL)
    dpatches = xp.zeros((rows.shape[0], PATCH, PATCH), dtype=dbands.dtype)
    for side, names in _WINDOWS.items():
        left, right = _factors_like(xp, dbands, side)
        dgrid = xp.zeros((rows.shape[0], left.shape[0] * _COLUMNS), dtype=left.dtype)
        for name in names:
            real, imaginary = _parts(name)
            dgrid[:, xp.asarray(_kept(name))] = rows[:, real] + 1j * rows[:, imaginary]
            if name == "b4":
                dgrid[:, _DC] = rows[:, 0] * 0.5**0.5
        dhalf = xp.matmul(left.conj().T, dgrid.reshape(-1, left.shape[0], _COLUMNS))
        dwindow = dhalf.view(dbands.dtype).reshape(-1, 2 * _COLUMNS) @ right.T
        dpatches[:, _window(side), _window(side)] += dwindow.reshape(-1, side, side)
    return dpatches.reshape(*dbands.shape[:-1], PATCH, PATCH)


def fit_whitening(samples, epsilon=1e-4):
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
    array (K, K)
        ``samples @ matrix`` has almost unit covariance. The mean is not subtracted: the map is linear.

    Raises
    ------
    DeconvnetError
        If there are too few samples for the covariance.
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
    Chakrabarti 2016 whitens the same way; without it a band's values span orders of magnitude (natural spectra fall off
    as 1/f) and training is hard.
    """

    buffer_names = tuple(f"whitening_{name}" for name in BAND_SIZES)

    def __init__(self, *, dtype=np.float32):
        for name, size in BAND_SIZES.items():
            setattr(self, f"whitening_{name}", np.eye(size, dtype=dtype))

    def fit(self, patches, epsilon=1e-4):
        """Fit the whitening maps to training patches (..., 65, 65), at least 416 of them, and keep them."""
        rows = bands(patches).reshape(-1, TOTAL)
        for name, band in BAND_SLICES.items():
            setattr(self, f"whitening_{name}", fit_whitening(rows[:, band], epsilon))

    def forward(self, patches, *, train=False):
        """Whitened bands (..., 705) of patches (..., 65, 65); the map is linear and keeps nothing."""
        rows = bands(patches).reshape(-1, TOTAL)
        for name, band in BAND_SLICES.items():
            rows[:, band] = rows[:, band] @ getattr(self, f"whitening_{name}")
        return rows.reshape(*patches.shape[:-2], TOTAL), None

    def backward(self, dout, cache=None):
        """Gradient (..., 65, 65) of the patches."""
        drows = array_module(dout).empty_like(dout.reshape(-1, TOTAL))
        for name, band in BAND_SLICES.items():
            drows[:, band] = dout.reshape(-1, TOTAL)[:, band] @ getattr(self, f"whitening_{name}").T
        return bands_backward(drows.reshape(dout.shape))
