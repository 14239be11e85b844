"""Blur that changes over the picture: local PSFs from features, projected on camera motions, and the deconvolution."""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.blur.camera_motion import MotionBasis
from deconvnet.blur.filter_flow import FilterFlow, patch_grid
from deconvnet.errors import DeconvnetError
from deconvnet.layers.psf_support import psf_support
from deconvnet.layers.quotient import quotient
from deconvnet.ops.border import extended_shape
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.window import bartlett_hann
from deconvnet.restore.deconvolve.solvers import EXACT_PSF, deconvolve_with

__all__ = [
    "VaryingBlur",
    "choose_grid",
    "deconvolve_varying",
    "local_psfs",
    "motion_basis",
    "project_on_motion",
    "sharpen_locally",
]

#: Regulariser of the quotient, as in the uniform network.
BETA_PSF = 1e-4
#: Share of the coefficients of camera motions that is kept (Schuler et al. 2015, Fig. 12).
ETA = 0.0314


def choose_grid(shape, psf_size):
    """Number of patches (rows, columns) for a picture.

    Parameters
    ----------
    shape : (int, int)
    psf_size : int

    Returns
    -------
    (int, int)
        So many that a patch is about eight PSFs wide, from 1 to 9 each way.
    """
    return tuple(int(np.clip(round(n / (4 * psf_size)) - 1, 1, 9)) for n in shape)


def _windowed(features, rows, columns):
    """All patches (R, M, side, side) of feature images (M, H, W), times Bartlett-Hann windows."""
    xp = array_module(features)
    window = bartlett_hann(rows.side)[:, None] * bartlett_hann(columns.side)
    window = xp.asarray(window, dtype=features.dtype)
    return xp.stack(
        [
            features[:, top : top + rows.side, left : left + columns.side] * window
            for top in rows.first
            for left in columns.first
        ]
    )


def local_psfs(x_features, y_features, psf_size, grid, *, beta=BETA_PSF):
    """A PSF for every patch of the picture.

    Parameters
    ----------
    x_features, y_features : float array (M, H, W)
        Pairs of feature images of the latent and of the blurry picture, as the network makes them.
    psf_size : int
        Side k of the PSFs.
    grid : (int, int)
        Number of patches (rows, columns), laid by `deconvnet.blur.filter_flow.patch_grid`.
    beta : float
        Regulariser of the quotient.

    Returns
    -------
    array (rows, columns, k, k)
        Non-negative, of sum 1.

    Raises
    ------
    DeconvnetError
        If a patch is smaller than twice the PSF.

    Notes
    -----
    ``psf(r) = F⁻¹[ Σ_i conj(F(w(r) x̃_i)) · F(w(r) ỹ_i) / ( Σ_i |F(w(r) x̃_i)|² + β ) ]``, cropped, clipped and
    normalised (Schuler et al. 2015, Eq. (8)). The windows fade to zero at the picture's borders too, where those of
    the filter flow stay at 1: a patch must not see a step there.
    """
    rows, columns = (patch_grid(n, count) for n, count in zip(x_features.shape[-2:], grid))
    if min(rows.side, columns.side) < 2 * psf_size:
        raise DeconvnetError(
            f"patches of {columns.side}×{rows.side} pixels are too small for PSFs of {psf_size}: use fewer patches"
        )
    sides = tuple(scipy.fft.next_fast_len(side + psf_size, real=True) for side in (rows.side, columns.side))
    gaps = [(0, 0), (0, 0), (0, sides[0] - rows.side), (0, sides[1] - columns.side)]
    xp = array_module(x_features, y_features)
    x, y = (xp.pad(_windowed(f, rows, columns), gaps) for f in (x_features, y_features))
    raw, _ = quotient(x, y, beta)
    psfs, _ = psf_support(raw, psf_size)
    return psfs.reshape(*grid, psf_size, psf_size)


def project_on_motion(psfs, basis, *, eta=ETA, refinements=30):
    """The nearest PSFs that one camera motion can have made.

    Parameters
    ----------
    psfs : float array (rows, columns, k, k)
        Estimated PSFs, each of sum 1.
    basis : MotionBasis
        Of the same patches.
    eta : float
        Share of the coefficients that is kept, those of the largest, in (0, 1].
    refinements : int
        Steps that fit the kept coefficients to the PSFs; 0 leaves them as Eq. (9) has them.

    Returns
    -------
    psfs : array (rows, columns, k, k)
        ``B(r) μ``, each of sum 1.
    mu : array (A, k, k)
        Coefficients, of sum 1.

    Notes
    -----
    ``μ = T_η( Σ_r B(r)ᵀ psf(r) )`` (Schuler et al. 2015, Eq. (9)). That sum is a back-projection: it finds where μ is
    large, but a basis whose columns overlap gives it blurred. The refinements are Richardson-Lucy steps,
    ``μ ← μ · Bᵀ(psf / Bμ) / Bᵀ1``, which keep it non-negative and zero where T_η made it zero.
    """
    if not 0 < eta <= 1:
        raise ValueError(f"the share of kept coefficients must lie in (0, 1], not {eta}")
    xp = array_module(psfs)
    mu = basis.adjoint(psfs)
    kept = max(1, round(eta * mu.size))
    least = xp.partition(mu.ravel(), mu.size - kept)[mu.size - kept]
    mu = xp.where(mu >= xp.maximum(least, 0), mu, 0)
    mu /= mu.sum()
    if refinements:
        tiny = xp.finfo(psfs.dtype).tiny ** 0.5
        seen = xp.maximum(basis.adjoint(xp.ones_like(psfs)), tiny)
        for _ in range(refinements):
            model = basis.forward(mu)
            mu = mu * basis.adjoint(xp.where(model > tiny, psfs / xp.maximum(model, tiny), 0)) / seen
        mu /= mu.sum()
    result = basis.forward(mu)
    total = result.sum(axis=(-2, -1), keepdims=True)
    return xp.where(total > 0, result / xp.where(total > 0, total, 1), psfs), mu


