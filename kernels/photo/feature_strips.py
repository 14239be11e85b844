"""From the pixels of a photograph to the row transforms of its faded feature images, without the images in between.

The feature images of a large photograph are tens of megabytes that would be written once and read once. Here a band of
tiles is mapped (`deconvnet.kernels.photo.feature_tiles`) and its rows are transformed at once, while they are in the
cache (`deconvnet.kernels.simd.strips`). Only for the CPU.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, share
from deconvnet.kernels.photo.feature_tiles import feature_tiles, fused_arguments, map_tile, tile_memory
from deconvnet.kernels.photo.strip_spectra import strip_spectra
from deconvnet.kernels.simd.line_fft import places
from deconvnet.kernels.simd.strips import ROWS, StripGrid, call_transform_rows, row_memory, strip_row
from deconvnet.kernels.simd.tile_fft import COMPLEX

__all__ = ["feature_strips"]


def _reference(x: Array, filters: Array, bias: Array, hidden, last, window, grid: StripGrid) -> Array:
    """Feature images times a separable window, continued with zeros and transformed along their rows.

    Parameters
    ----------
    x, filters, bias, hidden, last
        As of `feature_tiles`; B photographs, F feature images.
    window : (real array (H',), real array (W',))
        Factors of the window, for the size of the feature images.
    grid : StripGrid

    Returns
    -------
    real array
        As of `strip_spectra` for the images (B · F, H', W').
    """
    maps = feature_tiles.reference(x, filters, bias, hidden, last)
    return strip_spectra.reference(maps.reshape(-1, *maps.shape[2:]), *window, grid)


@compiled
def _feature_strips(
    images, filters_hat, weights, tiles, twiddles, size, window, tall, wide, transform, sorting, strips, out, begin, end
):
    maps, height, width = size
    down, across, step, side = tiles[:4]
    order, into = sorting
    count, rows = strips
    strip_size = rows * COMPLEX
    tile, memory = tile_memory(images.shape[1], side, images), row_memory(wide)
    band = np.empty((maps, step, width), images.dtype)
    flat = band.reshape(-1)
    starts, targets = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    halves = np.empty(ROWS, images.dtype)
    for n in range(begin, end):
        b, top = n // down, n % down * step
        for index in range(n * across, (n + 1) * across):
            map_tile(images, index, filters_hat, weights, tiles, twiddles, tile, height, band, top)
        inside = min(step, height - top)
        for first in range(0, maps * inside, ROWS):
            for lane in range(ROWS):
                m, i = divmod(min(first + lane, maps * inside - 1), inside)  # the last one fills the lanes
                starts[lane] = (m * step + i) * width
                halves[lane] = 0.5 * window[0][top + i]
                targets[lane] = (b * maps + m) * count * strip_size + strip_row(top + i, tall) * COMPLEX
            how = width, window[1], halves, wide, order, into, memory
            call_transform_rows(transform, flat, starts, *how, count, strip_size, out, targets)
        if n % down == down - 1:
            for strip in range(b * maps * count, (b + 1) * maps * count):
                for i in range(height, rows):
                    r = strip_row(i, tall) if i < tall.size else i
                    start = strip * strip_size + r * COMPLEX
                    out[start : start + COMPLEX] = 0


def _numba(x, filters, bias, hidden, last, window, grid):
    """Band of tiles after band."""
    tiles, filters_hat, weights = fused_arguments(x, filters, bias, hidden, last)
    maps, bands = len(last[1]), len(x) * tiles.down
    out = np.empty(len(x) * maps * grid.strips * grid.rows * COMPLEX, x.dtype)
    size, strips = (maps, tiles.height, tiles.width), (grid.strips, grid.rows)
    rows = grid.wide, grid.transform_rows, places(grid.wide)
    how = tiles.numbers, tiles.twiddles, size, tuple(window), grid.tall, *rows, strips, out
    in_chunks(_feature_strips, (np.ascontiguousarray(x), filters_hat, weights, *how), bands, share(bands))
    return out


feature_strips = Kernel("feature_strips", reference=_reference, cpu=_numba)
