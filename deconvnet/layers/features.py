"""Feature extraction (Schuler et al. 2015, Sec. 3.1.1): filters, tanh, and pixel-wise recombinations.

Without training, one kernel goes from pixels to feature images, or on to the PSF, and the many hidden images of a
photograph are never in memory at once. Training keeps them, pixel by pixel: recombinations are then matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.photo.feature_tiles import feature_tiles
from deconvnet.kernels.photo.filter_bank import filter_bank, filter_bank_backward, tanh_rows, tanh_rows_backward
from deconvnet.kernels.photo.psf_from_features import psf_from_features
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.conv import Conv
from deconvnet.layers.dense import sum_of_rows
from deconvnet.layers.recombine import Recombine

__all__ = ["Features"]

FILTER_GAIN = 4.0  # responses to edges of photographs are then of the order of one


class Features(Layer):
    """conv → tanh → (recombine → tanh)* → recombine, each output pixel from its whole neighbourhood only.

    Parameters
    ----------
    channels : int
        Input images: 1, or 2 with a latent image.
    filters : int
        Filters of the convolution and units of the hidden layers.
    size : int
        Side of the filters in pixels.
    hidden_layers : int
        Recombinations followed by a tanh.
    images : int
        Feature images that come out.
    rng : numpy.random.Generator
        Filters start without a mean, scaled so that photographs neither saturate the tanh nor leave it linear.
    dtype : numpy dtype

    Notes
    -----
    ``x̃_i = Σ_j β_ij tanh(… tanh(f_j * y))`` (Schuler et al. 2015, Eq. (2)); the border is "valid", so the images
    shrink by ``size − 1``.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: int,
        hidden_layers: int,
        images: int,
        rng: np.random.Generator,
        *,
        dtype: Any = np.float32,
    ) -> None:
        self.channels, self.size, self.images = channels, size, images
        self.conv = Conv(channels, filters, size, rng, border="valid", dtype=dtype)
        bank = self.conv.filters.value
        bank -= bank.mean(axis=(2, 3), keepdims=True)
        bank *= FILTER_GAIN
        self.hidden = [Recombine(filters, filters, rng, dtype=dtype) for _ in range(hidden_layers)]
        self.out = Recombine(filters, images, rng, dtype=dtype)

    def _check(self, shape):
        if min(shape[-2:]) < self.size:
            raise DeconvnetError(
                f"an image of {shape[-2]}×{shape[-1]} pixels is smaller than the network's filters ({self.size}): "
                "use a larger image"
            )

    def _weights(self):
        """Filters, bias, weights and biases of the hidden recombinations, and of the last one."""
        hidden = [(layer.weight.value, layer.bias.value) for layer in self.hidden]
        last = self.out.weight.value, self.out.bias.value
        return self.conv.filters.value, self._bias().value, hidden, last

    def _bias(self) -> Parameter:
        assert self.conv.bias is not None  # `Conv` has one unless it is told otherwise
        return self.conv.bias

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Feature images (B, images, H − size + 1, W − size + 1) of ``x (B, channels, H, W)``.

        Raises
        ------
        DeconvnetError
            If the images are smaller than the filters.
        """
        self._check(x.shape)
        if not train:
            return feature_tiles(x, *self._weights()), None
        filters, bias, hidden, (weight, last_bias) = self._weights()
        pixels = filter_bank(x, filters, bias)
        active = [pixels.reshape(-1, len(bias))]  # (BHW, filters) after every tanh
        for hidden_weight, hidden_bias in hidden:
            mixed = active[-1] @ hidden_weight.T
            tanh_rows(mixed, hidden_bias)
            active.append(mixed)
        y = (active[-1] @ weight.T + last_bias).reshape(*pixels.shape[:3], -1)
        return array_module(x).ascontiguousarray(y.transpose(0, 3, 1, 2)), (x, active)

    def psf(self, x: Array, window: tuple[Array, Array], grid: Sequence[int], beta: float, side: int) -> Array:
        """The quotient of the two halves of the feature images around its origin, see `psf_from_features`.

        Parameters
        ----------
        x : real array (B, channels, H, W)
        window : (real array (H − size + 1,), real array (W − size + 1,))
            Factors that the feature images are multiplied by.
        grid : (int, int)
            Size to which they are continued with zeros.
        beta : float
            Regulariser of the quotient.
        side : int
            Odd side of the PSF.

        Returns
        -------
        real array (B, side, side)
            Its origin is at index (0, 0).

        Raises
        ------
        DeconvnetError
            If the images are smaller than the filters.
        """
        self._check(x.shape)
        height, width = grid
        return psf_from_features(x, *self._weights(), *window, (height, width), beta, side)

    def backward(self, dy: Array, cache: tuple, *, dx_channels: slice | None = slice(None)) -> Array | None:
        """Gradient of the input channels ``dx_channels``, in their order; None for None."""
        if dx_channels is not None and not range(*dx_channels.indices(self.channels)):
            dx_channels = None
        x, active = cache
        batch, _, height, width = dy.shape
        dmixed = array_module(dy).ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(batch * height * width, -1)
        for layer, units in zip([*self.hidden, self.out][::-1], active[::-1]):
            layer.weight.grad += dmixed.T @ units
            layer.bias.grad += sum_of_rows(dmixed)
            dmixed = dmixed @ layer.weight.value
            tanh_rows_backward(dmixed, units)
        self._bias().grad += sum_of_rows(dmixed)
        dfiltered = dmixed.reshape(batch, height, width, -1)
        dx, dfilters = filter_bank_backward(dfiltered, x, self.conv.filters.value, dx_channels)
        self.conv.filters.grad += dfilters
        return dx
