"""The single-photo network for PSFs of any size: one stage, run on every level of a pyramid of pictures.

A stage of Schuler et al. 2015 (Sec. 3.1) sees pixels, not PSFs: nothing in its weights knows how large the blur is. So
one set of weights serves every level of a pyramid whose levels lie a factor √2 apart, each handing its PSF to the next
finer one (Sec. 3.2 has a network of its own for every size). How many levels there are depends on the PSF's size alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from deconvnet.backend import Array, array_module, rfft2, rfft2_backward, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.features import Features
from deconvnet.layers.image_estimation import blurry_spectrum
from deconvnet.layers.psf_least_squares import psf_least_squares, psf_least_squares_backward
from deconvnet.layers.psf_resize import psf_resize, psf_resize_backward
from deconvnet.layers.psf_threshold import psf_threshold, psf_threshold_backward
from deconvnet.layers.sparse_latent import sparse_latents, sparse_latents_backward
from deconvnet.ops.edge_taper import edge_taper, edge_taper_backward
from deconvnet.ops.resample import resample

__all__ = ["ScaleFreePhoto", "pyramid_sides"]

SMALLEST = 3.0  # the coarsest level is the first whose PSF has at most this many pixels
CONTRAST = 0.25  # standard deviation that a picture's values are scaled to; about that of photographs
STEEP = 16.0  # factor on differences of pictures, so that their power is of the order of one
# Starts of the weights c_n of the gradients in the steps to the sparse latent picture (`sparse_latents`), and of the
# price of an edge: a gradient counts as one when its square is above the price over the next weight. In noisy pictures
# the first weight and the price, and β_k, are larger by these two factors on the noise's variance. These and the starts
# below were found by random trials on training photographs with the features at zero.
FIRST, WEIGHT, RATIO, PRICE, NOISE = 0.015, 0.045, 2.7, 4.5e-3, (600.0, 3000.0)
LEARNED = 0.1  # factor on the start of the last weights of the features, which are added to these edges
BETA_PSF = 0.4  # start of β_k
ANCHOR = 0.0125  # start of α
SHARE = 0.0075  # start of the share of the maximum that is taken off a PSF
RISE = (1.2, 1.3)  # of the price and of β_k from each level to the next coarser one


def pyramid_sides(psf_size: int) -> list[int]:
    """Sides of the PSF's support on every level.

    Parameters
    ----------
    psf_size : int
        Odd side in pixels on the finest level.

    Returns
    -------
    list of int
        Coarse to fine: the smallest odd numbers from ``psf_size / 2^(i/2)`` on, until that is at most 3.

    Raises
    ------
    DeconvnetError
        If the size is even or less than 3.
    """
    if psf_size < 3 or psf_size % 2 == 0:
        raise DeconvnetError(f"a PSF of {psf_size} pixels has no centre: use an odd size of at least 3")
    sides = [psf_size]
    while psf_size * 2 ** (-(len(sides) - 1) / 2) > SMALLEST:
        sides.append(2 * int(np.ceil((psf_size * 2 ** (-len(sides) / 2) - 1) / 2 - 1e-9)) + 1)
    return sides[::-1]


def _gradients(y, reach, shape):
    """Differences of ``y (B, H, W)`` to the next pixel across and down, (B, 2, *shape), from pixel ``reach`` on."""
    xp = array_module(y)
    y = y.dtype.type(STEEP) * y
    rows, columns = slice(reach, reach + shape[0]), slice(reach, reach + shape[1])
    across = y[:, rows, reach + 1 : reach + 1 + shape[1]] - y[:, rows, columns]
    down = y[:, reach + 1 : reach + 1 + shape[0], columns] - y[:, rows, columns]
    return xp.stack([across, down], axis=1)


def _noise_variance(y):
    """Variance of the noise in blurry pictures (B, H, W), (B,).

    From the median magnitude of the second difference across of the second difference down: blur leaves little else in
    this band, and edges do not move a median.
    """
    xp = array_module(y)
    across = y[:, :, :-2] - 2 * y[:, :, 1:-1] + y[:, :, 2:]
    fine = abs(across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:])
    return (xp.median(fine.reshape(len(y), -1), axis=1) / (6 * 0.6745)) ** 2


class _LevelCache(NamedTuple):
    resized: tuple | None  # None on the coarsest level
    latent: Any
    features: Any
    fade: tuple
    psf: tuple
    threshold: tuple
    values: dict  # of the tables on this level
    noise: Any


class ScaleFreeStage(Layer):
    """Latent pictures, features, PSF; for PSFs of any side.

    Parameters
    ----------
    filters, filter_size, hidden_layers : int
        As of `deconvnet.networks.photo.scale_config`.
    edge_steps : int
        Steps of the sparse latent picture.
    psf_steps : int
        Steps to the PSF.
    learned_pairs : int
        Pairs of feature images of which both are learned, beside the two whose blurry one is a gradient.
    levels : int
        Entries of the tables of regularisers, from the finest level on; coarser levels use the last.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Notes
    -----
    With ``p`` the PSF of the coarser level, resized to this one's pixels (a delta on the coarsest), and ``y`` the
    picture of this level::

        x, x', e = latent picture, the same with few edges, and these edges     (`sparse_latents`)
        x̃_i      = e_i + features of (y, x, x')               (Schuler et al. 2015, Eq. (2), with e_1, e_2 beside it)
        ỹ_i      = ∂y across and down; further ones are learned
        psf      = threshold(normalise(argmin_{q ≥ 0} Σ ‖q * x̃_i − ỹ_i‖² + β_k ‖q‖² + α ‖q − p‖²))

    The last line (`psf_least_squares`) is Eq. (4) but for two things: the support and the sign are part of the least
    squares, and α draws the PSF to the coarser one where the feature images say nothing. Noise is less on coarser
    levels, so α, β_k, the threshold's share of the maximum and the constants of the sparse latent picture are learned
    for each level, counted from the finest. β_k and what decides on edges also grow with each picture's own noise, by
    learned factors. All are stored as logarithms, the share as its logit.
    """

    def __init__(
        self,
        *,
        filters: int,
        filter_size: int,
        hidden_layers: int,
        edge_steps: int,
        psf_steps: int,
        learned_pairs: int,
        levels: int,
        rng: np.random.Generator,
        dtype: Any = np.float32,
    ) -> None:
        self.psf_steps = psf_steps
        self.learned_pairs, self.pairs = learned_pairs, 2 + learned_pairs
        self.features = Features(3, filters, filter_size, hidden_layers, self.pairs + learned_pairs, rng, dtype=dtype)
        self.features.out.weight.value[:2] *= LEARNED

        def table(*start, rise=1.0):
            logarithms = np.log(start) + np.log(rise) * np.arange(levels)[:, None]
            return Parameter(logarithms.astype(dtype))

        couplings = np.array([FIRST, *(WEIGHT * RATIO ** np.arange(edge_steps))])
        self.log_couplings = table(*couplings)
        self.log_edges = table(*(PRICE / np.append(couplings[1:], 2 * couplings[-1])), rise=RISE[0])
        self.log_beta_psf = table(BETA_PSF, rise=RISE[1])
        self.log_anchor, self.log_noise = table(ANCHOR), table(*NOISE)
        self.logit_share = table(SHARE / (1 - SHARE))

    def _values(self, level):
        """The constants of one level, ``{name: float64 array}``."""
        names = ("log_couplings", "log_edges", "log_beta_psf", "log_anchor", "log_noise")
        values = {name: np.exp(to_host(getattr(self, name).value[level]).astype(np.float64)) for name in names}
        values["share"] = 1 / (1 + np.exp(-to_host(self.logit_share.value[level]).astype(np.float64)))
        return values

    def forward(
        self,
        y: Array,
        noise: Array,
        coarser: Array | None,
        factors: tuple[float, float] | None,
        side: int,
        level: int,
        *,
        train: bool = False,
    ) -> tuple[Array, _LevelCache | None]:
        """PSFs of one level.

        Parameters
        ----------
        y : array (B, H, W)
            Blurry pictures without their mean.
        noise : array (B,)
            Variance of their noise.
        coarser : array (B, k, k) or None
            PSFs of the coarser level; None on the coarsest.
        factors : (float, float) or None
            Pixels of this level in one of the coarser, down and across.
        side : int
            Side of the PSF's support on this level.
        level : int
            Entry of the tables.

        Returns
        -------
        psf : array (B, side, side)
        cache : tuple or None
        """
        xp = array_module(y)
        values, real = self._values(level), y.dtype.type
        resize_cache = None
        if coarser is None:
            start = xp.zeros((len(y), side, side), dtype=y.dtype)
            start[:, side // 2, side // 2] = 1
        else:
            assert factors is not None  # there is a coarser level
            start, resize_cache = psf_resize(coarser, factors, side)
        noisier = 1 + real(values["log_noise"][0]) * noise
        couplings = xp.asarray(values["log_couplings"], dtype=y.dtype)[:, None] * xp.ones_like(noisier)
        couplings[0] *= noisier
        thresholds = xp.asarray(values["log_edges"], dtype=y.dtype)[:, None] * noisier
        y_hat, grid = blurry_spectrum(y, 2 * side)
        first, last, edges, latent_cache = sparse_latents(y_hat, start, couplings, thresholds, grid, y.shape[-2:])
        maps, features_cache = self.features.forward(xp.stack([y, first, last], axis=1), train=train)
        shape, reach = maps.shape[-2:], self.features.size // 2
        inside = (..., slice(reach, reach + shape[0]), slice(reach, reach + shape[1]))
        maps[:, :2] += real(STEEP) * edges[inside]
        maps = xp.concatenate([maps[:, : self.pairs], _gradients(y, reach, shape), maps[:, self.pairs :]], axis=1)
        grid = tuple(scipy.fft.next_fast_len(max(n, 2 * side - 1), real=True) for n in shape)
        # Over √n, n their pixels: the maps' power spectrum, and so β, does not depend on the picture's size.
        scale = (shape[0] * shape[1]) ** -0.5
        faded = edge_taper(maps, side, scale=scale, grid=grid)
        hat = rfft2(faded).reshape(len(y), 2, self.pairs, -1)
        x_hat, y_hat = xp.ascontiguousarray(hat[:, 0]), xp.ascontiguousarray(hat[:, 1])
        beta = real(values["log_beta_psf"][0]) * (1 + real(values["log_noise"][1]) * noise)
        alpha = float(values["log_anchor"][0])
        raw, psf_cache = psf_least_squares(x_hat, y_hat, start, beta, alpha, grid, self.psf_steps)
        psf, threshold_cache = psf_threshold(raw, float(values["share"][0]))
        if not train:
            return psf, None
        return psf, _LevelCache(
            resize_cache,
            latent_cache,
            features_cache,
            (shape, scale, inside),
            psf_cache,
            threshold_cache,
            values,
            noise,
        )

    def backward(self, dpsf: Array, cache: _LevelCache, level: int) -> Array | None:
        """Accumulate the gradients of one level; returns that of the coarser level's PSFs, None on the coarsest."""
        xp = array_module(dpsf)
        values, batch = cache.values, len(dpsf)
        dpsf, dshare = psf_threshold_backward(dpsf, cache.threshold)
        share = values["share"]
        self._add("logit_share", level, dshare * share * (1 - share))
        dmaps, dstart, dbeta = self._maps_backward(dpsf, cache, level)
        inside = cache.fade[2]
        dlatent: Any = self.features.backward(dmaps, cache.features, dx_channels=slice(1, None))
        dedges = xp.zeros((batch, 2, *dlatent.shape[-2:]), dtype=dpsf.dtype)
        dedges[inside] = dpsf.dtype.type(STEEP) * dmaps[:, :2]
        dresized, dcouplings, dthresholds = sparse_latents_backward(dlatent[:, 0], dlatent[:, 1], dedges, cache.latent)
        factor, noise = values["log_noise"][0], to_host(cache.noise).astype(np.float64)
        noisier = 1 + factor * noise
        dcouplings, dthresholds = (to_host(d).astype(np.float64) for d in (dcouplings, dthresholds))
        scaled = dthresholds * values["log_edges"][:, None]  # all of these are d log v = v dv
        self._add("log_edges", level, scaled @ noisier)
        first = values["log_couplings"][0] * dcouplings[0]
        self._add(
            "log_couplings", level, [first @ noisier, *(values["log_couplings"][1:] * dcouplings[1:].sum(axis=1))]
        )
        dbeta = values["log_beta_psf"][0] * dbeta
        self._add("log_beta_psf", level, dbeta @ (1 + values["log_noise"][1] * noise))
        self._add("log_noise", level, values["log_noise"] * [(first + scaled.sum(axis=0)) @ noise, dbeta @ noise])
        if cache.resized is None:
            return None
        return psf_resize_backward(dresized + dstart, cache.resized)

    def _maps_backward(self, draw, cache, level):
        """Gradients of the features' maps, of the resized PSF as start and anchor, and of each picture's β_k."""
        xp = array_module(draw)
        batch, side = len(draw), draw.shape[-1]
        grid = cache.psf[5]
        dx_hat, dy_hat, dstart, dbeta, dalpha = psf_least_squares_backward(draw, cache.psf)
        self._add("log_anchor", level, dalpha * cache.values["log_anchor"])
        dhat = xp.concatenate([dx_hat, dy_hat[:, 2:]], axis=1) if self.learned_pairs else dx_hat
        dfaded = rfft2_backward(dhat.reshape(batch, -1, grid[0], grid[1] // 2 + 1), grid)
        shape, scale, _ = cache.fade
        return edge_taper_backward(dfaded, shape, side, scale=scale), dstart, to_host(dbeta).astype(np.float64)

    def _add(self, name, level, gradient):
        """Add to the gradient of one entry of a table."""
        grad = getattr(self, name).grad
        grad[level] += array_module(grad).asarray(np.asarray(gradient), dtype=grad.dtype)


class ScaleFreePhoto(Layer):
    """PSF of a single blurry photograph, of any size, with one set of weights.

    Parameters
    ----------
    filters : int
        Filters of the convolution, and units of the hidden layers.
    filter_size : int
        Side of the filters in pixels.
    hidden_layers : int
        Recombinations with a tanh between the filters and the feature images.
    edge_steps : int
        Steps of the sparse latent picture on every level.
    psf_steps : int
        Steps to the PSF on every level.
    learned_pairs : int
        Pairs of feature images of which both are learned, beside the two whose blurry one is a gradient.
    levels : int
        Entries of the tables of regularisers, from the finest level on.
    iterations : int
        Times that the stage is run on a level; every time but the first it starts from that level's own PSF.
    bounds : sequence of int
        Growing PSF sides at which another stage takes over: up to the first one the first stage is used, and so on.
        Empty: one stage for all levels.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Notes
    -----
    The levels lie a factor √2 apart, down to where the PSF has at most 3 px, see `pyramid_sides`, or the
    picture twice the side of the filters. The mean of the
    picture is taken off and its values are scaled to one standard deviation: neither says anything of the blur. The
    weights are those of an unrolled iteration: their gradients add up over the levels.
    """

    kind = "photo"
    name = "scale-free"

    def __init__(
        self,
        *,
        filters: int = 32,
        filter_size: int = 9,
        hidden_layers: int = 1,
        edge_steps: int = 4,
        psf_steps: int = 12,
        learned_pairs: int = 0,
        levels: int = 6,
        iterations: int = 2,
        bounds: Sequence[int] = (),
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        self.bounds, self.iterations, self.levels = list(bounds), iterations, levels
        if sorted(set(self.bounds)) != self.bounds:
            raise DeconvnetError(f"the bounds {self.bounds} of the stages must grow")
        self.config = {
            "filters": filters,
            "filter_size": filter_size,
            "hidden_layers": hidden_layers,
            "edge_steps": edge_steps,
            "psf_steps": psf_steps,
            "learned_pairs": learned_pairs,
            "levels": levels,
            "iterations": iterations,
            "bounds": self.bounds,
        }
        self.stages = [
            ScaleFreeStage(
                filters=filters,
                filter_size=filter_size,
                hidden_layers=hidden_layers,
                edge_steps=edge_steps,
                psf_steps=psf_steps,
                learned_pairs=learned_pairs,
                levels=levels,
                rng=rng,
                dtype=dtype,
            )
            for _ in range(len(self.bounds) + 1)
        ]

    def smallest_image(self, psf_size: int) -> int:
        """Shortest side, in pixels, of a picture whose PSF is of that size: twice the PSF, and twice the filters."""
        return max(2 * psf_size, self._least_level())

    def _least_level(self):
        """Levels whose pictures have a side shorter than this are left out."""
        return 2 * self.stages[0].features.size

    def _plan(self, shape, psf_size):
        """``(shape, side, stage, entry of the tables)`` of every run of a stage, coarse to fine."""
        sides = pyramid_sides(psf_size)
        plan = []
        for i, side in enumerate(sides):
            finer = len(sides) - 1 - i
            here = tuple(round(n * 2 ** (-finer / 2)) for n in shape)
            if finer and min(here) < self._least_level():
                continue
            stage = self.stages[int(np.searchsorted(self.bounds, side))]
            plan += [(here, side, stage, min(finer, self.levels - 1))] * self.iterations
        return plan

    def forward(self, luminance: Array, psf_size: int, *, train: bool = False) -> tuple[list[Array], list | None]:
        """PSFs of every level.

        Parameters
        ----------
        luminance : real array (B, H, W)
            Blurry pictures in [0, 1].
        psf_size : int
            Odd side of the PSF's support in pixels.

        Returns
        -------
        psfs : list of array (B, k, k)
            Coarse to fine, with k from `pyramid_sides` (the last of these, where the picture is so small that coarse
            levels are left out), ``iterations`` for each level. The last one is the estimate.
        cache : list or None

        Raises
        ------
        DeconvnetError
            If the size is even or less than 3, or the picture is too small for it.
        """
        height, width = luminance.shape[-2:]
        least = self.smallest_image(psf_size)
        if min(height, width) < least:
            raise DeconvnetError(
                f"an image of {height}×{width} pixels is too small for PSFs of {psf_size}: it needs {least} on its "
                "shorter side, use a larger image or a smaller PSF size"
            )
        xp = array_module(luminance)
        y = luminance - luminance.mean(axis=(-2, -1), keepdims=True)
        deviation = xp.sqrt((y * y).mean(axis=(-2, -1), keepdims=True))
        y = y * (luminance.dtype.type(CONTRAST) / xp.maximum(deviation, 1e-6))
        noise = _noise_variance(y)
        factors: tuple[float, float] | None
        psfs, caches, before, psf = [], [], None, None
        for shape, side, stage, entry in self._plan((height, width), psf_size):
            if shape != before:
                here = y if shape == (height, width) else resample(y, shape)
            factors = None if before is None else (shape[0] / before[0], shape[1] / before[1])
            fewer = y.dtype.type(here[0].size / y[0].size)  # resampling averages the noise away
            psf, cache = stage.forward(here, fewer * noise, psf, factors, side, entry, train=train)
            psfs.append(psf)
            caches.append((stage, entry, cache))
            before = shape
        return psfs, (caches if train else None)

    def backward(self, dpsfs: Sequence[Array], cache: list) -> None:
        """Accumulate the gradients of the weights over all levels; the picture itself gets none.

        Parameters
        ----------
        dpsfs : list of array (B, k, k)
            Gradient of each PSF that `forward` returned.
        cache : list
        """
        dcoarser = None
        for dpsf, (stage, entry, kept) in zip(dpsfs[::-1], cache[::-1]):
            dcoarser = stage.backward(dpsf if dcoarser is None else dpsf + dcoarser, kept, entry)

    def estimate_psf(self, luminance: Array, psf_size: int) -> list[list[Array]]:
        """PSFs of every level.

        Parameters
        ----------
        luminance : real array (B, H, W)
            Blurry pictures in [0, 1], of any size from `smallest_image` on.
        psf_size : int
            Odd side of the PSF's support in pixels.

        Returns
        -------
        list of list of array (B, k, k)
            One list per level, coarse to fine, one array per iteration; ``[-1][-1]`` is the estimate.
        """
        flat, _ = self.forward(luminance, psf_size)
        return [flat[i : i + self.iterations] for i in range(0, len(flat), self.iterations)]
