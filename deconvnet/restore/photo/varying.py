"""Blur that changes over the picture: local PSFs from features, projected on camera motions, and the deconvolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.blur.camera_motion import MotionBasis
from deconvnet.blur.filter_flow import FilterFlow, patch_grid
from deconvnet.errors import DeconvnetError
from deconvnet.networks.photo_stage import Stage
from deconvnet.ops.border import extended_shape
from deconvnet.ops.psf import psf_to_otf
from deconvnet.parallel import ordered_map
from deconvnet.restore.blind_steps import value_range
from deconvnet.restore.deconvolve.operators import Blur
from deconvnet.restore.deconvolve.solvers import EXACT_PSF, deconvolve_with
from deconvnet.restore.photo.psf_cleanup import middle, moved_onto
from deconvnet.restore.photo.refine import refine_psf

__all__ = [
    "VaryingBlur",
    "choose_grid",
    "deconvolve_varying",
    "edge_strength",
    "local_psfs",
    "motion_basis",
    "project_on_motion",
    "refine_locally",
    "sharpen_locally",
]

#: Share of the coefficients of camera motions that is kept; Schuler et al. 2015, Fig. 12, keep PAPER_ETA.
ETA, PAPER_ETA = 0.1, 0.0314
#: Steps that fit them.
REFINEMENTS = 60
#: Share of the mean that the least strength of edges counts.
LEAST_STRENGTH = 1e-3
#: Side of the middle part of a patch in which its PSF is refined, and the iterations.
REFINED_PATCH, LOCAL_ITERATIONS = 512, 2


def choose_grid(shape: Sequence[int], psf_size: int) -> tuple[int, int]:
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
    height, width = shape
    return _patches(height, psf_size), _patches(width, psf_size)


def _patches(length: int, psf_size: int) -> int:
    return int(np.clip(round(length / (4 * psf_size)) - 1, 1, 9))


def local_psfs(stage: Stage, maps: Array, shape: Sequence[int], grid: Sequence[int]) -> Array:
    """A PSF for every patch of the picture, as a stage of the network estimates it.

    Parameters
    ----------
    stage : Stage
        Its regulariser and its fading borders are used.
    maps : float array (2m, h, w)
        Feature images of the whole picture, as of `Stage.feature_maps`.
    shape : (int, int)
        Size (H, W) of the picture; the feature images lie in its middle.
    grid : (int, int)
        Number of patches (rows, columns), laid by `deconvnet.blur.filter_flow.patch_grid`.

    Returns
    -------
    float array (rows, columns, k, k)
        Non-negative, of sum 1. One patch only gives the stage's PSF of the whole picture.

    Raises
    ------
    DeconvnetError
        If a patch is smaller than the PSF.

    Notes
    -----
    Schuler et al. 2015, Eq. (8), see `Stage.windowed_psf`; the windows are those of the filter flow.
    """
    profiles = []
    for length, inner, count in zip(shape, maps.shape[-2:], grid):
        patches, lost = patch_grid(length, count), (length - inner) // 2
        whole = np.zeros((count, length))
        for row, first, window in zip(whole, patches.first, patches.windows):
            row[first : first + patches.side] = window
        profiles.append(whole[:, lost : lost + inner])
    psfs = [[stage.windowed_psf(maps[None], down, across)[0] for across in profiles[1]] for down in profiles[0]]
    xp = array_module(maps)
    return xp.stack([xp.stack(row) for row in psfs])


def project_on_motion(
    psfs: Array,
    basis: MotionBasis,
    *,
    weights: Array | None = None,
    eta: float = ETA,
    refinements: int = REFINEMENTS,
) -> tuple[Array, Array]:
    """The nearest PSFs that one camera motion can have made.

    Parameters
    ----------
    psfs : float array (rows, columns, k, k)
        Estimated PSFs, each of sum 1.
    basis : MotionBasis
        Of the same patches.
    weights : float array (rows, columns), optional
        How much each PSF is trusted, positive; all alike by default.
    eta : float
        Share of the coefficients that is kept, those of the largest, in (0, 1].
    refinements : int
        Steps that fit the coefficients to the PSFs, half of them before the small ones are dropped; 0 leaves them as
        Eq. (9) has them.

    Returns
    -------
    psfs : float array (rows, columns, k, k)
        ``B(r) μ``, each of sum 1.
    mu : float array (A, k, k)
        Coefficients, of sum 1.

    Notes
    -----
    ``μ = T_η( Σ_r B(r)ᵀ psf(r) )`` (Schuler et al. 2015, Eq. (9)). That sum is a back-projection: a basis whose columns
    overlap gives μ blurred, and its largest coefficients are not those of the motion. So μ is fitted before T_η and
    after it, by Richardson-Lucy steps, ``μ ← μ · Bᵀ(v psf / Bμ) / Bᵀv`` with the weights v, which keep it non-negative
    and zero where T_η made it zero.
    """
    if not 0 < eta <= 1:
        raise ValueError(f"the share of kept coefficients must lie in (0, 1], not {eta}")
    xp = array_module(psfs)
    trust = xp.ones(psfs.shape[:2], psfs.dtype) if weights is None else weights.astype(psfs.dtype)
    trust = trust[:, :, None, None]
    tiny = xp.finfo(psfs.dtype).tiny ** 0.5
    seen = xp.maximum(basis.adjoint(trust * xp.ones_like(psfs)), tiny)

    def fitted(mu: Array, steps: int) -> Array:
        for _ in range(steps):
            model = basis.forward(mu)
            mu = mu * basis.adjoint(trust * xp.where(model > tiny, psfs / xp.maximum(model, tiny), 0)) / seen
        return mu

    mu = basis.adjoint(trust * psfs)
    mu = fitted(mu / mu.sum(), refinements // 2)
    kept = max(1, round(eta * mu.size))
    least = xp.partition(mu.ravel(), mu.size - kept)[mu.size - kept]
    mu = fitted(xp.where(mu >= xp.maximum(least, 0), mu, 0), refinements - refinements // 2)
    mu = mu / mu.sum()
    result = basis.forward(mu)
    total = result.sum(axis=(-2, -1), keepdims=True)
    return xp.where(total > 0, result / xp.where(total > 0, total, 1), psfs), mu


def edge_strength(image: Array, grid: Sequence[int]) -> Array:
    """How much every patch tells of its PSF: mean squared difference of neighbouring pixels, relative to all patches.

    Parameters
    ----------
    image : float array (H, W)
    grid : (int, int)

    Returns
    -------
    float array (rows, columns)
        Positive, about 1 on average.
    """
    xp = array_module(image)
    strength = xp.stack([_mean_power(image[part]) for part in _parts(image.shape, grid)]).reshape(*grid)
    mean = strength.mean()
    return (strength + LEAST_STRENGTH * mean) / mean if mean > 0 else xp.ones_like(strength)


def _mean_power(patch: Array) -> Array:
    xp = array_module(patch)
    return (xp.diff(patch, axis=0) ** 2).mean() + (xp.diff(patch, axis=1) ** 2).mean()


def _parts(shape: Sequence[int], grid: Sequence[int]) -> list[tuple[slice, slice]]:
    """Where the patches lie, row by row."""
    rows, columns = (patch_grid(n, count) for n, count in zip(shape, grid))
    return [
        (slice(int(top), int(top) + rows.side), slice(int(left), int(left) + columns.side))
        for top in rows.first
        for left in columns.first
    ]


def refine_locally(image: Array, psfs: Array) -> Array:
    """Every local PSF refined by the edges of its own patch.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1].
    psfs : float array (rows, columns, k, k)
        Estimates, each of sum 1.

    Returns
    -------
    float array (rows, columns, k, k)
        Non-negative, each of sum 1, moved to where its estimate lies: neighbouring patches must not drift apart. In a
        patch without edges the estimate stays.

    Notes
    -----
    A few steps on the finest level (`deconvnet.restore.photo.refine.refine_psf`) in the middle of the patch: a patch
    holds few edges, and what they tell wrong the projection on camera motions has to take out again.
    """
    xp = array_module(image, psfs)
    flat = psfs.reshape(-1, *psfs.shape[2:])

    def refined(item: tuple[tuple[slice, slice], Array]) -> Array:
        part, estimate = item
        patch = middle(image[part], REFINED_PATCH)
        if not value_range(patch) > 0:
            return estimate
        return moved_onto(refine_psf(patch, estimate, levels=1, iterations=LOCAL_ITERATIONS), estimate)

    found = ordered_map(refined, zip(_parts(image.shape, psfs.shape[:2]), flat))
    return xp.stack(found).reshape(psfs.shape)


def motion_basis(
    shape: tuple[int, int], grid: Sequence[int], psf_size: int, dtype: DTypeLike = np.float32
) -> MotionBasis:
    """The basis of camera motions for a picture's patches, `MotionBasis`."""
    centres = tuple(patch_grid(n, count).centres for n, count in zip(shape, grid))
    return MotionBasis(centres, shape, psf_size, dtype=dtype)


