"""The edge taper as a layer: what stands between the feature images and the quotient (Schuler et al. 2015, Sec. 3.1.2).

The pair without parameters is `deconvnet.ops.edge_taper`.
"""

from __future__ import annotations

from collections.abc import Sequence

from deconvnet.backend import Array
from deconvnet.layers.base import Layer
from deconvnet.ops.edge_taper import edge_taper, edge_taper_backward, edge_taper_factors

__all__ = ["EdgeTaper"]


class EdgeTaper(Layer):
    """`deconvnet.ops.edge_taper.edge_taper` as a layer.

    Parameters
    ----------
    width : int
        Pixels over which each border fades.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def forward(
        self, x: Array, *, scale: float = 1.0, grid: Sequence[int] | None = None, train: bool = False
    ) -> tuple[Array, tuple | None]:
        """Faded images (..., H, W), or (..., H', W') of the grid, of images ``x (..., H, W)``."""
        return edge_taper(x, self.width, scale=scale, grid=grid), ((x.shape[-2:], scale) if train else None)

    def backward(self, dy: Array, cache: tuple) -> Array:
        """Gradient (..., H, W) of the images."""
        shape, scale = cache
        return edge_taper_backward(dy, shape, self.width, scale=scale)

    def factors(self, shape: tuple[int, int], *, like: Array, scale: float = 1.0) -> tuple[Array, Array]:
        """The window's two factors (H,) and (W,), see `deconvnet.ops.edge_taper.edge_taper_factors`."""
        return edge_taper_factors(shape, self.width, scale=scale, like=like)
