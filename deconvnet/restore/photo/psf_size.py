"""The PSF of a photo from nothing, whatever its size: many starts on coarse levels, of which the best go on.

On a coarse level of a pyramid every PSF has a few pixels, and trying one is cheap. How large the PSF is, and which way
the coarse levels go, is not decided there by a rule but by a tournament: starts with bounds from small to large and
with few or many edges go up together, and from time to time only those go on whose PSFs fit best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array, array_module, to_host
from deconvnet.ops.resample import resample
from deconvnet.restore.deconvolve.solvers import estimate_noise
from deconvnet.restore.photo.psf_cleanup import SMALLEST_SIZE, informative_part, resized_psf
from deconvnet.restore.photo.refine import (
    BETA,
    ITERATIONS,
    REFINING_L0_WEIGHT,
    Fit,
    Level,
    checked_image,
    checked_range,
    first_level,
    fit,
    fit_cost,
    side_on_level,
)

__all__ = [
    "LARGEST_SIZE",
    "Candidate",
    "any_large",
    "bound_for",
    "candidates",
    "estimate_psf_sparse",
    "extent",
    "ladder",
    "padded",
    "part_for",
    "psfs_from_nothing",
    "trimmed",
]

#: The largest PSF that is looked for by itself, and how many times the shorter side of a photo must hold it.
LARGEST_SIZE, SIDES = 151, 4
#: Bounds on the PSF's size that are tried, below the largest that a photo has room for.
LADDER = (9, 15, 25, 39, 65, 101)
#: What an edge pixel costs on the coarsest level: few edges are safer when the shake is long.
L0_WEIGHTS = (1.4e-2, 5.6e-2)
#: With noise, an edge costs at least this many times its variance in the last iterations, when the PSF is nearly right.
LAST_NOISE_L0_WEIGHT = 6.0
#: Levels (each coarser by √2 than the one below, 0 is the photo) on which starts are compared, and how many go on.
ROUNDS = ((4, 5), (2, 3))
#: Times the extent of a PSF on the last of these levels that its support may have on finer ones.
ROOM = 1.4
#: The level of which PSFs are handed out beside those of the finest one; they have at least so many pixels, and the
#: shorter side of the photo holds them so many times.
KEPT_LEVEL, KEPT_SIZE, KEPT_SIDES = 2, 45, 7
#: Share of the cost there in that by which large PSFs are chosen, and the power of the size by which it is divided: the
#: costs of PSFs much too small can be nearly the least.
COARSE_SHARE, SIZE_POWER = 0.25, 0.01
#: How fast the cost grows with the share of the photo's pixels that the PSF has: with as many pixels as a small photo
#: has edges, noise is explained too.
PIXEL_PRICE = 80.0
#: Side of the part of a level that is used, in pixels and in sides of the PSF.
PART, PART_SIDES = 512, 12


class _Start(NamedTuple):
    """A start on its way up: the bound on its PSF's size on the photo, its PSF on a level, its l0 weight there."""

    bound: int
    psf: Array
    l0_weight: float


