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
from deconvnet.kernels.lanes import LANES, mix, multiply_add, multiply_conj_add, rational_tanh, sum_of_products

__all__ = ["FILTERS", "TileGrid", "conv_tiles", "conv_tiles_backward", "feature_tiles", "filter_tiles"]

#: Filters of one bank.
FILTERS = COMPLEX
#: Parts into which the sum of the filters' gradient is split, whatever the number of threads: the same bits always.
PARTS = 8
_mix_hidden, _mix_out = mix[4, 2], mix[8, 1]


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
def _gather_tiles(images, first, count, down, across, step, side, buffer, spectra, factors):
    """Spectra ``(count, side², 2)`` of up to 16 tiles of one channel ``(B, H, W)``, numbered through all images.

    Tiles are transposed, so that a line of a spectrum is a column of the picture.
    """
    height, width = images.shape[1:]
    buffer[:] = 0
    for lane in range(count):
        b, tile = divmod(first + lane, down * across)
        top, left = tile // across * step, tile % across * step
        for i in range(min(side, height - top)):
            row = images[b, top + i]
            for j in range(min(side, width - left)):
                buffer[(j * side + i) * COMPLEX + lane] = row[left + j]
    _transform_square(buffer, side, side, factors)
    for n in range(side * side):
        for lane in range(count):
            spectra[lane, 2 * n] = buffer[n * COMPLEX + lane]
            spectra[lane, 2 * n + 1] = buffer[n * COMPLEX + LANES + lane]


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
def _filtered_tile(spectra, tile, filters_hat, side, valid, line, out, factors):
    """The valid part of a tile's 32 filtered images, as rows of pixels of 32 numbers: ``out[i · side + j]``.

    Lines of the spectrum are columns of the picture: multiplied and transformed back in a buffer that stays in the
    first-level cache, then scattered over the rows; rows are ``side + 1`` long, lest a column hit one cache set.
    """
    pitch = (side + 1) * COMPLEX
    for v in range(side):
        line[:] = 0
        for c in range(filters_hat.shape[0]):
            spectrum, bank = spectra[c, tile], filters_hat[c]
            for u in range(side):
                n = v * side + u
                multiply_add(spectrum, 2 * n, bank, n * COMPLEX, line, u * COMPLEX)
        inverse_line(line, 0, COMPLEX, side, factors)
        for u in range(side - valid, side):
            for k in range(COMPLEX):
                out[u * pitch + v * COMPLEX + k] = line[u * COMPLEX + k]
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
def _biased_row(out, start, count, bias, row):
    """A row of filtered pixels plus the filters' bias, contiguous."""
    for p in range(count):
        for k in range(COMPLEX):
            row[p * COMPLEX + k] = out[start + p * COMPLEX + k] + bias[k]


@njit(cache=True)
def _filter_group(images, group, grid, filters_hat, factors, spectra, buffer):
    """Spectra of all channels of 16 tiles; returns how many there are."""
    down, across, step, side = grid[:4]
    first = group * LANES
    count = min(LANES, images.shape[0] * down * across - first)
    for c in range(images.shape[1]):
        _gather_tiles(images[:, c], first, count, down, across, step, side, buffer, spectra[c], factors)
    return count


