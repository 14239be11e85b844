"""Blur as a linear operator on periodic images, and which pixels of a photo a latent image must explain."""

from __future__ import annotations

import abc
from typing import Any

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels.photo.masked_deconvolution import conjugate_gradients, masked_deconvolution, periodic_blur
from deconvnet.ops.border import extended_shape
from deconvnet.ops.differences import differences_power
from deconvnet.ops.psf import psf_to_otf

__all__ = ["Blur", "Convolution", "LeastSquares", "PixelWeights"]

#: Pixels from this value on may have been brighter than they were recorded.
SATURATED = 0.99
#: Weight of the data at saturated pixels where the latent image, blurred, is too dark.
SATURATED_WEIGHT = 0.01
#: Light from places of unknown brightness, relative to the picture's range, that makes a pixel doubtful.
INFLUENCE = 0.002
#: A doubtful pixel is believed when it is explained to within this many times the noise.
TOLERANCE = 6
#: The preconditioner's divisor is at least this share of its largest value.
LEAST_DIVISOR = 1e-6


class Blur(abc.ABC):
    """A linear blur on a periodic grid that a convolution resembles.

    Attributes
    ----------
    shape : (int, int)
        The grid (H', W'); the image is its top left part.
    power : real array (H', W'//2 + 1)
        Squared magnitude of the transfer function of the convolution.
    in_parts : bool
        Whether `forward` and `adjoint` share their own work among the threads.
    """

    shape: tuple[int, int]
    power: Array
    in_parts = False

    @abc.abstractmethod
    def forward(self, x_hat: Array) -> Array:
        """Blurry image on the grid from the half spectrum of a latent one."""

    @abc.abstractmethod
    def adjoint(self, y: Array) -> Array:
        """Half spectrum of the adjoint's image, up to the transforms' factor H'·W', for an image on the grid."""

    def least_squares(self, y: Array, mask: Array, data_weight: float) -> LeastSquares:
        """The linear systems for one blurry image (H', W') and how much its pixels count at first, (H', W')."""
        return _BySteps(self, y, mask, data_weight)


class LeastSquares(abc.ABC):
    """Steps towards ``min data_weight/2 ‖√mask (K x − y)‖² + beta/2 ‖∇x − w‖²``, for one blurry image and any w.

    What is known of the last solution is not computed again where the next step begins.

    Attributes
    ----------
    mask : real array (H', W')
        How much each pixel of y counts, 0 to 1.
    """

    mask: Array

    @abc.abstractmethod
    def solve(self, x: Array, target: Array, beta: float, steps: int) -> Array:
        """Steps of conjugate gradients.

        Parameters
        ----------
        x, target : real array (H', W')
            Start, and ``∇ᵀw``.
        beta : float
        steps : int

        Returns
        -------
        real array (H', W')
        """

    @abc.abstractmethod
    def blurred(self, x: Array) -> Array:
        """K x, real array (H', W')."""


class _BySteps(LeastSquares):
    """For any blur."""

    def __init__(self, blur: Blur, y: Array, mask: Array, data_weight: float) -> None:
        self.blur, self.y, self.mask, self.data_weight = blur, y, mask, y.dtype.type(data_weight)
        self.gradient_power = differences_power(array_module(y), blur.shape, y.dtype)
        #: The last solution, its half spectrum, the mask, and λ Kᵀ m (y − K x) there.
        self.last: tuple[Array, Array, Array, Array] | None = None

    def _data_gram(self, z_hat: Array) -> Array:
        return self.data_weight * self.blur.adjoint(self.mask * self.blur.forward(z_hat))

    def _unexplained(self, x_hat: Array) -> Array:
        return self.data_weight * self.blur.adjoint(self.mask * (self.y - self.blur.forward(x_hat)))

    def solve(self, x: Array, target: Array, beta: float, steps: int) -> Array:
        smoothness = x.dtype.type(beta) * self.gradient_power
        x_hat = self._spectrum(x)
        if self.last is not None and self.last[0] is x and self.last[2] is self.mask:
            unexplained = self.last[3]
        else:
            unexplained = self._unexplained(x_hat)
        target_hat = x.dtype.type(beta) * rfft2(target)
        scaled = self.data_weight * self.blur.power + smoothness
        found_hat, residual = conjugate_gradients(
            x_hat,
            lambda z_hat: self._data_gram(z_hat) + smoothness * z_hat,
            unexplained + target_hat - smoothness * x_hat,
            1 / array_module(x).maximum(scaled, x.dtype.type(LEAST_DIVISOR) * scaled.max()),
            self.blur.shape,
            steps,
        )
        found = irfft2(found_hat, self.blur.shape)
        self.last = found, found_hat, self.mask, residual - target_hat + smoothness * found_hat
        return found

    def _spectrum(self, x: Array) -> Array:
        return self.last[1] if self.last is not None and self.last[0] is x else rfft2(x)

    def blurred(self, x: Array) -> Array:
        return self.blur.forward(self._spectrum(x))