def bound_for(shape: Sequence[int]) -> int:
    """The largest PSF size, odd, that is looked for in a photo of this shape by itself."""
    return max(SMALLEST_SIZE, min(LARGEST_SIZE, (min(shape) // SIDES - 1) | 1))


def ladder(bound: int) -> list[int]:
    """Bounds that are tried for PSFs up to a largest size, which is the last of them."""
    return [size for size in LADDER if size < 0.8 * bound] + [bound]


def extent(psf: Array) -> int:
    """Side of the smallest square around a PSF's middle that holds all that is not zero, in pixels, odd."""
    host = to_host(psf)
    offsets = np.argwhere(host > 0) - len(host) // 2
    return 2 * int(np.abs(offsets).max(initial=0)) + 1


def trimmed(psf: Array, least: int = SMALLEST_SIZE) -> Array:
    """A PSF without the empty margin around it, at least ``least`` pixels wide."""
    room = (len(psf) - max(least, extent(psf))) // 2
    return array_module(psf).ascontiguousarray(psf[room : len(psf) - room, room : len(psf) - room]) if room > 0 else psf


def padded(psf: Array, size: int) -> Array:
    """A PSF in a support of at least ``size`` pixels, odd."""
    return array_module(psf).pad(psf, max(0, size - len(psf)) // 2)


def part_for(image: Array, size: int) -> Array:
    """The part of an image from which a PSF of some size is found: more edges bring nothing new."""
    return informative_part(image, max(PART, PART_SIDES * size))


class _Pyramid:
    """The levels of a photo.

    Parameters
    ----------
    image : float array (H, W)
        In [0, 1].
    """

    def __init__(self, image: Array) -> None:
        self.image = image
        self.contrast = checked_range(image)
        self.variance = (estimate_noise(image) / self.contrast) ** 2

    def shape(self, level: int) -> tuple[int, int]:
        height, width = (max(SMALLEST_SIZE, round(n * 2 ** (-level / 2))) for n in self.image.shape)
        return height, width

    def picture(self, level: int) -> Array:
        return resample(self.image, self.shape(level)) if level else self.image

    def finer(self, level: int) -> float:
        """Pixels of the photo in one of a level."""
        return self.shape(0)[0] / self.shape(level)[0]

    def up(self, starts: Sequence[_Start], level: int, picture: Array) -> list[_Start]:
        """Starts from the level above to this one, of which this is the picture."""

        def shared(bound: int) -> Level:
            part = part_for(picture, side_on_level(bound, level))
            variance = self.variance * picture.size / self.image.size
            return Level(part / part.dtype.type(self.contrast), side_on_level(bound, level), variance)

        def climb(start: _Start) -> _Start:
            here, psf = levels[start.bound], start.psf
            if here.side > SMALLEST_SIZE:  # otherwise it begins here
                psf = resized_psf(psf, self.shape(level)[0] / self.shape(level + 1)[0], here.side)
            psf, l0_weight = here.iterate(psf, start.l0_weight, ITERATIONS, BETA)
            if level == 0:
                psf, _ = here.iterate(psf, REFINING_L0_WEIGHT, ITERATIONS, BETA, LAST_NOISE_L0_WEIGHT)
            return start._replace(psf=psf, l0_weight=l0_weight)

        bounds = sorted({start.bound for start in starts})
        levels = dict(zip(bounds, parallel.ordered_map(shared, bounds)))
        return parallel.ordered_map(climb, starts)


def psfs_from_nothing(image: Array, bound: int, *, l0_weights: Sequence[float] = L0_WEIGHTS) -> list[Array]:
    """PSFs that a photo can have been blurred by, from nothing but a bound on their size.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1]; at least twice the bound on each side.
    bound : int
        Largest size of a PSF, odd.
    l0_weights : sequence of float
        What an edge pixel costs on the coarsest level, see `edge_gradients`; each with every bound of the `ladder`.

    Returns
    -------
    list of float array (k, k)
        Those that came to the finest level, and if they are large what they were on a coarser one; each in a support of
        its own, non-negative, of sum 1, the centre of mass nearest the middle.

    Raises
    ------
    DeconvnetError
        If the image cannot be used.

    Notes
    -----
    Every start climbs a pyramid, whose levels differ by √2, from where its bound has 3 px, with the iterations of
    `deconvnet.restore.photo.refine.refine_psf` and one schedule of l0 weights; a bound of up to twice the PSF does no
    harm. Starts are compared by `fit_cost` on the levels of `ROUNDS`, and on the finer ones only the best are left. A
    level of a large photo is its `informative_part`, so that the cost is bounded.

    A large photo of a blurred scene may have nothing sharp on its finest levels but noise and traces of compression,
    for which the best PSF is a point: therefore large PSFs of a coarser level are handed out as well.
    """
    checked_image(image, bound)
    pyramid = _Pyramid(image)
    line = array_module(image).zeros((SMALLEST_SIZE, SMALLEST_SIZE), image.dtype)
    line[SMALLEST_SIZE // 2, :2] = 0.5
    waiting = [_Start(size, line, float(weight)) for size in ladder(bound) for weight in l0_weights]
    running: list[_Start] = []
    earlier: list[_Start] = []
    for level in range(first_level(bound), -1, -1):
        running += [start for start in waiting if first_level(start.bound) == level]
        picture = pyramid.picture(level)
        running = pyramid.up(running, level, picture)
        for last, keep in ROUNDS:
            if level == last:
                running = _best(running, keep, picture, bound, level)
        if level == ROUNDS[-1][0]:
            running = [_closer(start, pyramid.finer(level)) for start in running]
        if level == KEPT_LEVEL:
            earlier = running
    found = [trimmed(start.psf) for start in running]
    coarser = [trimmed(resized_psf(start.psf, pyramid.finer(KEPT_LEVEL), start.bound)) for start in earlier]
    return found + [psf for psf in coarser if any_large(image, [psf])]


def _closer(start: _Start, factor: float) -> _Start:
    """A start with a bound that leaves its PSF only so much room to grow, and costs less."""
    bound = min(start.bound, (int(ROOM * factor * extent(start.psf)) + 2) | 1)
    return start._replace(bound=bound)


def _best(starts: list[_Start], keep: int, picture: Array, bound: int, level: int) -> list[_Start]:
    """The starts whose PSFs fit a level's picture best."""
    if len(starts) <= keep:
        return starts
    border = side_on_level(bound, level) // 2
    costs = parallel.ordered_map(lambda start: fit_cost(picture, trimmed(start.psf), border=border), starts)
    return [starts[i] for i in sorted(np.argsort(costs, kind="stable")[:keep])]


def any_large(image: Array, psfs: Sequence[Array]) -> bool:
    """Whether a PSF has 45 px or more, and the photo seven sides of it."""
    return any(KEPT_SIZE <= len(psf) <= min(image.shape) / KEPT_SIDES for psf in psfs)


class Candidate(NamedTuple):
    """A PSF of a photo.

    Attributes
    ----------
    psf : float array (k, k)
    cost : float
        By which the best one is chosen: the smaller, the better.
    fit : Fit
        How it fits the finest level.
    """

    psf: Array
    cost: float
    fit: Fit


def candidates(image: Array, psfs: Sequence[Array], border: int, *, large: bool | None = None) -> list[Candidate]:
    """PSFs of one photo, each with the cost by which the best one is chosen.

    Parameters
    ----------
    image : float array (H, W)
        In [0, 1].
    psfs : sequence of float array (k, k)
    border : int
        Pixels left out on each side; half of the largest PSF at least.
    large : bool, optional
        Whether there are large ones among all that are compared, in several calls; by default whether one of these is.

    Returns
    -------
    list of Candidate
        Costs are ``C₀ k^(-1/100) exp(80 n / N)``, with the cost C₀ of `fit` on the finest level, for PSFs with n pixels
        that are not zero and a photo of N pixels; with large ones ``C₀^(3/4) C₂^(1/4) k^(-1/100)``, C₂ that on a
        coarser level.
    """
    if large is None:
        large = any_large(image, psfs)
    pyramid = _Pyramid(image)
    coarse, factor = pyramid.picture(KEPT_LEVEL) if large else None, 1 / pyramid.finer(KEPT_LEVEL)

    def candidate(psf: Array) -> Candidate:
        found = fit(image, psf, border=border)
        here = found.cost / len(psf) ** SIZE_POWER
        if not large:
            return Candidate(psf, here * float(np.exp(PIXEL_PRICE * int((psf > 0).sum()) / image.size)), found)
        small = trimmed(resized_psf(psf, factor, side_on_level(len(psf) + 2, KEPT_LEVEL)))
        there = fit(coarse, small, border=round(border * factor)).cost / len(psf) ** SIZE_POWER
        return Candidate(psf, here ** (1 - COARSE_SHARE) * there**COARSE_SHARE, found)

    return parallel.ordered_map(candidate, psfs)


def estimate_psf_sparse(image: Array, size: int, *, l0_weights: Sequence[float] = L0_WEIGHTS) -> Array:
    """The PSF of a photo, from nothing but a bound on its size: the best of `psfs_from_nothing`.

    Parameters
    ----------
    image, size, l0_weights
        As for `psfs_from_nothing`.

    Returns
    -------
    float array (size, size)
        Non-negative, of sum 1, its centre of mass nearest the middle; dtype of the image.

    Raises
    ------
    DeconvnetError
        If the image or the size cannot be used.
    """
    found = psfs_from_nothing(image, size, l0_weights=l0_weights)
    best = min(candidates(image, found, size // 2), key=lambda candidate: candidate.cost)
    return padded(best.psf, size)
