"""Gradients of the latent image with few edges that explains blurry ones: half-quadratic splitting, fused.

Plain array code writes some fifteen images in every step. The compiled twin keeps spectra in strips of sixteen columns
(`deconvnet.kernels.simd.strip_images`): in one pass a strip's columns are transformed, divided and transformed back
within the cache; in another the rows; and the edges are picked while rows are loaded. The CUDA twin fuses what stands
between two transforms.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import types

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.simd.apart import Apart
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, second_step
from deconvnet.kernels.simd.refinement import latent_swapped
from deconvnet.kernels.simd.strip_images import (
    StripPlan,
    column_memory,
    inverse_rows,
    row_block,
    row_targets,
    strip_plan,
)
from deconvnet.kernels.simd.strips import ROWS, row_memory
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["edge_gradients"]


@functools.lru_cache(maxsize=64)
def _laplacian(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The two terms, float64 (H,) and (W//2 + 1,), of the squared transfer function of the periodic differences."""
    return tuple(
        2 - 2 * np.cos(2 * np.pi * np.arange(count) / n) for n, count in zip(shape, (shape[0], shape[1] // 2 + 1))
    )


def _reference(data_hat: Array, power: Array, l0_weight: float, start: Array, couplings: tuple[float, ...]) -> Array:
    """Gradients of the latent image with few edges.

    Parameters
    ----------
    data_hat : complex array (H, W//2 + 1)
        ``Σ_i conj(K_i) Y_i`` of the transfer functions and the half spectra of the blurry images.
    power : real array (H, W//2 + 1)
        ``Σ_i |K_i|²``.
    l0_weight : float
        What an edge pixel costs, in units of the squared misfit of a pixel.
    start : real array (H, W)
        First guess of the latent image x.
    couplings : sequence of float
        Weights b that draw the gradients w to those of the latent image, one after the other.

    Returns
    -------
    real array (2, H, W)
        Differences to the next pixel down and across, both zero where there is no edge.

    Notes
    -----
    In turn, for every coupling b,
    ``w = ∇x where |∇x|² > l0_weight / b, else 0`` and
    ``x = F⁻¹[ (data_hat + b F(∇ᵀw)) / (power + b |F∇|²) ]``, without the second after the last coupling
    (Xu, Lu, Xu & Jia 2011, "Image smoothing via L0 gradient minimization", doi:10.1145/2024156.2024208).
    """
    xp = array_module(data_hat, power, start)
    real = start.dtype.type
    rows, columns = (xp.asarray(term, dtype=start.dtype) for term in _laplacian(start.shape))
    gradient_power = rows[:, None] + columns
    x = start
    for i, b in enumerate(couplings):
        down, across = xp.roll(x, -1, axis=0) - x, xp.roll(x, -1, axis=1) - x
        edge = down**2 + across**2 > real(l0_weight / b)
        down, across = down * edge, across * edge
        if i + 1 < len(couplings):
            divergence = xp.roll(down, 1, axis=0) - down + xp.roll(across, 1, axis=1) - across
            x_hat = (data_hat + real(b) * rfft2(divergence)) / (power + real(b) * gradient_power)
            x = irfft2(x_hat, start.shape)
    return xp.stack([down, across])


def _cuda(data_hat, power, l0_weight, start, couplings):
    """What stands between two transforms is one CUDA kernel each."""
    xp = array_module(data_hat, power, start)
    data_hat, power, x = (xp.ascontiguousarray(a) for a in (data_hat, power, start))
    (height, width), real = x.shape, x.dtype
    half = (height, width // 2 + 1)
    cuda.expect(data_hat=(data_hat, half), power=(power, half))
    rows, columns = (xp.asarray(term, dtype=real) for term in _laplacian(x.shape))

    def launch(kernel, count, arguments):
        cuda.launch("photo/edge_gradients", kernel, cuda.blocks(count, 256), 256, arguments, real=real)

    for b in couplings[:-1]:
        divergence, x_hat = xp.empty(x.shape, real), xp.empty(half, data_hat.dtype)
        launch("edge_divergence", x.size, [x, height, width, l0_weight / b, divergence])
        terms = [data_hat, rfft2(divergence), power, rows, columns, b, *half, x_hat]
        launch("latent_spectrum", power.size, terms)
        x = xp.ascontiguousarray(irfft2(x_hat, x.shape))
    out = xp.empty((2, height, width), real)
    launch("kept_gradients", x.size, [x, height, width, l0_weight / couplings[-1], out])
    return out


@compiled(fastmath={"contract", "nsz"})
def _kept(below, here, threshold, down, across):
    """Differences of the row ``here`` to the next row and the next column, zero where there is no edge."""
    last = here.size - 1
    for j in range(last):
        d, a = below[j] - here[j], here[j + 1] - here[j]
        kept = d * d + a * a > threshold
        down[j] = d if kept else 0
        across[j] = a if kept else 0
    d, a = below[last] - here[last], here[0] - here[last]
    kept = d * d + a * a > threshold
    down[last] = d if kept else 0
    across[last] = a if kept else 0


def _edge_rows(plan, image, threshold, scale, spectrum, begin, end):
    """Transforms of the rows of ∇ᵀw for the gradients w of the image that are edges."""
    height, width = plan.height, plan.width
    memory, ones = row_memory(plan.wide), np.ones(width, image.dtype)
    rows, targets, starts = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    weights, block = np.empty(ROWS, image.dtype), np.empty(ROWS * width, image.dtype)
    over, down, across = np.empty(width, image.dtype), np.empty(width, image.dtype), np.empty(width, image.dtype)
    for n in range(begin, end):
        row_targets(n * ROWS, plan, rows, targets)
        for lane in range(ROWS):
            i = rows[lane]
            starts[lane] = lane * width
            weights[lane] = scale / 2 if i < height else 0
            if i < height:
                here = image[i]
                _kept(here, image[i - 1 if i else height - 1], threshold, over, across)
                _kept(image[i + 1 if i + 1 < height else 0], here, threshold, down, across)
                out = block[lane * width : (lane + 1) * width]
                out[0] = over[0] - down[0] + across[width - 1] - across[0]
                for j in range(1, width):
                    out[j] = over[j] - down[j] + across[j - 1] - across[j]
            else:
                block[lane * width : (lane + 1) * width] = 0
        row_block(block, starts, targets, weights, ones, plan, memory, spectrum)


def _latent_columns(plan, spectrum, data, power, rows, columns, coupling, begin, end):
    """Strips of ∇ᵀw, rows transformed, to those of the latent image, columns transformed back; in place."""
    tall, back = plan.tall, plan.back
    x, y, line, buffer = column_memory(plan)
    for g in range(begin, end):
        start = g * plan.rows * COMPLEX
        for j in range(tall.across):
            first_step(spectrum, start + j * tall.down * COMPLEX, COMPLEX, j, x, tall, buffer)
        for k in range(tall.down):
            second_step(x, k, line, 0, tall, buffer)
            for j in range(tall.across):
                r = k * tall.across + j
                at, n, c = j * COMPLEX, g * plan.rows + r, g * LANES
                latent_swapped(
                    data, n * COMPLEX, line, at, power, n * LANES, rows, r, columns, c, coupling, 0, line, at
                )
            first_step(line, 0, COMPLEX, k, y, back, buffer)
        for k in range(back.down):
            second_step(y, k, spectrum, start + k * back.across * COMPLEX, back, buffer)


def _kinds(real, rows):
    number, plan = getattr(types, real), numba.typeof(strip_plan((4, 4), real))
    reals = types.Array(number, 1, "C")
    if rows:
        return plan, types.Array(number, 2, "C"), number, number, reals, types.intp, types.intp
    return plan, *[reals] * 6, types.intp, types.intp


_edge_rows_apart = Apart(_edge_rows, functools.partial(_kinds, rows=True))
_latent_columns_apart = Apart(_latent_columns, functools.partial(_kinds, rows=False))
_call_edge_rows, _call_latent_columns, _call_inverse_rows = (
    body.call for body in (_edge_rows_apart, _latent_columns_apart, inverse_rows)
)


@compiled
def _into_strips(plan, frequencies, data_hat, power_hat, scale, data, power, begin, end):
    """Half spectra into strips, rows in the order of `StripPlan.row_frequencies`."""
    last = plan.width // 2
    for g in range(begin, end):
        for r in range(plan.height):
            i, n = frequencies[r], g * plan.rows + r
            for lane in range(LANES):
                j = min(g * LANES + lane, last)
                data[n * COMPLEX + lane] = data_hat[i, j].real * scale
                data[n * COMPLEX + LANES + lane] = data_hat[i, j].imag * scale
                power[n * LANES + lane] = power_hat[i, j]


@compiled
def _steps(plan, bodies, start, data, power, rows, columns, thresholds, couplings, scale, out):
    height, width = start.shape
    edge_rows, latent_columns, inverse = bodies
    blocks, steps = plan.rows // ROWS, couplings.size
    spectrum = np.empty(plan.rows * plan.strips * COMPLEX, start.dtype)
    image = np.empty((height + ROWS, width), start.dtype)
    for i in range(height):
        for j in range(width):
            image[i, j] = start[i, j]
    for i in range(steps - 1):
        _call_edge_rows(edge_rows, plan, image, thresholds[i], scale, spectrum, 0, blocks)
        coupling = couplings[i : i + 1]
        _call_latent_columns(latent_columns, plan, spectrum, data, power, rows, columns, coupling, 0, plan.strips)
        _call_inverse_rows(inverse, plan, spectrum, image.reshape(-1), 0, blocks)
    for i in range(height):
        _kept(image[(i + 1) % height], image[i], thresholds[steps - 1], out[0, i], out[1, i])


@functools.lru_cache(maxsize=64)
def _tables(plan_shape, dtype):
    """The terms of `_laplacian` in the order of the strips."""
    plan = strip_plan(plan_shape, dtype)
    rows, columns = _laplacian(plan_shape)
    return rows[plan.row_frequencies()].astype(dtype), columns[plan.column_frequencies()].reshape(-1).astype(dtype)


def _numba(data_hat, power, l0_weight, start, couplings):
    """In strips, where both sides are `is_smooth`."""
    if not all(map(is_smooth, start.shape)):
        return _reference(data_hat, power, l0_weight, start, couplings)
    shape, dtype = start.shape, start.dtype
    plan: StripPlan = strip_plan(shape, dtype.name)
    rows, columns = _tables(shape, dtype.name)
    data, divisor = np.empty(plan.size, dtype), np.empty(plan.size // 2, dtype)
    scale = dtype.type(1 / start.size)
    _into_strips(plan, plan.row_frequencies(), data_hat, power, scale, data, divisor, 0, plan.strips)
    thresholds = np.array([l0_weight / b for b in couplings], dtype)
    out = np.empty((2, *shape), dtype)
    bodies = tuple(body.address(dtype.name) for body in (_edge_rows_apart, _latent_columns_apart, inverse_rows))
    _steps(plan, bodies, start, data, divisor, rows, columns, thresholds, np.array(couplings, dtype), scale, out)
    return out


edge_gradients = Kernel("edge_gradients", reference=_reference, cpu=_numba, cuda=_cuda)
