"""The learned final image: closed-form quotients, and small convolutional networks that repair what they leave.

Non-blind deconvolution of one channel, unrolled. Quotients with regularisers of several strengths give a network a
picture that is a little too soft, one that is a little too noisy, and what lies between; it predicts what is missing. A
further quotient draws its result back to what the blurry picture says, and a second network repairs that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.conv3x3 import Conv3x3
from deconvnet.parallel import ordered_map

__all__ = ["ImageNetwork", "Measured"]

#: Start of the weight that draws the second quotient to the first network's picture, times the noise's variance: that
#: picture's errors have a variance of 1/4000.
PRIOR_WEIGHT = 4e3
#: Channels of the networks' inputs.
INPUTS = 5
#: What the networks see and say is scaled to the size of their weights: noise levels and differences of pictures times
#: these, corrections times this.
NOISE_SCALE, DIFFERENCE_SCALE, CORRECTION_SCALE = 20.0, 10.0, 0.05
#: Rows that are corrected at a time, without training.
BAND = 32


class Measured(NamedTuple):
    """What a blurry picture says, as `ImageNetwork` takes it.

    Attributes
    ----------
    sparse : real array (B, H, W)
        Deconvolved with a sparse prior on the gradients, roughly.
    quotients : real array (2, B, H, W)
        Deconvolved by quotients with a weak and a middling regulariser.
    data_hat : complex array (B, H, W//2 + 1)
        ``conj(K) Y``, or its sum over the frames of a burst.
    power : real array (B, H, W//2 + 1)
        ``|K|²``, or its sum.
    noise : real array (B,)
        Standard deviation of what the PSF leaves unexplained.
    seen : real array (B, H, W)
        1 where the picture was seen, 0 beyond its border and where it was saturated.
    """

    sparse: Array
    quotients: Array
    data_hat: Array
    power: Array
    noise: Array
    seen: Array


def _wrapped(x, margin):
    """Images (B, H, W, C) continued periodically by ``margin`` pixels on each side."""
    return array_module(x).pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="wrap")


def _wrapped_backward(dx, margin):
    """Adjoint of `_wrapped`."""
    dx = dx.copy()
    m = margin
    dx[:, m : 2 * m] += dx[:, -m:]
    dx[:, -2 * m : -m] += dx[:, :m]
    dx = dx[:, m:-m]
    dx[:, :, m : 2 * m] += dx[:, :, -m:]
    dx[:, :, -2 * m : -m] += dx[:, :, :m]
    return dx[:, :, m:-m]


class Correction(Layer):
    """A few 3×3 convolutions from ``INPUTS`` channels to one, on a periodic grid.

    Parameters
    ----------
    width : int
        Channels between, at most 32.
    depth : int
        Convolutions, at least 2.
    rng : numpy.random.Generator
    dtype : numpy dtype
    """

    def __init__(self, width: int, depth: int, rng: np.random.Generator, dtype: Any = np.float32) -> None:
        inside = [Conv3x3(width, width, True, rng, dtype=dtype) for _ in range(depth - 2)]
        first = Conv3x3(INPUTS, width, True, rng, dtype=dtype)
        self.convs = [first, *inside, Conv3x3(width, 1, False, rng, scale=0.0, dtype=dtype)]

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, list | None]:
        """Corrections (B, H, W) from ``x (B, H, W, INPUTS)``."""
        x, caches = _wrapped(x, len(self.convs)), []
        for conv in self.convs:
            x, cache = conv.forward(x, train=train)
            caches.append(cache)
        return x[..., 0] * x.dtype.type(CORRECTION_SCALE), (caches if train else None)

    def in_bands(self, inputs: Callable[[np.ndarray], Array], height: int, *, on_host: bool) -> Array:
        """The same without training, band after band of rows, so that channels of a whole picture are never in memory.

        Parameters
        ----------
        inputs : callable
            Makes x (B, n, W, INPUTS) for n rows, given as an int array.
        height : int
            H.
        on_host : bool
            Whether x is a NumPy array: then the threads share the bands.
        """
        margin = len(self.convs)

        def band(first: int) -> Array:
            x = inputs(np.arange(first - margin, min(first + BAND, height) + margin) % height)
            xp = array_module(x)
            x = xp.pad(x, ((0, 0), (0, 0), (margin, margin), (0, 0)), mode="wrap")
            for conv in self.convs:
                x, _ = conv.forward(x)
            return x[..., 0] * x.dtype.type(CORRECTION_SCALE)

        firsts = range(0, height, BAND)
        bands = ordered_map(band, firsts) if on_host else [band(first) for first in firsts]
        return array_module(*bands).concatenate(bands, axis=1)

    def backward(self, dy: Array, caches: list, *, need_dx: bool = True) -> Array | None:
        dx: Any = dy[..., None] * dy.dtype.type(CORRECTION_SCALE)
        for i in range(len(self.convs) - 1, -1, -1):
            dx = self.convs[i].backward(dx, caches[i], need_dx=need_dx or i > 0)
        return _wrapped_backward(dx, len(self.convs)) if need_dx else None


class ImageNetwork(Layer):
    """Sharp pictures from measured ones.

    Parameters
    ----------
    width, depth : int
        Channels and convolutions of each of the two networks.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Notes
    -----
    With s the sparse picture, q the quotients and N the networks, which see differences of pictures, the noise level
    and what was seen::

        x₁ = s + N₁(s, q),    x₂ = F⁻¹[ (conj(K) Y + μσ² F x₁) / (|K|² + μσ²) ],    x = x₂ + N₂(x₂, x₁, q)

    The last convolutions start at zero, so that nothing is worse than without the networks.
    """

    kind = "image"
    name = "two-step"

    def __init__(
        self, *, width: int = 32, depth: int = 5, rng: np.random.Generator | None = None, dtype: Any = np.float32
    ) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        self.config = {"width": width, "depth": depth}
        self.first, self.second = (Correction(width, depth, rng, dtype) for _ in range(2))
        self.log_weight = Parameter(np.array([np.log(PRIOR_WEIGHT)], dtype))

    @staticmethod
    def _inputs(measured, mean, pictures, rows):
        """Channels of a network in some rows: a picture less its mean, its differences to two others, noise, and what
        was seen."""
        picture, other, middle = (p[:, rows] for p in pictures)
        xp, scale = array_module(picture), picture.dtype.type(DIFFERENCE_SCALE)
        level = xp.broadcast_to((NOISE_SCALE * measured.noise)[:, None, None], picture.shape)
        differences = scale * (other - picture), scale * (middle - picture)
        return xp.stack([picture - mean, *differences, level, measured.seen[:, rows]], axis=-1)

    def _correction(self, network, measured, mean, pictures, train):
        """What a network adds to the first of three pictures (B, H, W), and its cache."""
        if train:
            return network.forward(self._inputs(measured, mean, pictures, slice(None)), train=True)
        xp, height = array_module(mean), pictures[0].shape[1]
        found = network.in_bands(
            lambda rows: self._inputs(measured, mean, pictures, xp.asarray(rows)), height, on_host=xp is np
        )
        return found, None

    def forward(self, measured: Measured, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Pictures (B, H, W) on the periodic grid.

        Parameters
        ----------
        measured : Measured
        """
        sparse, (weak, middle) = measured.sparse, measured.quotients
        shape = sparse.shape[-2:]
        mean = sparse.mean(axis=(-2, -1), keepdims=True)
        correction, first_cache = self._correction(self.first, measured, mean, (sparse, weak, middle), train)
        guess = sparse + correction
        xp = array_module(guess)
        weight = (xp.exp(self.log_weight.value) * measured.noise**2)[:, None, None]
        guess_hat = rfft2(guess)
        held_hat = (measured.data_hat + weight * guess_hat) / (measured.power + weight)
        held = irfft2(held_hat, shape)
        correction, second_cache = self._correction(self.second, measured, mean, (held, guess, middle), train)
        cache = (measured, first_cache, second_cache, weight, guess_hat - held_hat) if train else None
        return held + correction, cache

    def backward(self, dx: Array, cache: tuple) -> None:
        """Accumulates the gradients of the weights; the measured data get none."""
        measured, first_cache, second_cache, weight, pull_hat = cache
        shape = dx.shape[-2:]
        dinputs: Any = self.second.backward(dx, second_cache)
        dinputs[..., 1:3] *= dx.dtype.type(DIFFERENCE_SCALE)
        dheld = dx + dinputs[..., 0] - dinputs[..., 1] - dinputs[..., 2]
        dheld_hat = rfft2(dheld)
        share = weight / (measured.power + weight)
        # ∂x₂/∂ log μ = F⁻¹[ share · (F x₁ − F x₂) ]
        moved = irfft2(share * pull_hat, shape)
        self.log_weight.grad += (dheld * moved).sum()
        dguess = dinputs[..., 1] + irfft2(share * dheld_hat, shape)
        self.first.backward(dguess, first_cache, need_dx=False)
