"""Feature images of which only half are learned: the others are the blurry picture's two gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.psf_quotient import psf_quotient
from deconvnet.layers.features import Features

__all__ = ["GradientTargets"]


class GradientTargets(Features):
    """Two learned x̃_i, and for ỹ_i the gradients of the first input image across and down.

    Parameters
    ----------
    channels, filters, size, hidden_layers, rng, dtype
        As of `Features`, for the x̃_i.

    Notes
    -----
    ``ỹ_1[r, c] = (y[r, c + 1] − y[r, c − 1]) / 2`` and the same downwards, where the filters have all of their
    neighbourhood. What a PSF does to the gradients of a sharp picture it does to those of the blurry one, so these are
    fit targets for the quotient: Schuler et al. 2015, "Learning to Deblur", Sec. 3.1.2 and Fig. 5,
    doi:10.1109/TPAMI.2015.2481418, where they are compared with learned ones.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: int,
        hidden_layers: int,
        rng: np.random.Generator,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(channels, filters, size, hidden_layers, 2, rng, dtype=dtype)

    def _gradients(self, y: Array, shape: Sequence[int]) -> Array:
        """Gradients (B, 2, *shape) of images (B, H, W)."""
        reach = self.size // 2
        rows, columns = (slice(reach, reach + n) for n in shape)
        before, after = ([slice(reach + d, reach + d + n) for n in shape] for d in (-1, 1))
        across = (y[:, rows, after[1]] - y[:, rows, before[1]]) / 2
        down = (y[:, after[0], columns] - y[:, before[0], columns]) / 2
        return array_module(y).stack([across, down], axis=1)

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Any]:
        """Images (B, 4, H − size + 1, W − size + 1) of ``x (B, channels, H, W)``: the x̃_i, then the ỹ_i."""
        learned, cache = super().forward(x, train=train)
        targets = self._gradients(x[:, 0], learned.shape[-2:])
        return array_module(x).concatenate([learned, targets], axis=1), cache

    def psf(self, x: Array, window: tuple[Array, Array], grid: Sequence[int], beta: float, side: int) -> Array:
        """The quotient around its origin, see `Features.psf`."""
        height, width = grid
        return psf_quotient(self.forward(x)[0], *window, (height, width), beta, side)

    def backward(self, dy: Array, cache: Any, *, dx_channels: slice | None = slice(None)) -> Array | None:
        """Gradient of the input channels ``dx_channels`` through the x̃_i; the ỹ_i are constants of the data."""
        dlearned = array_module(dy).ascontiguousarray(dy[:, : self.images])
        return super().backward(dlearned, cache, dx_channels=dx_channels)
