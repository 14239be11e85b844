"""The filters of the single-photo network with their tanh, and their gradients, for training.

Training needs the filtered images again, so that they are written to memory: pixel by pixel, filters last, as the
products that follow want them. On the CPU the filters run as Fourier tiles (`deconvnet.kernels.simd.tiles`). A GPU
transforms whole images; the CUDA sources are the products of the spectra, and the change of order with the tanh.
"""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light
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
    multiply_conj_add,
    rational_tanh,
    sum_of_products,
)

__all__ = [
    "TILES",
    "biased_row",
    "filter_bank",
    "filter_bank_backward",
    "filtered",
    "padded_to",
    "tanh_in_place",
    "tanh_rows",
    "tanh_rows_backward",
]

#: Tiles that share their working memory: a chunk.
TILES = 16
#: Parts into which the sum of the filters' gradient is split, whatever the number of threads: the same bits always.
PARTS = 8
#: Rows of values of a chunk of `tanh_rows`.
ROWS = 1024
#: Side of the tiles that the CUDA kernels turn over, and rows of threads of a block.
TILE, TILE_ROWS = 32, 8


def filtered(x: Array, filters: Array) -> Array:
    """Valid true convolution ``(B, M, H', W')`` through spectra of the whole images."""
    xp = array_module(x, filters)
    size = filters.shape[-1]
    y_hat = xp.einsum("bcij,mcij->bmij", rfft2(x), rfft2(_on_grid(xp, filters, x.shape[2:], 0)))
    return irfft2(y_hat, x.shape[2:])[..., size - 1 :, size - 1 :]  # where the cyclic convolution is the valid one


def _on_grid(xp, images, grid, start):
    """Images in a grid of zeros, from row and column ``start`` on."""
    out = xp.zeros((*images.shape[:2], *grid), dtype=images.dtype)
    out[..., start : start + images.shape[2], start : start + images.shape[3]] = images
    return out


def _reference(x: Array, filters: Array, bias: Array) -> Array:
    """tanh of the valid true convolution of images with filters, pixel by pixel.

    Parameters
    ----------
    x : real array (B, C, H, W)
    filters : real array (M, C, k, k)
    bias : real array (M,)

    Returns
    -------
    real array (B, H − k + 1, W − k + 1, M)
        ``tanh(bias[m] + Σ_c filters[m, c] * x[:, c])``, filters last.
    """
    xp = array_module(x, filters, bias)
    return xp.tanh(filtered(x, filters) + bias[:, None, None]).transpose(0, 2, 3, 1)


@compiled
def tanh_in_place(values, count):
    """Hyperbolic tangent of the first ``count`` values (a multiple of 16), in place."""
    if values.itemsize == 4:
        for i in range(0, count, LANES):
            rational_tanh(values, i)
    else:  # gradient checks want every digit
        for i in range(count):
            values[i] = math.tanh(values[i])


@compiled
def biased_row(out, i, width, grid, bias, row):
    """Row ``i`` of a tile's valid part plus the filters' bias, contiguous."""
    step, side = grid[2], grid[3]
    start = ((side - step + i) * (side + 1) + side - step) * COMPLEX
    for p in range(width):
        copy_pair_plus(out, start + p * COMPLEX, bias, 0, row, p * COMPLEX)


@compiled
def _filter_bank(images, filters_hat, bias, grid, twiddles, y, begin, end):
    step, side = grid[2], grid[3]
    work = np.empty(side * side * 2, images.dtype)
    spectra = np.empty((images.shape[1], side * side * 2), images.dtype)
    out = np.empty(side * (side + 1) * COMPLEX, images.dtype)
    line = np.empty(side * COMPLEX, images.dtype)
    for index in range(begin, end):
        b, top, left = filter_image_tile(images, index, grid, filters_hat, twiddles, work, spectra, line, out)
        width = min(step, y.shape[2] - left)
        for i in range(min(step, y.shape[1] - top)):
            row = y[b, top + i, left : left + width].reshape(-1)
            biased_row(out, i, width, grid, bias, row)
            tanh_in_place(row, row.size)