def sharpen_locally(stage: Stage, image: Array, psfs: Array) -> Array:
    """The latent image between two stages, from local PSFs.

    Parameters
    ----------
    stage : Stage
        Its image estimation is used, with the regulariser that it has learned.
    image : float array (H, W)
        Blurry, without its mean.
    psfs : float array (rows, columns, k, k)

    Returns
    -------
    float array (H, W)

    Notes
    -----
    ``Σ_r w(r) F⁻¹[ conj(F psf(r)) F y_r / ( |F psf(r)|² + β_x ) ]`` (Schuler et al. 2015, Eq. (5)), where y_r is the
    patch with up to 2k pixels of its surroundings. One patch only gives what the stage does with one PSF.
    """
    xp = array_module(image, psfs)
    rows, columns = (patch_grid(n, count) for n, count in zip(image.shape, psfs.shape[:2]))
    out = xp.zeros_like(image)
    for i, top in enumerate(rows.first):
        for j, left in enumerate(columns.first):
            part, inside = _with_surroundings(image.shape, (top, left), (rows.side, columns.side), 2 * psfs.shape[-1])
            sharp, _ = stage.image.forward(xp.ascontiguousarray(image[part])[None], psfs[i, j][None])
            window = xp.asarray(np.outer(rows.windows[i], columns.windows[j]), dtype=image.dtype)
            out[top : top + rows.side, left : left + columns.side] += window * sharp[0][inside]
    return out


