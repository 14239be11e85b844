"""Feature extraction (Schuler et al. 2015, Sec. 3.1.1): filters, tanh, and pixel-wise recombinations.

Without training, one pass goes from pixels to feature images, and the many hidden images of a photograph are never in
memory at once (`deconvnet.kernels.photo.feature_tiles`). Training keeps them: on the CPU the filters run as Fourier
tiles, pixel by pixel; on a GPU layer follows layer.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.photo.feature_strips import feature_strips
from deconvnet.kernels.photo.feature_tiles import (
    FILTERS,
    LARGEST_SIDE,
    MAPS,
    conv_tiles,
    conv_tiles_backward,
    feature_tiles,
    tanh_rows,
    tanh_rows_backward,
)
from deconvnet.kernels.simd.line_fft import is_smooth
from deconvnet.kernels.simd.strips import StripGrid
from deconvnet.layers.base import Layer
from deconvnet.layers.conv import Conv
from deconvnet.layers.recombine import Recombine
from deconvnet.layers.tanh import Tanh

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

    def __init__(self, channels, filters, size, hidden_layers, images, rng, *, dtype=np.float32):
        self.channels, self.size, self.images = channels, size, images
        self.conv = Conv(channels, filters, size, rng, border="valid", dtype=dtype)
        bank = self.conv.filters.value
        bank -= bank.mean(axis=(2, 3), keepdims=True)
        bank *= FILTER_GAIN
        self.hidden = [Recombine(filters, filters, rng, dtype=dtype) for _ in range(hidden_layers)]
        self.out = Recombine(filters, images, rng, dtype=dtype)
        self.tanh = Tanh()

    def _check(self, shape):
        if min(shape[-2:]) < self.size:
            raise DeconvnetError(
                f"an image of {shape[-2]}×{shape[-1]} pixels is smaller than the network's filters ({self.size}): "
                "use a larger image"
            )

    def _fits_kernels(self):
        """Whether the kernels have room for all filters and feature images; other widths go layer by layer."""
        return len(self.conv.bias.value) <= FILTERS and self.images <= MAPS

    def _fits_fused(self, x):
        """Whether inference can be one pass."""
        return self._fits_kernels() and (array_module(x) is np or self.size <= LARGEST_SIDE)

    def _fits_tiles(self, x):
        """Whether training can run in Fourier tiles, which are for the CPU."""
        return self._fits_kernels() and array_module(x) is np

    def forward(self, x, *, train=False):
        """Feature images (B, images, H − size + 1, W − size + 1) of ``x (B, channels, H, W)``."""
        self._check(x.shape)
        filters, bias = self.conv.filters.value, self.conv.bias.value
        if not train and self._fits_fused(x):
            hidden = [(layer.weight.value, layer.bias.value) for layer in self.hidden]
            return feature_tiles(x, filters, bias, hidden, (self.out.weight.value, self.out.bias.value)), None
        if not train or not self._fits_tiles(x):
            return self._chain(x, train)
        pixels = conv_tiles(x, filters, bias, activate=True)
        grid = pixels.shape[:3]
        active = [pixels.reshape(-1, FILTERS)[:, : len(bias)]]  # (BHW, filters) after every tanh
        for layer in self.hidden:
            mixed = active[-1] @ layer.weight.value.T
            tanh_rows(mixed, layer.bias.value)
            active.append(mixed)
        y = active[-1] @ self.out.weight.value.T + self.out.bias.value
        return np.ascontiguousarray(y.reshape(*grid, -1).transpose(0, 3, 1, 2)), (x, active)

    def strips(self, x, window, grid):
        """Row transforms of the faded feature images, see `feature_strips`; without training, on the CPU.

        Parameters
        ----------
        x : real array (B, channels, H, W)
        window : (real array (H − size + 1,), real array (W − size + 1,))
        grid : (int, int)
            Size to which the feature images are continued with zeros.

        Returns
        -------
        spectra : real array, or None
            None where there is no kernel for it: on a GPU, for other widths, and for sizes without a fast transform.
        grid : StripGrid or None
        """
        self._check(x.shape)
        if not (self._fits_tiles(x) and all(is_smooth(n) for n in grid)):
            return None, None
        strips = StripGrid(grid, x.dtype)
        filters, bias = self.conv.filters.value, self.conv.bias.value
        hidden = [(layer.weight.value, layer.bias.value) for layer in self.hidden]
        last = self.out.weight.value, self.out.bias.value
        return feature_strips(x, filters, bias, hidden, last, window, strips), strips

    def backward(self, dy, cache, *, dx_channels=slice(None)):
        """Gradient of the input channels ``dx_channels``, in their order; None for None."""
        if dx_channels is not None and not range(*dx_channels.indices(self.channels)):
            dx_channels = None
        if not self._fits_tiles(dy):
            return self._chain_backward(dy, cache, dx_channels)
        x, active = cache
        batch, _, height, width = dy.shape
        dmixed = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(batch * height * width, -1)
        for layer, units in zip([*self.hidden, self.out][::-1], active[::-1]):
            layer.weight.grad += dmixed.T @ units
            layer.bias.grad += dmixed.sum(axis=0)
            dmixed = dmixed @ layer.weight.value
            tanh_rows_backward(dmixed, units)
        self.conv.bias.grad += dmixed.sum(axis=0)
        missing = FILTERS - dmixed.shape[1]
        dfiltered = np.pad(dmixed, ((0, 0), (0, missing))) if missing else dmixed
        dfiltered = dfiltered.reshape(batch, height, width, FILTERS)
        dx, dfilters = conv_tiles_backward(dfiltered, x, self.conv.filters.value, dx_channels=dx_channels)
        self.conv.filters.grad += dfilters
        return dx

    def _chain(self, x, train):
        """`forward`, layer by layer."""
        x, conv_cache = self.conv.forward(x, train=train)
        x, active = self.tanh.forward(x, train=train)
        kept = []
        for layer in self.hidden:
            x, cache = layer.forward(x, train=train)
            x, hidden_active = self.tanh.forward(x, train=train)
            kept.append((cache, hidden_active))
        x, out_cache = self.out.forward(x, train=train)
        return x, ((conv_cache, active, kept, out_cache) if train else None)

    def _chain_backward(self, dx, cache, dx_channels):
        """`backward`, layer by layer."""
        conv_cache, active, kept, out_cache = cache
        dx = self.out.backward(dx, out_cache)
        for layer, (layer_cache, hidden_active) in zip(self.hidden[::-1], kept[::-1]):
            dx = layer.backward(self.tanh.backward(dx, hidden_active), layer_cache)
        return self.conv.backward(self.tanh.backward(dx, active), conv_cache, dx_channels=dx_channels)
