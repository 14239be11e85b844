"""Feature extraction of the single-photo network: filters, tanh and pixel-wise recombinations in one pass.

On the CPU the filters run as Fourier tiles (`deconvnet.kernels.simd.tiles`), fused with what follows them; on a GPU
as a direct convolution whose sums stay in registers. The 32 filtered images are never in memory as a whole. Training,
which needs them again for its gradients, has the convolution with its tanh, and the gradients, as kernels of their own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.tiles import (
    FILTERS,
    TileGrid,
    filter_image_tile,
    filter_tiles,
    inverse_square,
    tile_image,
    tile_spectrum,
    transform_square,
)
from deconvnet.kernels.simd.vector import (
    LANES,
    copy_pair,
    copy_pair_plus,
    mix,
    multiply_conj_add,
    rational_tanh,
    sum_of_products,
)

__all__ = [
    "FILTERS",
    "LARGEST_SIDE",
    "MAPS",
    "conv_tiles",
    "conv_tiles_backward",
    "feature_tiles",
    "feature_tiles_cuda",
    "feature_tiles_numba",
    "feature_tiles_reference",
    "fused_arguments",
    "map_tile",
    "tanh_rows",
    "tanh_rows_backward",
    "tile_memory",
]

#: Images that may come out of the last recombination.
MAPS = LANES
#: Largest side of filters on a GPU; the CPU's tiles take larger ones.
LARGEST_SIDE = 65
#: Tiles that share their working memory.
CHUNK = 16
#: Parts into which the sum of the filters' gradient is split, whatever the number of threads: the same bits always.
PARTS = 8
_mix_hidden, _mix_out = mix[8, 2], mix[8, 1]


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
            b, top, left = filter_image_tile(images, index, grid, filters_hat, factors, work, spectra, line, out)
            width = min(step, y.shape[2] - left)
            for i in range(min(step, y.shape[1] - top)):
                row = y[b, top + i, left : left + width].reshape(-1)
                _biased_row(out, i, width, grid, bias, row)
                if activate:
                    _tanh(row, row.size)


@njit(cache=True)
def tile_memory(channels, side, like):
    """Working memory of `map_tile`, in the dtype of ``like``."""
    work = np.empty(side * side * 2, like.dtype)
    spectra = np.empty((channels, side * side * 2), like.dtype)
    out = np.empty(side * (side + 1) * COMPLEX, like.dtype)
    line = np.empty(side * COMPLEX, like.dtype)
    row, mixed = np.zeros(side * COMPLEX, like.dtype), np.zeros(side * COMPLEX, like.dtype)
    return work, spectra, out, line, row, mixed, np.empty(side * LANES, like.dtype)


@njit(cache=True)
def map_tile(images, index, filters_hat, weights, grid, factors, memory, height, target, first):
    """Feature images of one tile of all images' tiles.

    Parameters
    ----------
    images : real array (B, C, H, W)
    index : int
    filters_hat, weights, grid, factors
        As `fused_arguments` gives them.
    memory : tuple
        From `tile_memory`.
    height : int
        Of the whole feature images.
    target : real array (F, rows, width)
        Receives the rows from ``first`` on of the feature images of the tile's image.
    first : int
    """
    work, spectra, out, line, row, mixed, mapped = memory
    bias, hidden, hidden_bias, last, last_bias = weights
    _, top, left = filter_image_tile(images, index, grid, filters_hat, factors, work, spectra, line, out)
    step = grid[2]
    width = min(step, target.shape[2] - left)
    for i in range(min(step, height - top)):
        _biased_row(out, i, width, grid, bias, row)
        _tanh(row, width * COMPLEX)
        for layer in range(hidden.shape[0]):
            factors_here, biases = hidden[layer], hidden_bias[layer]
            for p in range(0, width, 8):
                _mix_hidden(row, p * COMPLEX, factors_here, 0, biases, 0, mixed, p * COMPLEX)
            row, mixed = mixed, row
            _tanh(row, width * COMPLEX)
        for p in range(0, width, 8):
            _mix_out(row, p * COMPLEX, last, 0, last_bias, 0, mapped, p * LANES)
        for m in range(target.shape[0]):
            line_out = target[m, top + i - first]
            for p in range(width):
                line_out[left + p] = mapped[p * LANES + m]


@njit(cache=True, parallel=True)
def _feature_tiles(images, filters_hat, weights, grid, factors, y):
    down, across, _, side = grid[:4]
    tiles = images.shape[0] * down * across
    for chunk in prange(-(-tiles // CHUNK)):
        memory = tile_memory(images.shape[1], side, images)
        for index in range(chunk * CHUNK, min(tiles, (chunk + 1) * CHUNK)):
            target = y[index // (down * across)]
            map_tile(images, index, filters_hat, weights, grid, factors, memory, y.shape[2], target, 0)


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
            transform_square(buffer, side, width, factors)
            for c in range(channels):
                tile_spectrum(images[b, c], top, left, side, work, spectrum, factors)
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
                tile_image(spectrum, side, size - 1, work, dtiles[w, index], factors)


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
    _conv_tiles(np.ascontiguousarray(x), spectra, _padded(bias, 0, FILTERS), grid.numbers, grid.factors, activate, y)
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
        np.ascontiguousarray(dy), np.ascontiguousarray(x), spectra, wanted, grid.numbers, grid.factors, sums, dtiles
    )
    total = sums.sum(axis=0)
    for one in total:
        inverse_square(one, side, grid.factors)
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
        M ≤ 32; on a GPU k ≤ 65.
    bias : real array (M,)
    hidden : sequence of (real array (M, M), real array (M,))
        Weights and bias of each recombination that a tanh follows.
    last : (real array (F, M), real array (F,))
        The last recombination, F ≤ 16.

    Returns
    -------
    real array (B, F, H − k + 1, W − k + 1)

    Raises
    ------
    ValueError
        If there are more filters or images than that, or on a GPU larger filters.

    Notes
    -----
    ``y_i = b_i + Σ_j β_ij tanh(… tanh(b_j + f_j * x))`` with the valid true convolution (Schuler et al. 2015, Eq. (2)).
    """
    implementation = feature_tiles_numba if array_module(x, filters) is np else feature_tiles_cuda
    return implementation(x, filters, bias, hidden, last)