@njit(cache=True, parallel=True)
def _conv_tiles(images, filters_hat, bias, grid, factors, activate, y):
    down, across, step, side = grid[:4]
    tiles = images.shape[0] * down * across
    for group in prange(-(-tiles // LANES)):
        buffer = np.empty(side * side * COMPLEX, images.dtype)
        spectra = np.empty((images.shape[1], LANES, 2 * side * side), images.dtype)
        out = np.empty(side * (side + 1) * COMPLEX, images.dtype)
        line = np.empty(side * COMPLEX, images.dtype)
        count = _filter_group(images, group, grid, filters_hat, factors, spectra, buffer)
        for tile in range(count):
            b, place = divmod(group * LANES + tile, down * across)
            top, left = place // across * step, place % across * step
            _filtered_tile(spectra, tile, filters_hat, side, step, line, out, factors)
            width = min(step, y.shape[2] - left)
            for i in range(min(step, y.shape[1] - top)):
                row = y[b, top + i, left : left + width].reshape(-1)
                _biased_row(out, ((side - step + i) * (side + 1) + side - step) * COMPLEX, width, bias, row)
                if activate:
                    _tanh(row, row.size)


@njit(cache=True, parallel=True)
def _feature_tiles(images, filters_hat, bias, hidden, hidden_bias, last, last_bias, grid, factors, y):
    down, across, step, side = grid[:4]
    tiles = images.shape[0] * down * across
    for group in prange(-(-tiles // LANES)):
        buffer = np.empty(side * side * COMPLEX, images.dtype)
        spectra = np.empty((images.shape[1], LANES, 2 * side * side), images.dtype)
        out = np.empty(side * (side + 1) * COMPLEX, images.dtype)
        line = np.empty(side * COMPLEX, images.dtype)
        row, mixed = np.zeros(side * COMPLEX, images.dtype), np.zeros(side * COMPLEX, images.dtype)
        mapped = np.empty(side * LANES, images.dtype)
        count = _filter_group(images, group, grid, filters_hat, factors, spectra, buffer)
        for tile in range(count):
            b, place = divmod(group * LANES + tile, down * across)
            top, left = place // across * step, place % across * step
            _filtered_tile(spectra, tile, filters_hat, side, step, line, out, factors)
            width = min(step, y.shape[3] - left)
            for i in range(min(step, y.shape[2] - top)):
                _biased_row(out, ((side - step + i) * (side + 1) + side - step) * COMPLEX, width, bias, row)
                _tanh(row, width * COMPLEX)
                for layer in range(hidden.shape[0]):
                    for p in range(0, width, 4):
                        _mix_hidden(row, p * COMPLEX, hidden[layer], 0, hidden_bias[layer], 0, mixed, p * COMPLEX)
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
    tiles = images.shape[0] * down * across
    groups = -(-tiles // LANES)
    parts = sums.shape[0]
    for part in prange(parts):
        buffer = np.empty(square * COMPLEX, images.dtype)
        spectra = np.empty((channels, LANES, 2 * square), images.dtype)
        back = np.empty((wanted.size, square * COMPLEX), images.dtype)
        pair = np.empty(2, images.dtype)
        for group in range(part * groups // parts, (part + 1) * groups // parts):
            count = _filter_group(images, group, grid, filters_hat, factors, spectra, buffer)
            for tile in range(count):
                b, place = divmod(group * LANES + tile, down * across)
                top, left = place // across * step, place % across * step
                buffer[:] = 0
                width = min(step, dy.shape[2] - left)
                for i in range(min(step, dy.shape[1] - top)):
                    for j in range(width):
                        for k in range(COMPLEX):
                            buffer[(j * side + i) * COMPLEX + k] = dy[b, top + i, left + j, k]
                _transform_square(buffer, side, width, factors)
                for c in range(channels):
                    spectrum, total = spectra[c, tile], sums[part, c]
                    for n in range(square):
                        multiply_conj_add(spectrum, 2 * n, buffer, n * COMPLEX, total, n * COMPLEX)
                for w in range(wanted.size):
                    bank, target = filters_hat[wanted[w]], back[w]
                    for n in range(square):
                        sum_of_products(bank, n * COMPLEX, buffer, n * COMPLEX, pair, 0)
                        target[n * COMPLEX + tile] = pair[0]
                        target[n * COMPLEX + LANES + tile] = pair[1]
            for w in range(wanted.size):
                _inverse_square(back[w], side, factors)
                for tile in range(count):
                    source, target = back[w], dtiles[w, group * LANES + tile]
                    for i in range(side):
                        for j in range(side):
                            n = (j - size + 1) % side * side + (i - size + 1) % side
                            target[i, j] = source[n * COMPLEX + tile]


@njit(cache=True)
def _inverse_square(data, side, factors):
    """Inverse of `_transform_square` without the factor 1/side²."""
    for j in range(side):
        inverse_line(data, j * COMPLEX, side * COMPLEX, side, factors)
    for i in range(side):
        inverse_line(data, i * side * COMPLEX, COMPLEX, side, factors)


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
    parts = min(PARTS, -(-tiles // LANES))
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