class Convolution(Blur):
    """Blur with one PSF.

    Parameters
    ----------
    psf : float array (k, k)
        Of sum 1, centre at ``k // 2``.
    image_shape : (int, int)
        Size of the blurry image; the grid is larger by the PSF's support at least.
    """

    def __init__(self, psf: Array, image_shape: tuple[int, int]) -> None:
        self.psf, self.shape = psf, extended_shape(image_shape, len(psf))

    @property
    def otf(self) -> Array:
        """Transfer function, complex array (H', W'//2 + 1)."""
        return psf_to_otf(self.psf, self.shape)

    @property
    def power(self) -> Array:
        otf = self.otf
        return otf.real**2 + otf.imag**2

    def forward(self, x_hat: Array) -> Array:
        return irfft2(self.otf * x_hat, self.shape)

    def adjoint(self, y: Array) -> Array:
        return self.otf.conj() * rfft2(y)

    def least_squares(self, y: Array, mask: Array, data_weight: float) -> LeastSquares:
        return _WithOnePsf(self.psf, y, mask, data_weight)


class _WithOnePsf(LeastSquares):
    """For a `Convolution`."""

    def __init__(self, psf: Array, y: Array, mask: Array, data_weight: float) -> None:
        self.psf, self.y, self.mask, self.data_weight = psf, y, mask, data_weight
        self.memory: dict[str, Any] = {}

    def solve(self, x: Array, target: Array, beta: float, steps: int) -> Array:
        return masked_deconvolution(x, target, self.y, self.mask, self.psf, self.data_weight, beta, steps, self.memory)

    def blurred(self, x: Array) -> Array:
        return periodic_blur(x, self.psf, self.memory)


class PixelWeights:
    """Which pixels of one channel the latent image must explain, and how much each, 0 to 1.

    Parameters
    ----------
    image : float array (H, W)
    blur : Blur
    noise : float
        Standard deviation of what the blur leaves unexplained.
    saturated : bool array (H, W), optional
        Pixels that were too bright to be recorded; by default those from 0.99 on.
    bound : bool
        Whether a saturated pixel says "at least this bright", as one of a colour's difference does not.

    Attributes
    ----------
    mask : real array (H', W')
        On the blur's grid, 0 outside of the image.
    changes : bool
        Whether the mask depends on the latent image.

    Notes
    -----
    A saturated pixel says at most "at least this bright": its weight is 0 where the latent image, blurred, is brighter,
    and small where it is darker. All pixels that receive light from where most of the light arrived at saturated pixels
    are left out at first, and taken in again where they turn out to be explained (about as the outliers of Cho, Wang &
    Lee 2011, doi:10.1109/ICCV.2011.6126280).
    """

    def __init__(
        self, image: Array, blur: Blur, noise: float, *, saturated: Array | None = None, bound: bool = True
    ) -> None:
        xp = array_module(image)
        self.image, self.blur, self.noise, self.bound = image, blur, noise, bound
        self.saturated = image >= SATURATED if saturated is None else saturated
        self.changes = bool(self.saturated.any())
        if self.changes:
            # Pixels that receive light from where the picture is too bright to tell how bright.
            bright = (irfft2(blur.adjoint(self._on_grid(self.saturated)), blur.shape) > 0.5).astype(image.dtype)
            self.doubtful = self.saturated | (self.inside(blur.forward(rfft2(bright))) > INFLUENCE)
            self.mask = self._on_grid(~self.doubtful)
        else:
            self.mask = self._on_grid(xp.ones_like(image))

    def _on_grid(self, values: Array) -> Array:
        grid = array_module(values).zeros(self.blur.shape, self.image.dtype)
        self.inside(grid)[...] = values
        return grid

    def inside(self, grid: Array) -> Array:
        """The image's part of an array (H', W'), as a view."""
        return grid[: self.image.shape[0], : self.image.shape[1]]

    def update(self, blurred: Array) -> None:
        """Decide anew from the latent image, blurred (H', W')."""
        xp = array_module(self.image)
        predicted = self.inside(blurred)
        explained = xp.abs(predicted - self.image) < TOLERANCE * self.noise
        too_dark = SATURATED_WEIGHT * (predicted < self.image if self.bound else xp.ones_like(explained))
        self.mask = self._on_grid(xp.where(self.saturated, too_dark, ~self.doubtful | explained))
