"""Estimated PSFs made fit for the deconvolution, and what tells a good one from a bad one."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2, to_host
from deconvnet.ops.resample import resample
from deconvnet.restore.deconvolve.operators import SATURATED
from deconvnet.restore.deconvolve.priors import ALPHA

__all__ = [
    "SCORING_CROP",
    "SMALLEST_SIZE",
    "THRESHOLD",
    "clean_psf",
    "density",
    "informative_part",
    "middle",
    "moved_onto",
    "resized_psf",
    "sharpen_psf",
    "sparsity_cost",
]

#: Share of a PSF's maximum below which its pixels are taken for errors of the estimate.
THRESHOLD = 0.05
#: Share of the heaviest connected part's mass that another part must have to be kept.
LEAST_PART = 0.1
#: Side of the part of the picture on which candidates for the PSF are compared.
SCORING_CROP = 512
#: No PSF is made smaller than this.
SMALLEST_SIZE = 3
#: Side of the blocks whose edges `informative_part` adds up, and the share of the most edges that the middle must have.
BLOCK, ENOUGH = 32, 0.8
#: Regulariser of the deconvolution that sharpens a PSF.
BETA_SHARPEN = 0.01


def clean_psf(psf: Array, threshold: float = THRESHOLD, least_part: float = LEAST_PART) -> Array:
    """An estimated PSF without its speckle.

    Parameters
    ----------
    psf : float array (k, k)
        Non-negative.
    threshold : float
        In [0, 1). Pixels below this share of the maximum become zero.
    least_part : float
        In [0, 1]. Of what is left, connected parts (with their corners) that have less than this share of the
        heaviest part's mass become zero. 0 keeps all of them.

    Returns
    -------
    float array (k, k)
        Of sum 1, dtype of the PSF.

    Notes
    -----
    The path of a camera is connected, the errors of an estimate are specks.
    """
    from scipy.ndimage import label

    xp = array_module(psf)
    host = to_host(psf)
    kept = host >= threshold * host.max()
    parts, _ = label(kept, np.ones((3, 3)))
    mass = np.bincount(parts.ravel(), host.ravel() * kept.ravel())
    kept &= mass[parts] >= least_part * mass.max()
    clean = psf * xp.asarray(kept)
    return clean / clean.sum()


def moved_onto(psf: Array, other: Array) -> Array:
    """A PSF moved by whole pixels to where it correlates best with another one.

    Parameters
    ----------
    psf, other : float array (k, k)
        Non-negative.

    Returns
    -------
    float array (k, k)
        Of sum 1; what leaves the support is lost.
    """
    xp = array_module(psf, other)
    side = len(psf)
    grid = (2 * side, 2 * side)
    padded = xp.pad(xp.stack([psf, other]), ((0, 0), (0, side), (0, side)))
    psf_hat, other_hat = rfft2(padded)
    best = int(irfft2(psf_hat.conj() * other_hat, grid).argmax())
    down, across = ((n + side) % (2 * side) - side for n in divmod(best, 2 * side))
    moved = xp.zeros_like(psf)
    dst = tuple(slice(max(n, 0), side + min(n, 0)) for n in (down, across))
    src = tuple(slice(max(-n, 0), side - max(n, 0)) for n in (down, across))
    moved[dst] = psf[src]
    return moved / moved.sum()


def resized_psf(psf: Array, factor: float, size: int) -> Array:
    """A PSF on a grid with other pixels.

    Parameters
    ----------
    psf : float array (k, k)
        Non-negative; k is odd.
    factor : float
        Pixels of the new grid in one of the old.
    size : int
        Side of the new support, odd. What is beyond it is lost.

    Returns
    -------
    float array (size, size)
        Non-negative, of sum 1.
    """
    xp = array_module(psf)
    side = max(SMALLEST_SIZE, 2 * round((len(psf) * factor - 1) / 2) + 1)
    fine = xp.maximum(resample(psf, (side, side)), 0)
    if side < size:
        fine = xp.pad(fine, (size - side) // 2)
    else:
        start = (side - size) // 2
        fine = fine[start : start + size, start : start + size]
    return fine / fine.sum()


def sharpen_psf(psf: Array, sigma: float) -> Array:
    """A PSF deconvolved with a Gaussian.

    Parameters
    ----------
    psf : float array (k, k)
        Of sum 1.
    sigma : float
        Standard deviation of the Gaussian in pixels; with 0 the PSF is returned as it is.

    Returns
    -------
    float array (k, k)
        Non-negative, of sum 1.

    Notes
    -----
    ``F⁻¹[ G F psf / ( G² + β ) ]`` with β = 0.01, cropped, clipped and normalised. Schuler et al. 2015 sharpen their
    PSFs of 33 px so, with σ = 0.5: estimates of large PSFs come out a little soft.
    """
    if sigma == 0:
        return psf
    xp = array_module(psf)
    side = len(psf)
    room = xp.pad(psf, side // 2)
    rows, columns = np.fft.fftfreq(len(room))[:, None], np.fft.rfftfreq(len(room))
    gauss = xp.asarray(np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2)), dtype=psf.dtype)
    sharp = irfft2(rfft2(room) * (gauss / (gauss**2 + BETA_SHARPEN)), room.shape)
    start = side // 2
    sharp = xp.maximum(sharp[start : start + side, start : start + side], 0)
    return sharp / sharp.sum()


def sparsity_cost(image: Array, border: int = 0) -> float:
    """How little a picture looks like a sharp and clean photograph, for comparing pictures of one scene.

    Parameters
    ----------
    image : float array (H, W)
    border : int
        Pixels left out on each side.

    Returns
    -------
    float
        ``R · S²``, where R is the mean of ``|d|^0.8`` and S that of ``|d|`` over the root mean square of d, over all
        differences d between neighbours down and across.

    Notes
    -----
    R is the prior of the deconvolution. It grows with ringing, and also with the contrast of the edges, so that alone
    it prefers what is still a little blurry. S, the normalised sparsity of Krishnan, Tay & Fergus 2011
    (doi:10.1109/CVPR.2011.5995521), does not depend on the contrast; alone it prefers what is sharpened too much. A
    picture without differences has 0. The smaller the cost, the better.
    """
    xp = array_module(image)
    inside = image[border : image.shape[0] - border, border : image.shape[1] - border]
    size = xp.abs(xp.concatenate([xp.diff(inside, axis=axis).ravel() for axis in (0, 1)]))
    return float((size**ALPHA).mean()) * density(inside) ** 2


def density(image: Array) -> float:
    """How far the differences of an image (H, W) between neighbours are from being sparse, in [0, 1].

    Mean magnitude over root mean square, of all differences down and across; 0 for an image without any.
    """
    xp = array_module(image)
    size = xp.abs(xp.concatenate([xp.diff(image, axis=axis).ravel() for axis in (0, 1)]))
    power = float((size**2).mean())
    return float(size.mean()) / power**0.5 if power > 0 else 0.0


def middle(image: Array, side: int) -> Array:
    """The middle part of an image, at most ``side`` pixels each way."""
    xp = array_module(image)
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return xp.ascontiguousarray(image[top : top + side, left : left + side])


def informative_part(image: Array, side: int) -> Array:
    """The part of a photo that tells most of its blur, at most ``side`` pixels each way.

    Parameters
    ----------
    image : float array (H, W)
        In [0, 1].
    side : int

    Returns
    -------
    float array (min(H, side), min(W, side))
        The middle, unless some other part has many more edges: where lenses draw best, and cameras turn least.

    Notes
    -----
    A block of 32×32 pixels counts by the root mean square of its differences, so that many edges weigh more than one
    strong one; differences to saturated pixels do not count.
    """
    shape = tuple(min(n, side) for n in image.shape)
    if shape == image.shape:
        return array_module(image).ascontiguousarray(image)
    edges = _edges_of_blocks(image)
    size = tuple(max(1, n // BLOCK) for n in shape)
    sums = np.pad(edges.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = sums[size[0] :] - sums[: len(sums) - size[0]]
    sums = sums[:, size[1] :] - sums[:, : sums.shape[1] - size[1]]  # one for every part that begins with a block
    start = [(n - m) // 2 for n, m in zip(image.shape, shape)]
    best = np.unravel_index(int(sums.argmax()), sums.shape)
    if sums[tuple(min(s // BLOCK, n - 1) for s, n in zip(start, sums.shape))] < ENOUGH * sums[best]:
        start = [min(int(i) * BLOCK, n - m) for i, n, m in zip(best, image.shape, shape)]
    part = image[start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]]
    return array_module(image).ascontiguousarray(part)


def _edges_of_blocks(image: Array) -> np.ndarray:
    """How many edges each whole block of an image has, float64 (H // 32, W // 32)."""
    xp = array_module(image)
    height, width = (n // BLOCK for n in image.shape)

    total = xp.zeros((height, width), image.dtype)
    for axis in (0, 1):
        power = xp.diff(image, axis=axis) ** 2
        told = image < SATURATED
        power *= (told[1:] & told[:-1]) if axis == 0 else (told[:, 1:] & told[:, :-1])
        room = xp.zeros((height * BLOCK, width * BLOCK), image.dtype)
        part = power[: len(room), : room.shape[1]]
        room[: part.shape[0], : part.shape[1]] = part
        total += room.reshape(height, BLOCK, width, BLOCK).mean(axis=(1, 3))
    return to_host(xp.sqrt(total)).astype(np.float64)
