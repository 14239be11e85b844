"""The raw PSF of photographs: learned features, the window at their borders, and the quotient around its origin.

The whole of a stage's PSF estimation without training. On the CPU the feature images of large photographs are never in
memory: a band of tiles goes on to the transforms of its rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from deconvnet.backend import Array
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.photo.feature_strips import feature_strips
from deconvnet.kernels.photo.feature_tiles import feature_tiles, fits
from deconvnet.kernels.photo.psf_quotient import psf_of_strips, psf_quotient
from deconvnet.kernels.simd.line_fft import is_smooth
from deconvnet.kernels.simd.strips import StripGrid

__all__ = ["psf_from_features"]


def _reference(
    x: Array,
    filters: Array,
    bias: Array,
    hidden: Sequence[tuple[Array, Array]],
    last: tuple[Array, Array],
    down: Array,
    across: Array,
    grid: tuple[int, int],
    beta: float,
    side: int,
) -> Array:
    """The quotient of the two halves of the feature images, around its origin.

    Parameters
    ----------
    x, filters, bias, hidden, last
        As of `feature_tiles`, for B photographs and 2M feature images: the x_m, then the y_m.
    down : real array (H',)
    across : real array (W',)
        Factors of the window that the feature images are multiplied by.
    grid : (int, int)
        Size to which they are continued with zeros; at least theirs and the PSF's.
    beta : float
        Positive regulariser.
    side : int
        Odd side of what is wanted.

    Returns
    -------
    real array (B, side, side)
        As of `psf_quotient`: the origin is at index (0, 0).
    """
    maps = feature_tiles.reference(x, filters, bias, hidden, last)
    return psf_quotient.reference(maps, down, across, grid, beta, side)


def _numba(x, filters, bias, hidden, last, down, across, grid, beta, side):
    """Band of tiles after band where the filters fit into the vectors and the grid `is_smooth`."""
    if not (fits(filters, last) and all(is_smooth(n) for n in grid)):
        maps = feature_tiles.cpu(x, filters, bias, hidden, last)
        return psf_quotient.cpu(maps, down, across, grid, beta, side)
    strips = StripGrid(grid, x.dtype)
    spectra = feature_strips.cpu(x, filters, bias, hidden, last, (down, across), strips)
    return psf_of_strips(spectra, len(x), strips, beta, side)


def _cuda(x, filters, bias, hidden, last, down, across, grid, beta, side):
    """Feature images, then their quotient."""
    maps = feature_tiles.cuda(x, filters, bias, hidden, last)
    return psf_quotient.cuda(maps, down, across, grid, beta, side)


psf_from_features = Kernel("psf_from_features", reference=_reference, cpu=_numba, cuda=_cuda)
