"""Feature extraction of the single-photo network: filters, tanh and pixel-wise recombinations in one pass.

On the CPU the filters run as Fourier tiles (`deconvnet.kernels.simd.tiles`), fused with what follows them; on a GPU
as a direct convolution whose sums stay in registers. The 32 filtered images are never in memory as a whole. Training,
which needs them again, has `deconvnet.kernels.photo.filter_bank`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.photo.filter_bank import TILES, biased_row, filtered, padded_to, tanh_in_place
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.tiles import FILTERS, TileGrid, filter_image_tile, filter_tiles
from deconvnet.kernels.simd.vector import LANES, mix

__all__ = ["feature_tiles", "fits", "fused_arguments", "map_tile", "tile_memory"]

#: Images that may come out of the last recombination.
MAPS = LANES
#: Largest side of filters on a GPU; the CPU's tiles take larger ones.
LARGEST_SIDE = 65
_mix_hidden, _mix_out = mix[8, 2], mix[8, 1]


def fits(filters: Array, last: tuple[Array, Array]) -> bool:
    """Whether the kernels have room for so many filters and feature images: up to 32 and 16."""
    return len(filters) <= FILTERS and len(last[1]) <= MAPS


def _reference(
    x: Array, filters: Array, bias: Array, hidden: Sequence[tuple[Array, Array]], last: tuple[Array, Array]
) -> Array:
    """Features of images in one pass: filters, tanh, recombinations with tanh, last recombination.

    Parameters
    ----------
    x : real array (B, C, H, W)
    filters : real array (M, C, k, k)
    bias : real array (M,)
    hidden : sequence of (real array (M, M), real array (M,))
        Weights and bias of each recombination that a tanh follows.
    last : (real array (F, M), real array (F,))
        The last recombination.

    Returns
    -------
    real array (B, F, H − k + 1, W − k + 1)

    Notes
    -----
    ``y_i = b_i + Σ_j β_ij tanh(… tanh(b_j + f_j * x))`` with the valid true convolution (Schuler et al. 2015, Eq. (2)).
    """
    xp = array_module(x, filters)
    y = filtered(x, filters) + bias[:, None, None]
    for weight, offset in (*hidden, last):
        y = xp.einsum("mc,bcij->bmij", weight, xp.tanh(y)) + offset[:, None, None]
    return xp.ascontiguousarray(y)


@compiled
def tile_memory(channels, side, like):
    """Working memory of `map_tile`, in the dtype of ``like``."""
    work = np.empty(side * side * 2, like.dtype)
    spectra = np.empty((channels, side * side * 2), like.dtype)
    out = np.empty(side * (side + 1) * COMPLEX, like.dtype)
    line = np.empty(side * COMPLEX, like.dtype)
    row, mixed = np.zeros(side * COMPLEX, like.dtype), np.zeros(side * COMPLEX, like.dtype)
    return work, spectra, out, line, row, mixed, np.empty(side * LANES, like.dtype)


@compiled
def map_tile(images, index, filters_hat, weights, grid, twiddles, memory, height, target, first):
    """Feature images of one tile of all images' tiles.

    Parameters
    ----------
    images : real array (B, C, H, W)
    index : int
    filters_hat, weights, grid, twiddles
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
    _, top, left = filter_image_tile(images, index, grid, filters_hat, twiddles, work, spectra, line, out)
    step = grid[2]
    width = min(step, target.shape[2] - left)
    for i in range(min(step, height - top)):
        biased_row(out, i, width, grid, bias, row)
        tanh_in_place(row, width * COMPLEX)
        for layer in range(hidden.shape[0]):
            factors_here, biases = hidden[layer], hidden_bias[layer]
            for p in range(0, width, 8):
                _mix_hidden(row, p * COMPLEX, factors_here, 0, biases, 0, mixed, p * COMPLEX)
            row, mixed = mixed, row
            tanh_in_place(row, width * COMPLEX)
        for p in range(0, width, 8):
            _mix_out(row, p * COMPLEX, last, 0, last_bias, 0, mapped, p * LANES)
        for m in range(target.shape[0]):
            line_out = target[m, top + i - first]
            for p in range(width):
                line_out[left + p] = mapped[p * LANES + m]


@compiled
def _feature_tiles(images, filters_hat, weights, grid, twiddles, y, begin, end):
    down, across, _, side = grid[:4]
    memory = tile_memory(images.shape[1], side, images)
    for index in range(begin, end):
        target = y[index // (down * across)]
        map_tile(images, index, filters_hat, weights, grid, twiddles, memory, y.shape[2], target, 0)


def fused_arguments(
    x: np.ndarray, filters: np.ndarray, bias: np.ndarray, hidden: Sequence, last: tuple
) -> tuple[TileGrid, np.ndarray, tuple[np.ndarray, ...]]:
    """Arguments of `feature_tiles` as compiled functions take them.

    Returns
    -------
    grid : TileGrid
    filters_hat : real array
        As of `filter_tiles`.
    weights : tuple of real array
        Bias, weights and biases of the recombinations (inputs first, zeros for missing filters), last weights and bias.
    """
    grid = TileGrid(x.shape[2:], filters.shape[-1], x.dtype)
    mixes = np.zeros((len(hidden), FILTERS * FILTERS), x.dtype)
    biases = np.zeros((len(hidden), FILTERS), x.dtype)
    for i, (weight, hidden_bias) in enumerate(hidden):
        mixes[i] = padded_to(padded_to(weight.T, 0, FILTERS), 1, FILTERS).reshape(-1)
        biases[i, : len(hidden_bias)] = hidden_bias
    out = padded_to(padded_to(last[0].T, 0, FILTERS), 1, LANES).reshape(-1)
    weights = padded_to(bias, 0, FILTERS), mixes, biases, out, padded_to(last[1], 0, LANES)
    return grid, filter_tiles(filters, grid.side), weights


def _numba(x, filters, bias, hidden, last):
    """Tile after tile; other numbers of filters and images than fit into the vectors go layer by layer."""
    if not fits(filters, last):
        return _reference(x, filters, bias, hidden, last)
    grid, filters_hat, weights = fused_arguments(x, filters, bias, hidden, last)
    y = np.empty((len(x), len(last[1]), grid.height, grid.width), x.dtype)
    arguments = np.ascontiguousarray(x), filters_hat, weights, grid.numbers, grid.twiddles, y
    in_chunks(_feature_tiles, arguments, len(x) * grid.down * grid.across, TILES)
    return y


def _cuda(x, filters, bias, hidden, last):
    """A block of threads per tile, each thread several pixels of 8 filters."""
    xp = array_module(x, filters, bias, *last)
    if not fits(filters, last) or filters.shape[-1] > LARGEST_SIDE:
        return _reference(x, filters, bias, hidden, last)
    batch, channels, height, width = x.shape
    count, size, maps = len(filters), filters.shape[-1], len(last[1])
    if not 1 <= size <= min(height, width):
        raise ValueError(f"filters of {size}×{size} do not fit on images of {height}×{width}")
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


feature_tiles = Kernel("feature_tiles", reference=_reference, cpu=_numba, cuda=_cuda)