def _with_surroundings(
    shape: Sequence[int], first: Sequence[int], sides: Sequence[int], margin: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of a patch with a margin, as far as the picture reaches, and of the patch inside of that."""
    starts = [max(0, f - margin) for f in first]
    part = tuple(slice(s, min(n, f + side + margin)) for s, n, f, side in zip(starts, shape, first, sides))
    inside = tuple(slice(f - s, f - s + side) for s, f, side in zip(starts, first, sides))
    return part, inside


class VaryingBlur(Blur):
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

    in_parts = True

    def __init__(self, psfs: Array, image_shape: tuple[int, int]) -> None:
        xp = array_module(psfs)
        k = psfs.shape[-1]
        self.shape = extended_shape(image_shape, k)
        # On the periodic grid the picture lies at the top left; the flow has its margin on all sides.
        self.before = k // 2
        margins = [(self.before, total - n - self.before) for n, total in zip(image_shape, self.shape)]
        self.flow = FilterFlow(psfs, image_shape, margins)
        # Powers are the transforms of autocorrelations, whose mean needs one transform of this size.
        spectra = rfft2(xp.pad(psfs.reshape(-1, k, k), ((0, 0), (0, k - 1), (0, k - 1))))
        mean = irfft2((spectra.real**2 + spectra.imag**2).mean(axis=0), (2 * k - 1, 2 * k - 1))
        self.power = psf_to_otf(xp.roll(mean, (k - 1, k - 1), axis=(0, 1)), self.shape).real

    def _moved(self, image: Array, by: int) -> Array:
        return array_module(image).roll(image, (by, by), axis=(0, 1))

    def forward(self, x_hat: Array) -> Array:
        """Blurry image on the grid from the half spectrum of a latent one."""
        return self._moved(self.flow.forward(self._moved(irfft2(x_hat, self.shape), self.before)), -self.before)

    def adjoint(self, y: Array) -> Array:
        """Adjoint of `forward`, up to the factor H'·W' of the transforms."""
        return rfft2(self._moved(self.flow.adjoint(self._moved(y, self.before)), -self.before))


def deconvolve_varying(
    image: Array,
    psfs: Array,
    method: str = "hyper-laplacian",
    *,
    noise: float | None = None,
    psf_error: Any = EXACT_PSF,
) -> Array:
    """The sharp picture from a blurry one and the PSFs of its patches.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        In [0, 1]; channels as for `deconvnet.restore.deconvolve.solvers.deconvolve`.
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