def _check(filters, last):
    if len(filters) > FILTERS or len(last[1]) > MAPS:
        raise ValueError(
            f"at most {FILTERS} filters and {MAPS} feature images are possible, not {len(filters)} and {len(last[1])}"
        )


def feature_tiles_reference(x, filters, bias, hidden, last):
    """`feature_tiles` in plain array code: the convolution through spectra of the whole images, then layer by layer."""
    xp = array_module(x, filters)
    size = filters.shape[-1]
    padded = xp.zeros((*filters.shape[:2], *x.shape[2:]), dtype=x.dtype)
    padded[..., :size, :size] = filters
    y_hat = xp.einsum("bcij,mcij->bmij", rfft2(x), rfft2(padded))
    y = irfft2(y_hat, x.shape[2:])[..., size - 1 :, size - 1 :]  # where the cyclic convolution is the valid one
    y = y + bias[:, None, None]
    for weight, offset in (*hidden, last):
        y = xp.einsum("mc,bcij->bmij", weight, xp.tanh(y)) + offset[:, None, None]
    return xp.ascontiguousarray(y)


def fused_arguments(x, filters, bias, hidden, last):
    """Arguments of `feature_tiles` as compiled functions take them.

    Returns
    -------
    grid : TileGrid
    filters_hat : real array
        As of `filter_tiles`.
    weights : tuple of real array
        Bias, weights and biases of the recombinations (inputs first, zeros for missing filters), last weights and bias.
    """
    _check(filters, last)
    grid = TileGrid(x.shape[2:], filters.shape[-1], x.dtype)
    mixes = np.zeros((len(hidden), FILTERS * FILTERS), x.dtype)
    biases = np.zeros((len(hidden), FILTERS), x.dtype)
    for i, (weight, hidden_bias) in enumerate(hidden):
        mixes[i] = _padded(_padded(weight.T, 0, FILTERS), 1, FILTERS).reshape(-1)
        biases[i, : len(hidden_bias)] = hidden_bias
    out = _padded(_padded(last[0].T, 0, FILTERS), 1, LANES).reshape(-1)
    weights = _padded(bias, 0, FILTERS), mixes, biases, out, _padded(last[1], 0, LANES)
    return grid, filter_tiles(filters, grid.side), weights


def feature_tiles_numba(x, filters, bias, hidden, last):
    """`feature_tiles` on the CPU, tile by tile; the same bits for any number of threads."""
    grid, filters_hat, weights = fused_arguments(x, filters, bias, hidden, last)
    y = np.empty((len(x), len(last[1]), grid.height, grid.width), x.dtype)
    _feature_tiles(np.ascontiguousarray(x), filters_hat, weights, grid.numbers, grid.factors, y)
    return y


def feature_tiles_cuda(x, filters, bias, hidden, last):
    """`feature_tiles` on the GPU: a block of threads per tile, each thread several pixels of 8 filters."""
    xp = array_module(x, filters, bias, *last)
    _check(filters, last)
    batch, channels, height, width = x.shape
    count, size, maps = len(filters), filters.shape[-1], len(last[1])
    if not 1 <= size <= min(LARGEST_SIDE, height, width):
        raise ValueError(
            f"filters of {size}×{size} do not fit on images of {height}×{width}, or are above {LARGEST_SIDE}"
        )
    group = -(-maps // 4)  # feature images of each of the four groups of threads
    mixes = [*hidden, last]
    shapes = {f"weight {i}": (w, (len(b), count)) for i, (w, b) in enumerate(mixes)}
    cuda.expect(filters=(filters, (count, channels, size, size)), bias=(bias, (count,)), **shapes)
    # Inputs first, zeros for missing filters; true convolution is correlation with the flipped filters.
    bank = xp.zeros((channels, size, size, FILTERS), dtype=x.dtype)
    bank[..., :count] = filters[:, :, ::-1, ::-1].transpose(1, 3, 2, 0)
    offsets = xp.zeros((len(mixes), FILTERS), dtype=x.dtype)
    weights = xp.zeros((len(hidden), FILTERS, FILTERS), dtype=x.dtype)
    out, out_bias = xp.zeros((FILTERS, 4 * group), dtype=x.dtype), xp.zeros(4 * group, dtype=x.dtype)
    offsets[0, :count] = bias
    for i, (weight, hidden_bias) in enumerate(hidden):
        weights[i, :count, : len(weight)] = weight.T
        offsets[i + 1, : len(weight)] = hidden_bias
    out[:count, :maps], out_bias[:maps] = last[0].T, last[1]
    y = xp.empty((batch, maps, height - size + 1, width - size + 1), dtype=x.dtype)
    down, across = cuda.blocks(y.shape[2], 64 // x.dtype.itemsize), cuda.blocks(y.shape[3], 32)
    arguments = [xp.ascontiguousarray(x), bank, offsets[0], weights, offsets[1:], out, out_bias]
    arguments += [channels, height, width, len(hidden), maps, down, across, y]
    constants = {"SIZE": size, "LAST": group}
    cuda.launch(
        "photo/feature_tiles", "feature_tiles", batch * down * across, 256, arguments, real=x.dtype, constants=constants
    )
    return y