def motion_basis(shape, grid, psf_size, dtype=np.float32):
    """The basis of camera motions for a picture's patches, `MotionBasis`."""
    centres = tuple(patch_grid(n, count).centres for n, count in zip(shape, grid))
    return MotionBasis(centres, shape, psf_size, dtype=dtype)


def sharpen_locally(image, psfs, beta):
    """A quick latent image: every patch divided by its PSF in Fourier space, and put together again.

    Parameters
    ----------
    image : float array (H, W)
    psfs : float array (rows, columns, k, k)
    beta : float
        Regulariser of the quotient.

    Returns
    -------
    array (H, W)

    Notes
    -----
    ``Σ_r w(r) F⁻¹[ conj(F psf(r)) F y_r / ( |F psf(r)|² + β ) ]``, where y_r is the patch with its surroundings. It
    stands for the image estimation between the stages of the network (Schuler et al. 2015, Eq. (5)).
    """
    xp = array_module(image, psfs)
    k = psfs.shape[-1]
    rows, columns = (patch_grid(n, count) for n, count in zip(image.shape, psfs.shape[:2]))
    padded = xp.pad(image, 2 * k, mode="symmetric")
    sides = tuple(scipy.fft.next_fast_len(side + 4 * k, real=True) for side in (rows.side, columns.side))
    windows = [xp.asarray(grid.windows, dtype=image.dtype) for grid in (rows, columns)]
    fade = [xp.ones(side + 4 * k, image.dtype) for side in (rows.side, columns.side)]
    for profile in fade:
        ramp = xp.asarray(np.sin(0.5 * np.pi * (np.arange(k) + 0.5) / k) ** 2, dtype=image.dtype)
        profile[:k] = ramp
        profile[-k:] = ramp[::-1]
    mean = image.mean()  # taken off so that the fading borders are no edges
    out = xp.zeros_like(image)
    for i, top in enumerate(rows.first):
        for j, left in enumerate(columns.first):
            patch = padded[top : top + rows.side + 4 * k, left : left + columns.side + 4 * k] - mean
            room = xp.zeros(sides, image.dtype)
            room[: patch.shape[0], : patch.shape[1]] = patch * fade[0][:, None] * fade[1]
            otf = psf_to_otf(psfs[i, j], sides)
            sharp = irfft2(otf.conj() * rfft2(room) / (otf.real**2 + otf.imag**2 + beta), sides)
            inside = sharp[2 * k : 2 * k + rows.side, 2 * k : 2 * k + columns.side]
            window = windows[0][i][:, None] * windows[1][j]
            out[top : top + rows.side, left : left + columns.side] += window * (inside + mean)
    return out


class VaryingBlur:
    """The filter flow ``y = Σ_r psf(r) * (w(r) x)`` on a periodic grid: a `Convolution` whose PSF changes.

    Parameters
    ----------
    psfs : float array (rows, columns, k, k)
        Each of sum 1.
    image_shape : (int, int)

    Attributes
    ----------
    shape : (int, int)
        The grid; the image is its top left part.
    power : real array (H', W'//2 + 1)
        Mean squared magnitude of the PSFs' transfer functions.
    """

    def __init__(self, psfs, image_shape):
        xp = array_module(psfs)
        k = psfs.shape[-1]
        self.shape = extended_shape(image_shape, k)
        # On the periodic grid the picture lies at the top left; the flow has its margin on all sides.
        self.before = k // 2
        margins = [(self.before, total - n - self.before) for n, total in zip(image_shape, self.shape)]
        self.flow = FilterFlow(psfs, image_shape, margins)
        flat = psfs.reshape(-1, k, k)
        self.power = sum(xp.abs(psf_to_otf(psf, self.shape)) ** 2 for psf in flat) / len(flat)

    def _moved(self, image, by):
        return array_module(image).roll(image, (by, by), axis=(0, 1))

    def forward(self, x_hat):
        """Blurry image on the grid from the half spectrum of a latent one."""
        return self._moved(self.flow.forward(self._moved(irfft2(x_hat, self.shape), self.before)), -self.before)

    def adjoint(self, y):
        """Adjoint of `forward`, up to the factor H'·W' of the transforms."""
        return rfft2(self._moved(self.flow.adjoint(self._moved(y, self.before)), -self.before))


def deconvolve_varying(image, psfs, method="hyper-laplacian", *, noise=None, psf_error=EXACT_PSF):
    """The sharp picture from a blurry one and the PSFs of its patches.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        In [0, 1]; channels are restored one by one.
    psfs : float array (rows, columns, k, k)
        Non-negative, each of sum 1, of the patches that `deconvnet.blur.filter_flow.patch_grid` lays over the image.
    method, noise, psf_error
        As for `deconvnet.restore.deconvolve.solvers.deconvolve`.

    Returns
    -------
    array
        Shape and dtype of the image; not clipped.

    Raises
    ------
    DeconvnetError
        If an option cannot be used, or the PSFs are larger than the image.

    Notes
    -----
    The same minimisation as for one PSF (`deconvnet.restore.deconvolve.solvers.deconvolve_with`), with `VaryingBlur`.
    """
    array_module(image, psfs)
    height, width = image.shape[:2]
    k = psfs.shape[-1]
    if k > min(height, width):
        raise DeconvnetError(f"PSFs of {k} pixels are larger than the image of {width}×{height}")
    blur = VaryingBlur(psfs.astype(image.dtype, copy=False), (height, width))
    return deconvolve_with(image, blur, method, noise=noise, psf_error=psf_error)
