"""Fourier tiles: images cut into small squares that are convolved with up to 32 filters through their spectra.

A tile of the image is transformed once. Each vector lane then holds two real filters as one complex one, so that a
single complex transform gives the tile's 32 filtered images: 16 of them are its real parts, 16 its imaginary parts.
The cost hardly depends on the filters' side, and the filtered images of a tile never leave the processor's cache.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import DTypeLike

from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.simd.apart import Apart
from deconvnet.kernels.simd.tile_fft import COMPLEX, forward_line, inverse_line, tile_twiddles
from deconvnet.kernels.simd.vector import LANES, copy_pair, multiply_add

__all__ = [
    "FILTERS",
    "TileGrid",
    "filter_image_tile",
    "filter_tiles",
    "inverse_square",
    "tile_image",
    "tile_spectrum",
    "transform_square",
]

#: Filters of one bank.
FILTERS = COMPLEX


class TileGrid:
    """How the valid convolution of an image is cut into tiles.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    size : int
        Side of the filters.
    dtype : numpy dtype

    Attributes
    ----------
    side : int
        Side of a tile: 32 for filters up to 9 px, else 64, above 33 px 128.
    step : int
        Side of the part of a tile that is valid.
    numbers : int array
        ``[down, across, step, side, size, filter_tile]`` for compiled functions; down and across count an image's
        tiles, the last one is the address of a function for `filter_image_tile`.
    """

    def __init__(self, shape: tuple[int, int], size: int, dtype: DTypeLike) -> None:
        self.size = size
        self.side = 32 if size <= 9 else 64 if size <= 33 else 128
        self.step = self.side - size + 1
        self.height, self.width = shape[0] - size + 1, shape[1] - size + 1
        self.down, self.across = -(-self.height // self.step), -(-self.width // self.step)
        real = np.dtype(dtype).name
        self.twiddles = tile_twiddles(self.side, real)
        numbers = self.down, self.across, self.step, self.side, self.size, _filter_tile_apart.address(real)
        self.numbers = np.array(numbers, np.int64)


@compiled
def transform_square(data, side, rows, twiddles):
    """Forward transform of ``side × side`` complex vectors of which rows from ``rows`` on are zero, in place."""
    for i in range(rows):
        forward_line(data, i * side * COMPLEX, COMPLEX, side, twiddles)
    for j in range(side):
        forward_line(data, j * COMPLEX, side * COMPLEX, side, twiddles)


@compiled
def inverse_square(data, side, twiddles):
    """Inverse of `transform_square` without the factor 1/side²."""
    for j in range(side):
        inverse_line(data, j * COMPLEX, side * COMPLEX, side, twiddles)
    for i in range(side):
        inverse_line(data, i * side * COMPLEX, COMPLEX, side, twiddles)


@compiled
def _transpose_blocks(data, side, out):
    """``out[i // 16, j][i % 16] = data[j // 16, i][j % 16]`` of complex vectors, indices below ``side``."""
    for g in range(side // LANES):
        for i in range(side):
            source = (g * side + i) * COMPLEX
            target = (i // LANES * side + g * LANES) * COMPLEX + i % LANES
            for lane in range(LANES):
                out[target + lane * COMPLEX] = data[source + lane]
                out[target + lane * COMPLEX + LANES] = data[source + LANES + lane]


@compiled
def tile_spectrum(image, top, left, side, work, spectrum, twiddles):
    """Spectrum of one tile of an image, zero where the tile reaches beyond it.

    ``spectrum[u // 16, v][u % 16]`` holds coefficient u down and v across, both in the order of `forward_line`: lanes
    run over sixteen columns in the first pass and over sixteen coefficients in the second.
    """
    work[:] = 0
    width = min(side, image.shape[1] - left)
    for i in range(min(side, image.shape[0] - top)):
        row = image[top + i]
        for j in range(width):
            work[(j // LANES * side + i) * COMPLEX + j % LANES] = row[left + j]
    for g in range(side // LANES):
        forward_line(work, g * side * COMPLEX, COMPLEX, side, twiddles)
    _transpose_blocks(work, side, spectrum)
    for g in range(side // LANES):
        forward_line(spectrum, g * side * COMPLEX, COMPLEX, side, twiddles)


@compiled
def tile_image(spectrum, side, shift, work, tile, twiddles):
    """Real part of the inverse of `tile_spectrum`, moved down and right by ``shift``, without the factor 1/side²."""
    for g in range(side // LANES):
        inverse_line(spectrum, g * side * COMPLEX, COMPLEX, side, twiddles)
    _transpose_blocks(spectrum, side, work)
    for g in range(side // LANES):
        inverse_line(work, g * side * COMPLEX, COMPLEX, side, twiddles)
    for i in range(side):
        row = tile[(i + shift) % side]
        for j in range(side):
            row[(j + shift) % side] = work[(j // LANES * side + i) * COMPLEX + j % LANES]


def filter_tiles(filters: np.ndarray, side: int) -> np.ndarray:
    """Spectra of filters as the tiles want them.

    Parameters
    ----------
    filters : real array (M, C, k, k)
        M ≤ 32; missing filters are taken as zero.
    side : int
        Side of the tiles.

    Returns
    -------
    real array (C, side² · 32)
        Filter m in the real part of lane m, filter 16 + m in its imaginary part, scaled for the inverse transform.
    """
    count, channels, size, _ = filters.shape
    tiles = np.zeros((channels, side, side, COMPLEX), filters.dtype)
    tiles[:, :size, :size, :count] = filters.transpose(1, 3, 2, 0) / side**2
    tiles = tiles.reshape(channels, -1)
    twiddles = tile_twiddles(side, filters.dtype.name)
    for tile in tiles:
        transform_square(tile, side, size, twiddles)
    return tiles


@compiled
def _filtered_tile(spectra, filters_hat, side, valid, line, out, twiddles):
    """The valid part of a tile's 32 filtered images, as rows of pixels of 32 numbers.

    Lines of the spectrum are columns of the picture: multiplied and transformed back in a buffer that stays in the
    first-level cache, then scattered over the rows; rows are ``side + 1`` long, lest a column hit one cache set.
    """
    pitch = (side + 1) * COMPLEX
    for v in range(side):
        line[:] = 0
        for c in range(filters_hat.shape[0]):
            spectrum, bank = spectra[c], filters_hat[c]
            for u in range(side):
                place = (u // LANES * side + v) * COMPLEX + u % LANES
                multiply_add(spectrum, place, bank, (v * side + u) * COMPLEX, line, u * COMPLEX)
        inverse_line(line, 0, COMPLEX, side, twiddles)
        for u in range(side - valid, side):
            copy_pair(line, u * COMPLEX, out, u * pitch + v * COMPLEX)
    for i in range(side - valid, side):
        inverse_line(out, i * pitch, COMPLEX, side, twiddles)


def _filter_tile(images, b, top, left, side, valid, filters_hat, twiddles, work, spectra, line, out):
    for c in range(images.shape[1]):
        tile_spectrum(images[b, c], top, left, side, work, spectra[c], twiddles)
    _filtered_tile(spectra, filters_hat, side, valid, line, out, twiddles)


def _filter_tile_kinds(real):
    line, square, stack = (types.Array(getattr(types, real), axes, "C") for axes in (1, 2, 4))
    return stack, *[types.intp] * 5, square, line, line, square, line, line


_filter_tile_apart = Apart(_filter_tile, _filter_tile_kinds)
_call_filter_tile = _filter_tile_apart.call


@compiled
def filter_image_tile(images, index, grid, filters_hat, twiddles, work, spectra, line, out):
    """Filter one of all images' tiles; returns its image and the top left corner of its valid part there."""
    down, across, step, side = grid[:4]
    b, place = divmod(index, down * across)
    top, left = place // across * step, place % across * step
    _call_filter_tile(grid[5], images, b, top, left, side, step, filters_hat, twiddles, work, spectra, line, out)
    return b, top, left
