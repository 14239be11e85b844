"""Convolution of images with a bank of 32 filters in small Fourier tiles, fused with what follows it.

A tile of the image is transformed once. Each vector lane then holds two real filters as one complex one, so that a
single complex transform gives the tile's 32 filtered images: 16 of them are its real parts, 16 its imaginary parts.
The cost hardly depends on the filters' side, and the filtered images of a tile never leave the processor's cache.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from deconvnet.kernels.lane_fft import COMPLEX, forward_line, inverse_line, twiddles
from deconvnet.kernels.lanes import (
    LANES,
    copy_pair,
    copy_pair_plus,
    mix,
    multiply_add,
    multiply_conj_add,
    rational_tanh,
    sum_of_products,
)

__all__ = [
    "FILTERS",
    "TileGrid",
    "conv_tiles",
    "conv_tiles_backward",
    "feature_tiles",
    "filter_tiles",
    "tanh_rows",
    "tanh_rows_backward",
]

#: Filters of one bank.
FILTERS = COMPLEX
#: Tiles that share their working memory.
CHUNK = 16
#: Parts into which the sum of the filters' gradient is split, whatever the number of threads: the same bits always.
PARTS = 8
_mix_hidden, _mix_out = mix[8, 2], mix[8, 1]


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
    """

    def __init__(self, shape, size, dtype):
        self.size = size
        self.side = 32 if size <= 9 else 64 if size <= 33 else 128
        self.step = self.side - size + 1
        self.height, self.width = shape[0] - size + 1, shape[1] - size + 1
        self.down, self.across = -(-self.height // self.step), -(-self.width // self.step)
        self.factors = twiddles(self.side, np.dtype(dtype).name)


@njit(cache=True)
def _transform_square(data, side, rows, factors):
    """Forward transform of ``side × side`` complex vectors of which rows from ``rows`` on are zero, in place."""
    for i in range(rows):
        forward_line(data, i * side * COMPLEX, COMPLEX, side, factors)
    for j in range(side):
        forward_line(data, j * COMPLEX, side * COMPLEX, side, factors)


@njit(cache=True)
def _inverse_square(data, side, factors):
    """Inverse of `_transform_square` without the factor 1/side²."""
    for j in range(side):
        inverse_line(data, j * COMPLEX, side * COMPLEX, side, factors)
    for i in range(side):
        inverse_line(data, i * side * COMPLEX, COMPLEX, side, factors)


@njit(cache=True)
def _transpose_blocks(data, side, out):
    """``out[i // 16, j][i % 16] = data[j // 16, i][j % 16]`` of complex vectors, indices below ``side``."""
    for g in range(side // LANES):
        for i in range(side):
            source = (g * side + i) * COMPLEX
            target = (i // LANES * side + g * LANES) * COMPLEX + i % LANES
            for lane in range(LANES):
                out[target + lane * COMPLEX] = data[source + lane]
                out[target + lane * COMPLEX + LANES] = data[source + LANES + lane]


@njit(cache=True)
def _tile_spectrum(image, top, left, side, work, spectrum, factors):
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
        forward_line(work, g * side * COMPLEX, COMPLEX, side, factors)
    _transpose_blocks(work, side, spectrum)
    for g in range(side // LANES):
        forward_line(spectrum, g * side * COMPLEX, COMPLEX, side, factors)


@njit(cache=True)
def _tile_image(spectrum, side, shift, work, tile, factors):
    """Real part of the inverse of `_tile_spectrum`, moved down and right by ``shift``, without the factor 1/side²."""
    for g in range(side // LANES):
        inverse_line(spectrum, g * side * COMPLEX, COMPLEX, side, factors)
    _transpose_blocks(spectrum, side, work)
    for g in range(side // LANES):
        inverse_line(work, g * side * COMPLEX, COMPLEX, side, factors)
    for i in range(side):
        row = tile[(i + shift) % side]
        for j in range(side):
            row[(j + shift) % side] = work[(j // LANES * side + i) * COMPLEX + j % LANES]


def filter_tiles(filters, side):
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
    factors = twiddles(side, filters.dtype.name)
    for tile in tiles:
        _transform_square(tile, side, size, factors)
    return tiles


@njit(cache=True)
def _filtered_tile(spectra, filters_hat, side, valid, line, out, factors):
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
        inverse_line(line, 0, COMPLEX, side, factors)
        for u in range(side - valid, side):
            copy_pair(line, u * COMPLEX, out, u * pitch + v * COMPLEX)
    for i in range(side - valid, side):
        inverse_line(out, i * pitch, COMPLEX, side, factors)


@njit(cache=True)
def _tanh(values, count):
    """Hyperbolic tangent of the first ``count`` values (a multiple of 16), in place."""
    if values.itemsize == 4:
        for i in range(0, count, LANES):
            rational_tanh(values, i)
    else:  # gradient checks want every digit
        for i in range(count):
            values[i] = math.tanh(values[i])


@njit(cache=True)
def _filter_image_tile(images, index, grid, filters_hat, factors, work, spectra, line, out):
    """Filter one of all images' tiles; returns its image and the top left corner of its valid part there."""
    down, across, step, side = grid[:4]
    b, place = divmod(index, down * across)
    top, left = place // across * step, place % across * step
    for c in range(images.shape[1]):
        _tile_spectrum(images[b, c], top, left, side, work, spectra[c], factors)
    _filtered_tile(spectra, filters_hat, side, step, line, out, factors)
    return b, top, left


@njit(cache=True)
def _biased_row(out, i, width, grid, bias, row):
    """Row ``i`` of a tile's valid part plus the filters' bias, contiguous."""
    step, side = grid[2], grid[3]
    start = ((side - step + i) * (side + 1) + side - step) * COMPLEX
    for p in range(width):
        copy_pair_plus(out, start + p * COMPLEX, bias, 0, row, p * COMPLEX)


@njit(cache=True, parallel=True)
def _conv_tiles(images, filters_hat, bias, grid, factors, activate, y):
    step, side = grid[2], grid[3]
    tiles = images.shape[0] * grid[0] * grid[1]
    for chunk in prange(-(-tiles // CHUNK)):
        work = np.empty(side * side * 2, images.dtype)
        spectra = np.empty((images.shape[1], side * side * 2), images.dtype)
        out = np.empty(side * (side + 1) * COMPLEX, images.dtype)
        line = np.empty(side * COMPLEX, images.dtype)
        for index in range(chunk * CHUNK, min(tiles, (chunk + 1) * CHUNK)):
            b, top, left = _filter_image_tile(images, index, grid, filters_hat, factors, work, spectra, line, out)
            width = min(step, y.shape[2] - left)
            for i in range(min(step, y.shape[1] - top)):
                row = y[b, top + i, left : left + width].reshape(-1)
                _biased_row(out, i, width, grid, bias, row)
                if activate:
                    _tanh(row, row.size)


@njit(cache=True, parallel=True)
def _feature_tiles(images, filters_hat, bias, hidden, hidden_bias, last, last_bias, grid, factors, y):
    step, side = grid[2], grid[3]
    tiles = images.shape[0] * grid[0] * grid[1]
    for chunk in prange(-(-tiles // CHUNK)):
        work = np.empty(side * side * 2, images.dtype)
        spectra = np.empty((images.shape[1], side * side * 2), images.dtype)
        out = np.empty(side * (side + 1) * COMPLEX, images.dtype)
        line = np.empty(side * COMPLEX, images.dtype)
        row, mixed = np.zeros(side * COMPLEX, images.dtype), np.zeros(side * COMPLEX, images.dtype)
        mapped = np.empty(side * LANES, images.dtype)
        for index in range(chunk * CHUNK, min(tiles, (chunk + 1) * CHUNK)):
            b, top, left = _filter_image_tile(images, index, grid, filters_hat, factors, work, spectra, line, out)
            width = min(step, y.shape[3] - left)
            for i in range(min(step, y.shape[2] - top)):
                _biased_row(out, i, width, grid, bias, row)
                _tanh(row, width * COMPLEX)
                for layer in range(hidden.shape[0]):
                    weights, biases = hidden[layer], hidden_bias[layer]
                    for p in range(0, width, 8):
                        _mix_hidden(row, p * COMPLEX, weights, 0, biases, 0, mixed, p * COMPLEX)
                    row, mixed = mixed, row
                    _tanh(row, width * COMPLEX)
                for p in range(0, width, 8):
                    _mix_out(row, p * COMPLEX, last, 0, last_bias, 0, mapped, p * LANES)
                for m in range(y.shape[1]):
                    target = y[b, m, top + i]
                    for p in range(width):
                        target[left + p] = mapped[p * LANES + m]


@njit(cache=True, parallel=True)
def _conv_tiles_backward(dy, images, filters_hat, wanted, grid, factors, sums, dtiles):
    down, across, step, side, size = grid
    channels, square = images.shape[1], side * side
    tiles, parts = images.shape[0] * down * across, sums.shape[0]
    for part in prange(parts):
        buffer = np.empty(square * COMPLEX, images.dtype)
        work, spectrum = np.empty(2 * square, images.dtype), np.empty(2 * square, images.dtype)
        for index in range(part * tiles // parts, (part + 1) * tiles // parts):
            b, place = divmod(index, down * across)
            top, left = place // across * step, place % across * step
            height, width = min(step, dy.shape[1] - top), min(step, dy.shape[2] - left)
            buffer[:] = 0
            for i in range(height):
                row = dy[b, top + i, left : left + width].reshape(-1)
                for j in range(width):
                    copy_pair(row, j * COMPLEX, buffer, (j * side + i) * COMPLEX)
            _transform_square(buffer, side, width, factors)
            for c in range(channels):
                _tile_spectrum(images[b, c], top, left, side, work, spectrum, factors)
                total = sums[part, c]
                for n in range(square):
                    v, u = n // side, n % side
                    place = (u // LANES * side + v) * COMPLEX + u % LANES
                    multiply_conj_add(spectrum, place, buffer, n * COMPLEX, total, n * COMPLEX)
            for w in range(wanted.size):
                bank = filters_hat[wanted[w]]
                for n in range(square):
                    v, u = n // side, n % side
                    place = (u // LANES * side + v) * COMPLEX + u % LANES
                    sum_of_products(bank, n * COMPLEX, buffer, n * COMPLEX, spectrum, place)
                _tile_image(spectrum, side, size - 1, work, dtiles[w, index], factors)


@njit(cache=True)
def _add_tiles(dtiles, down, across, step, dx):
    """Overlap-add of tiles ``(B · down · across, side, side)`` on images ``(B, H, W)``."""
    height, width = dx.shape[1:]
    side = dtiles.shape[1]
    for index in range(dtiles.shape[0]):
        b, tile = divmod(index, down * across)
        top, left = tile // across * step, tile % across * step
        for i in range(min(side, height - top)):
            for j in range(min(side, width - left)):
                dx[b, top + i, left + j] += dtiles[index, i, j]


@njit(cache=True, parallel=True)
def _tanh_rows(values, bias):
    for block in prange(-(-values.shape[0] // 256)):
        rows = values[256 * block : 256 * (block + 1)]
        for p in range(rows.shape[0]):
            for k in range(bias.size):
                rows[p, k] += bias[k]
        flat = rows.reshape(-1)
        whole = flat.size // LANES * LANES
        _tanh(flat, whole)
        for i in range(whole, flat.size):
            flat[i] = math.tanh(flat[i])


@njit(cache=True, parallel=True)
def _tanh_rows_backward(dvalues, values):
    for block in prange(-(-values.shape[0] // 256)):
        last = min(256 * (block + 1), values.shape[0])
        for p in range(256 * block, last):
            for k in range(values.shape[1]):
                y = values[p, k]
                dvalues[p, k] *= values.dtype.type(1) - y * y


def tanh_rows(values, bias):
    """``tanh(values + bias)`` in place, ``values (P, M)`` C-contiguous, ``bias (M,)``."""
    _tanh_rows(values, bias)


def tanh_rows_backward(dvalues, values):
    """``dvalues · (1 − values²)`` in place, both (P, M), ``values`` being the output of `tanh_rows`."""
    _tanh_rows_backward(dvalues, values)


def _padded(array, axis, length):
    """The array with zeros behind along one axis, C-contiguous."""
    missing = length - array.shape[axis]
    if missing:
        array = np.pad(array, [(0, missing if i == axis % array.ndim else 0) for i in range(array.ndim)])
    return np.ascontiguousarray(array)


def _numbers(grid):
    return np.array([grid.down, grid.across, grid.step, grid.side, grid.size])


def conv_tiles(x, filters, bias, *, activate):
    """tanh (if ``activate``) of the valid true convolution of images with up to 32 filters, pixel by pixel.

    Parameters
    ----------
    x : real array (B, C, H, W)
    filters : real array (M, C, k, k)
        M ≤ 32.
    bias : real array (M,)
    activate : bool

    Returns
    -------
    real array (B, H − k + 1, W − k + 1, 32)
        Filters last, the missing ones zero.
    """
    grid = TileGrid(x.shape[2:], filters.shape[-1], x.dtype)
    y = np.empty((len(x), grid.height, grid.width, FILTERS), x.dtype)
    spectra = filter_tiles(filters, grid.side)
    _conv_tiles(np.ascontiguousarray(x), spectra, _padded(bias, 0, FILTERS), _numbers(grid), grid.factors, activate, y)
    return y


def conv_tiles_backward(dy, x, filters, *, dx_channels=None):
    """Gradients of the convolution in `conv_tiles`.

    Parameters
    ----------
    dy : real array (B, H − k + 1, W − k + 1, 32)
        Gradient of the filtered images, filters last.
    x, filters
        As in `conv_tiles`.
    dx_channels : slice, optional
        Input channels whose gradient is wanted; None for none of them.

    Returns
    -------
    dx : real array (B, C', H, W), or None
    dfilters : real array (M, C, k, k)
    """
    count, channels, size, _ = filters.shape
    grid = TileGrid(x.shape[2:], size, x.dtype)
    side = grid.side
    wanted = np.arange(channels)[slice(0) if dx_channels is None else dx_channels]
    tiles = len(x) * grid.down * grid.across
    parts = min(PARTS, tiles)
    sums = np.zeros((parts, channels, side * side * COMPLEX), x.dtype)
    dtiles = np.empty((wanted.size, tiles, side, side), x.dtype)
    spectra = filter_tiles(filters, side)
    _conv_tiles_backward(
        np.ascontiguousarray(dy), np.ascontiguousarray(x), spectra, wanted, _numbers(grid), grid.factors, sums, dtiles
    )
    total = sums.sum(axis=0)
    for one in total:
        _inverse_square(one, side, grid.factors)
    place = (np.arange(size) - size + 1) % side
    square = total.reshape(channels, side, side, COMPLEX)[:, place[:, None], place]  # (C, x, y, 32)
    dfilters = np.ascontiguousarray(square.transpose(3, 0, 2, 1)[:count]) / x.dtype.type(side**2)
    dx = None
    if wanted.size:
        dx = np.zeros((len(x), wanted.size, *x.shape[2:]), x.dtype)
        for w in range(wanted.size):
            _add_tiles(dtiles[w], grid.down, grid.across, grid.step, dx[:, w])
    return dx, dfilters


def feature_tiles(x, filters, bias, hidden, last):
    """Features of images in one pass: filters, tanh, recombinations with tanh, last recombination.

    Parameters
    ----------
    x : real array (B, C, H, W)
    filters : real array (M, C, k, k)
        M ≤ 32.
    bias : real array (M,)
    hidden : sequence of (real array (M, M), real array (M,))
        Weights and bias of each recombination that a tanh follows.
    last : (real array (F, M), real array (F,))
        The last recombination, F ≤ 16.

    Returns
    -------
    real array (B, F, H − k + 1, W − k + 1)
    """
    grid = TileGrid(x.shape[2:], filters.shape[-1], x.dtype)
    y = np.empty((len(x), len(last[1]), grid.height, grid.width), x.dtype)
    weights = np.zeros((len(hidden), FILTERS * FILTERS), x.dtype)
    biases = np.zeros((len(hidden), FILTERS), x.dtype)
    for i, (weight, hidden_bias) in enumerate(hidden):
        weights[i] = _padded(_padded(weight.T, 0, FILTERS), 1, FILTERS).reshape(-1)
        biases[i, : len(hidden_bias)] = hidden_bias
    out = _padded(_padded(last[0].T, 0, FILTERS), 1, LANES).reshape(-1)
    _feature_tiles(
        np.ascontiguousarray(x),
        filter_tiles(filters, grid.side),
        _padded(bias, 0, FILTERS),
        weights,
        biases,
        out,
        _padded(last[1], 0, LANES),
        _numbers(grid),
        grid.factors,
        y,
    )
    return y