def padded_to(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    """The array with zeros behind along one axis, C-contiguous."""
    missing = length - array.shape[axis]
    if missing:
        array = np.pad(array, [(0, missing if i == axis % array.ndim else 0) for i in range(array.ndim)])
    return np.ascontiguousarray(array)


def _numba(x, filters, bias):
    """Tile after tile, up to 32 filters at once."""
    if len(filters) > FILTERS:
        return _reference(x, filters, bias)
    grid = TileGrid(x.shape[2:], filters.shape[-1], x.dtype)
    y = np.empty((len(x), grid.height, grid.width, FILTERS), x.dtype)
    spectra = filter_tiles(filters, grid.side)
    arguments = np.ascontiguousarray(x), spectra, padded_to(bias, 0, FILTERS), grid.numbers, grid.twiddles, y
    in_chunks(_filter_bank, arguments, len(x) * grid.down * grid.across, TILES)
    return y[..., : len(filters)]


def _launch(kernel, blocks, threads, arguments, real):
    constants = {"TILE": TILE, "TILE_ROWS": TILE_ROWS}
    cuda.launch("photo/filter_bank", kernel, blocks, threads, arguments, real=real, constants=constants)


def _tiles(rows, width, filters):
    """Blocks of the kernels that turn tiles over: along columns, rows, filters."""
    return cuda.blocks(width, TILE), min(rows, 65535), cuda.blocks(filters, TILE)


def _spectrum_products(a_hat, b_hat, shape, terms, strides, conjugate):
    """Spectra ``out[p, q] = Σ_r a[p, r] b[q, r]``, b conjugate or not; strides are a's of p and r, b's of q and r."""
    xp = array_module(a_hat, b_hat)
    a_hat, b_hat = xp.ascontiguousarray(a_hat), xp.ascontiguousarray(b_hat)
    half = a_hat.shape[2:]
    cuda.expect(b_hat=(b_hat, (*b_hat.shape[:2], *half)))
    out = xp.empty((*shape, *half), a_hat.dtype)
    size = math.prod(half)
    blocks = (cuda.blocks(size, TILE * TILE_ROWS), min(math.prod(shape), 65535))
    arguments = [a_hat, b_hat, *shape, terms, *strides, conjugate, size, out]
    _launch("spectrum_products", blocks, TILE * TILE_ROWS, arguments, out.real.dtype)
    return out


def _cuda(x, filters, bias):
    """Whole images: transforms, their products, and the tanh on the way to pixels."""
    xp = array_module(x, filters, bias)
    (batch, channels, *grid), (count, _, size, _) = x.shape, filters.shape
    cuda.expect(filters=(filters, (count, channels, size, size)), bias=(bias, (count,)))
    filters_hat = rfft2(_on_grid(xp, filters, grid, 0))
    y_hat = _spectrum_products(rfft2(x), filters_hat, (batch, count), channels, (channels, 1, channels, 1), False)
    y = xp.ascontiguousarray(irfft2(y_hat, tuple(grid)))
    height, width = (n - size + 1 for n in grid)
    pixels = xp.empty((batch, height, width, count), x.dtype)
    arguments = [y, xp.ascontiguousarray(bias), batch, count, *grid, size - 1, pixels]
    _launch("biased_tanh", _tiles(batch * height, width, count), (TILE, TILE_ROWS), arguments, x.dtype)
    return pixels


filter_bank = Kernel("filter_bank", reference=_reference, cpu=_numba, cuda=_cuda)


def _backward_reference(
    dy: Array, x: Array, filters: Array, dx_channels: slice | None = None
) -> tuple[Array | None, Array]:
    """Gradients of the convolution in `filter_bank`, without its bias and tanh.

    Parameters
    ----------
    dy : real array (B, H − k + 1, W − k + 1, M)
        Gradient of the filtered images, filters last.
    x : real array (B, C, H, W)
    filters : real array (M, C, k, k)
    dx_channels : slice, optional
        Input channels whose gradient is wanted; None for none of them.

    Returns
    -------
    dx : real array (B, C', H, W), or None
    dfilters : real array (M, C, k, k)

    Notes
    -----
    Both are correlations with dy: ``dfilters[u] = Σ_r dy[r] x[r − u]`` and ``dx[q] = Σ_r dy[r] filters[r − q]``, where
    dy counts its pixels from (k − 1, k − 1) on.
    """
    xp = array_module(dy, x, filters)
    size, grid = filters.shape[-1], x.shape[2:]
    dy_hat = rfft2(_on_grid(xp, dy.transpose(0, 3, 1, 2), grid, size - 1))
    dfilters_hat = xp.einsum("bmij,bcij->mcij", dy_hat, rfft2(x).conj())
    dfilters = xp.ascontiguousarray(irfft2(dfilters_hat, grid)[..., :size, :size])
    if dx_channels is None:
        return None, dfilters
    filters_hat = rfft2(_on_grid(xp, filters[:, dx_channels], grid, 0))
    return irfft2(xp.einsum("bmij,mcij->bcij", dy_hat, filters_hat.conj()), grid), dfilters


@compiled
def _filter_bank_backward(dy, images, filters_hat, wanted, grid, twiddles, sums, dtiles, begin, end):
    down, across, step, side, size = grid[:5]
    channels, square = images.shape[1], side * side
    tiles, parts = images.shape[0] * down * across, sums.shape[0]
    buffer = np.empty(square * COMPLEX, images.dtype)
    work, spectrum = np.empty(2 * square, images.dtype), np.empty(2 * square, images.dtype)
    for part in range(begin, end):
        for index in range(part * tiles // parts, (part + 1) * tiles // parts):
            b, place = divmod(index, down * across)
            top, left = place // across * step, place % across * step
            height, width = min(step, dy.shape[1] - top), min(step, dy.shape[2] - left)
            buffer[:] = 0
            for i in range(height):
                row = dy[b, top + i, left : left + width].reshape(-1)
                for j in range(width):
                    copy_pair(row, j * COMPLEX, buffer, (j * side + i) * COMPLEX)
            transform_square(buffer, side, width, twiddles)
            for c in range(channels):
                tile_spectrum(images[b, c], top, left, side, work, spectrum, twiddles)
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
                tile_image(spectrum, side, size - 1, work, dtiles[w, index], twiddles)


@compiled
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


def _backward_numba(dy, x, filters, dx_channels=None):
    """Tile after tile, in parts whose sums are added in their order."""
    count, channels, size, _ = filters.shape
    if count > FILTERS:
        return _backward_reference(dy, x, filters, dx_channels)
    grid = TileGrid(x.shape[2:], size, x.dtype)
    side = grid.side
    wanted = np.arange(channels)[slice(0) if dx_channels is None else dx_channels]
    tiles = len(x) * grid.down * grid.across
    parts = min(PARTS, tiles)
    sums = np.zeros((parts, channels, side * side * COMPLEX), x.dtype)
    dtiles = np.empty((wanted.size, tiles, side, side), x.dtype)
    images, spectra = np.ascontiguousarray(x), filter_tiles(filters, side)
    arguments = padded_to(dy, -1, FILTERS), images, spectra, wanted, grid.numbers, grid.twiddles, sums, dtiles
    in_chunks(_filter_bank_backward, arguments, parts, 1)
    total = sums.sum(axis=0)
    for one in total:
        inverse_square(one, side, grid.twiddles)
    place = (np.arange(size) - size + 1) % side
    square = total.reshape(channels, side, side, COMPLEX)[:, place[:, None], place]  # (C, x, y, 32)
    dfilters = np.ascontiguousarray(square.transpose(3, 0, 2, 1)[:count]) / x.dtype.type(side**2)
    if not wanted.size:
        return None, dfilters
    dx = np.zeros((len(x), wanted.size, *x.shape[2:]), x.dtype)
    for w in range(wanted.size):
        _add_tiles(dtiles[w], grid.down, grid.across, grid.step, dx[:, w])
    return dx, dfilters


def _backward_cuda(dy, x, filters, dx_channels=None):
    """Whole images: the gradient on the way from pixels, transforms, and their products."""
    xp = array_module(dy, x, filters)
    (batch, channels, *grid), (count, _, size, _) = x.shape, filters.shape
    cuda.expect(
        dy=(dy, (batch, grid[0] - size + 1, grid[1] - size + 1, count)),
        filters=(filters, (count, channels, size, size)),
    )
    images = xp.empty((batch, count, *grid), dy.dtype)
    arguments = [xp.ascontiguousarray(dy), batch, count, *grid, size - 1, images]
    _launch("pixels_to_images", _tiles(batch * grid[0], grid[1], count), (TILE, TILE_ROWS), arguments, dy.dtype)
    dy_hat, grid = rfft2(images), tuple(grid)
    strides = 1, count, 1, channels
    dfilters_hat = _spectrum_products(dy_hat, rfft2(x), (count, channels), batch, strides, True)
    dfilters = xp.ascontiguousarray(irfft2(dfilters_hat, grid)[..., :size, :size])
    if dx_channels is None:
        return None, dfilters
    filters_hat = rfft2(_on_grid(xp, filters[:, dx_channels], grid, 0))
    wanted = filters_hat.shape[1]
    dx_hat = _spectrum_products(dy_hat, filters_hat, (batch, wanted), count, (count, 1, 1, wanted), True)
    return irfft2(dx_hat, grid), dfilters


filter_bank_backward = Kernel(
    "filter_bank_backward", reference=_backward_reference, cpu=_backward_numba, cuda=_backward_cuda
)


def _tanh_reference(values: Array, bias: Array) -> None:
    """``tanh(values + bias)`` in place.

    Parameters
    ----------
    values : real array (P, M)
        C-contiguous.
    bias : real array (M,)
    """
    array_module(values, bias).tanh(values + bias, out=values)


@compiled
def _tanh_rows(values, bias, begin, end):
    for block in range(begin, end, 256):  # what stays in the first-level cache
        rows = values[block : min(block + 256, end)]
        for p in range(rows.shape[0]):
            for k in range(bias.size):
                rows[p, k] += bias[k]
        flat = rows.reshape(-1)
        whole = flat.size // LANES * LANES
        tanh_in_place(flat, whole)
        for i in range(whole, flat.size):
            flat[i] = math.tanh(flat[i])


def _tanh_numba(values, bias):
    """Row after row."""
    in_chunks(_tanh_rows, (values, bias), len(values), ROWS)


def _tanh_cuda(values, bias):
    """One thread per value."""
    bias = array_module(values, bias).ascontiguousarray(bias)
    cuda.expect(bias=(bias, values.shape[1:]))
    arguments = [values, bias, len(bias), values.size]
    _launch("tanh_rows", cuda.blocks(values.size, 256), 256, arguments, values.dtype)


tanh_rows = Kernel("tanh_rows", reference=_tanh_reference, cpu=_tanh_numba, cuda=_tanh_cuda)


def _tanh_backward_reference(dvalues: Array, values: Array) -> None:
    """Backward of `tanh_rows`: ``dvalues · (1 − values²)`` in place.

    Parameters
    ----------
    dvalues : real array (P, M)
        C-contiguous.
    values : real array (P, M)
        What `tanh_rows` gave.
    """
    dvalues *= 1 - values * values


@compiled
def _tanh_rows_backward(dvalues, values, begin, end):
    for p in range(begin, end):
        for k in range(values.shape[1]):
            y = values[p, k]
            dvalues[p, k] *= values.dtype.type(1) - y * y


def _tanh_backward_numba(dvalues, values):
    """Row after row."""
    in_chunks(_tanh_rows_backward, (dvalues, values), len(values), light(values.shape[1]))


def _tanh_backward_cuda(dvalues, values):
    """One thread per value."""
    values = array_module(dvalues, values).ascontiguousarray(values)
    cuda.expect(values=(values, dvalues.shape))
    arguments = [dvalues, values, dvalues.size]
    _launch("tanh_rows_backward", cuda.blocks(dvalues.size, 256), 256, arguments, dvalues.dtype)


tanh_rows_backward = Kernel(
    "tanh_rows_backward", reference=_tanh_backward_reference, cpu=_tanh_backward_numba, cuda=_tanh_backward_cuda
)
