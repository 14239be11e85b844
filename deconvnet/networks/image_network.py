"""The learned final image: closed-form quotients, and small convolutional networks that repair what they leave.

Non-blind deconvolution of one channel, unrolled. Quotients with regularisers of several strengths give a network a
picture that is a little too soft, one that is a little too noisy, and what lies between; it predicts what is missing. A
further quotient draws its result back to what the blurry picture says, and a second network repairs that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.conv3x3 import Conv3x3

__all__ = ["ImageNetwork", "Measured"]

#: Start of the weight that draws the second quotient to the first network's picture, times the noise's variance: that
#: picture's errors have a variance of 1/4000.
PRIOR_WEIGHT = 4e3
#: Channels of the networks' inputs.
INPUTS = 8
#: The picture itself is this much larger than what is to be corrected, and is scaled down by it.
PICTURE_SCALE = 0.1
#: Size of differences below which nothing is scaled up any more.
LEAST_SCALE = 1e-4


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


def _margins(shape, depth):
    """Pixels ``((top, bottom), (left, right))`` by which a periodic picture is continued: what ``depth`` convolutions
    of half the resolution take away, and one more where a side is odd."""
    return tuple((2 * depth, 2 * depth + n % 2) for n in shape)


def _wrapped(x, margins):
    """Images (B, H, W, C) continued periodically."""
    return array_module(x).pad(x, ((0, 0), *margins, (0, 0)), mode="wrap")


def _wrapped_backward(dx, margins):
    """Adjoint of `_wrapped`."""
    for axis, (before, after) in zip((1, 2), margins):
        dx = dx.swapaxes(0, axis).copy()
        inside = dx[before:-after]
        inside[:after] += dx[-after:]
        inside[-before:] += dx[:before]
        dx = inside.swapaxes(0, axis)
    return dx


def _halved(x):
    """Images (B, H, W, C) as (B, H/2, W/2, 4C): each pixel's channels are those of a 2×2 block."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels)


def _doubled(x):
    """Inverse of `_halved`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, 2, 2, channels // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4)


class Correction(Layer):
    """3×3 convolutions from ``INPUTS`` channels to one, on a periodic grid, at half the resolution.

    The pixels of a 2×2 block are channels (Shi et al. 2016), so that the network sees twice as far for a quarter of the
    work.

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
        first = Conv3x3(4 * INPUTS, width, True, rng, dtype=dtype)
        self.convs = [first, *inside, Conv3x3(width, 4, False, rng, scale=0.0, dtype=dtype)]

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Corrections (B, H, W) from ``x (B, H, W, INPUTS)``."""
        shape = x.shape[1:3]
        margins, caches = _margins(shape, len(self.convs)), []
        x = _halved(_wrapped(x, margins))
        for conv in self.convs:
            x, cache = conv.forward(x, train=train)
            caches.append(cache)
        return _doubled(x)[:, : shape[0], : shape[1], 0], ((caches, margins) if train else None)

    def backward(self, dy: Array, cache: tuple, *, need_dx: bool = True) -> Array | None:
        caches, margins = cache
        odd = [(0, after - before) for before, after in margins]
        dx: Any = _halved(array_module(dy).pad(dy[..., None], ((0, 0), *odd, (0, 0))))
        for i in range(len(self.convs) - 1, -1, -1):
            dx = self.convs[i].backward(dx, caches[i], need_dx=need_dx or i > 0)
        return _wrapped_backward(_doubled(dx), margins) if need_dx else None


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
    With s the sparse picture, q the quotients, N the networks and r the root mean square of the difference of s and the
    middling quotient, by which all that the networks see and say is scaled:

        x₁ = s + r N₁(s, q),    x₂ = F⁻¹[ (conj(K) Y + μσ² F x₁) / (|K|² + μσ²) ],    x = x₂ + r N₂(x₂, x₁, q)

    The networks see the picture, two differences of pictures, these three once more times the logarithm of the noise
    level, that logarithm, and what was seen: what helps depends on the noise, and a product is hard to learn for
    rectifiers. The last convolutions start at zero, so that nothing is worse than without the networks.
    """

    kind = "image"
    name = "two-step"

    def __init__(
        self, *, width: int = 32, depth: int = 8, rng: np.random.Generator | None = None, dtype: Any = np.float32
    ) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        self.config = {"width": width, "depth": depth}
        self.first, self.second = (Correction(width, depth, rng, dtype) for _ in range(2))
        self.log_weight = Parameter(np.array([np.log(PRIOR_WEIGHT)], dtype))

    def forward(self, measured: Measured, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Pictures (B, H, W) on the periodic grid.

        Parameters
        ----------
        measured : Measured
        """
        sparse, (weak, middle) = measured.sparse, measured.quotients
        xp, shape = array_module(sparse), sparse.shape[-2:]
        mean = sparse.mean(axis=(-2, -1), keepdims=True)
        square = (measured.seen * (middle - sparse) ** 2).mean(axis=(-2, -1), keepdims=True)
        scale = xp.sqrt(square) + sparse.dtype.type(LEAST_SCALE)
        level = (0.3 * xp.log2(measured.noise / 0.01))[:, None, None].astype(sparse.dtype)

        def inputs(picture, first, second):
            parts = [PICTURE_SCALE / scale * (picture - mean), first / scale, second / scale]
            known = [xp.broadcast_to(level, picture.shape), measured.seen]
            return xp.stack([*parts, *(level * part for part in parts), *known], axis=-1)

        correction, first_cache = self.first.forward(inputs(sparse, weak - sparse, middle - sparse), train=train)
        guess = sparse + scale * correction
        weight = (xp.exp(self.log_weight.value) * measured.noise**2)[:, None, None]
        guess_hat = rfft2(guess)
        held_hat = (measured.data_hat + weight * guess_hat) / (measured.power + weight)
        held = irfft2(held_hat, shape)
        correction, second_cache = self.second.forward(inputs(held, guess - held, middle - held), train=train)
        cache = (measured, first_cache, second_cache, weight, guess_hat - held_hat, scale, level) if train else None
        return held + scale * correction, cache

    def backward(self, dx: Array, cache: tuple) -> None:
        """Accumulates the gradients of the weights; the measured data get none."""
        measured, first_cache, second_cache, weight, pull_hat, scale, level = cache
        shape = dx.shape[-2:]
        dinputs: Any = self.second.backward(scale * dx, second_cache)
        dparts = (dinputs[..., :3] + level[..., None] * dinputs[..., 3:6]) / scale[..., None]
        dheld = dx + PICTURE_SCALE * dparts[..., 0] - dparts[..., 1] - dparts[..., 2]
        dheld_hat = rfft2(dheld)
        share = weight / (measured.power + weight)
        # ∂x₂/∂ log μ = F⁻¹[ share · (F x₁ − F x₂) ]
        moved = irfft2(share * pull_hat, shape)
        self.log_weight.grad += (dheld * moved).sum()
        dguess = dparts[..., 1] + irfft2(share * dheld_hat, shape)
        self.first.backward(scale * dguess, first_cache, need_dx=False)
