"""Feature extraction (Schuler et al. 2015, Sec. 3.1.1): filters, tanh, and pixel-wise recombinations.

The chain of layers runs strip by strip, so that the many hidden images of a strip stay in the processor's cache and
those of a whole photograph are never in memory at once.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer
from deconvnet.layers.conv import Conv
from deconvnet.layers.recombine import Recombine
from deconvnet.layers.tanh import Tanh

__all__ = ["Features"]

STRIP_PIXELS = 1 << 12  # pixels of a strip on the CPU: 32 hidden images of it fill half a mebibyte
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

    def _strips(self, shape, xp):
        height, width = shape[-2] - self.size + 1, shape[-1] - self.size + 1
        if height < 1 or width < 1:
            raise DeconvnetError(
                f"an image of {shape[-2]}×{shape[-1]} pixels is smaller than the network's filters ({self.size}): "
                "use a larger image"
            )
        rows = height if xp is not np else max(1, min(height, STRIP_PIXELS // width))
        return height, width, [(top, min(rows, height - top)) for top in range(0, height, rows)]

    def _chain(self, x, train):
        x, conv_cache = self.conv.forward(x, train=train)
        x, active = self.tanh.forward(x, train=train)
        kept = []
        for layer in self.hidden:
            x, cache = layer.forward(x, train=train)
            x, hidden_active = self.tanh.forward(x, train=train)
            kept.append((cache, hidden_active))
        x, out_cache = self.out.forward(x, train=train)
        return x, (conv_cache, active, kept, out_cache)

    def _chain_backward(self, dx, cache, dx_channels):
        conv_cache, active, kept, out_cache = cache
        dx = self.out.backward(dx, out_cache)
        for layer, (layer_cache, hidden_active) in zip(self.hidden[::-1], kept[::-1]):
            dx = layer.backward(self.tanh.backward(dx, hidden_active), layer_cache)
        return self.conv.backward(self.tanh.backward(dx, active), conv_cache, dx_channels=dx_channels)

    def forward(self, x, *, train=False):
        """Feature images (B, images, H − size + 1, W − size + 1) of ``x (B, channels, H, W)``."""
        xp = array_module(x)
        height, width, strips = self._strips(x.shape, xp)
        y = xp.empty((len(x), self.images, height, width), dtype=x.dtype)
        kept = []
        for b in range(len(x)):
            for top, rows in strips:
                part = x[b : b + 1, :, top : top + rows + self.size - 1]
                y[b : b + 1, :, top : top + rows], cache = self._chain(part, train)
                kept.append(cache)
        return y, ((x.shape, kept) if train else None)

    def backward(self, dy, cache, *, dx_channels=slice(None)):
        """Gradient of the input channels ``dx_channels``, in their order; None for None."""
        shape, kept = cache
        xp = array_module(dy)
        _, _, strips = self._strips(shape, xp)
        channels = 0 if dx_channels is None else len(range(*dx_channels.indices(self.channels)))
        dx = xp.zeros((shape[0], channels, *shape[2:]), dtype=dy.dtype)
        caches = iter(kept)
        for b in range(shape[0]):
            for top, rows in strips:
                dpart = xp.ascontiguousarray(dy[b : b + 1, :, top : top + rows])
                dstrip = self._chain_backward(dpart, next(caches), dx_channels)
                if channels:
                    dx[b : b + 1, :, top : top + rows + self.size - 1] += dstrip
        return dx if channels else None
