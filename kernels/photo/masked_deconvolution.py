"""The linear system of the deconvolution with unknown pixels: conjugate gradients, fused.

A step of plain array code writes about twenty images. The compiled twin keeps all vectors as spectra in strips
(`deconvnet.kernels.simd.strip_images`): a step is two passes over strips around one over rows, and one for the sums.
The CUDA twin fuses what stands between two transforms of a step, and nothing of a step waits for the host.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.simd.line_fft import first_step, is_smooth, second_step
from deconvnet.kernels.simd.refinement import (
    advance,
    blurred_swapped,
    direct,
    inverse_divisor,
    normal_equations,
    residual_of_normal,
    residual_of_other_prior,
)
from deconvnet.kernels.simd.strip_images import (
    call_inverse_block,
    column_memory,
    forward,
    inverse,
    inverse_rows,
    over_blocks,
    over_strips,
    row_block,
    row_targets,
    rows_to_strips,
    strip_plan,
)
from deconvnet.kernels.simd.strips import ROWS, row_memory
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["conjugate_gradients", "masked_deconvolution", "periodic_blur"]

#: The preconditioner's divisor is at least this share of its largest value.
LEAST_DIVISOR = 1e-6
#: Conjugate gradients end when the preconditioned residual's square has fallen to this share.
SOLVED = 1e-12
#: Threads of a block of the CUDA kernels, and the frequencies that each of them sums.
THREADS, EACH = 256, 4


def conjugate_gradients(
    x_hat: Array,
    operator: Callable[[Array], Array],
    residual: Array,
    preconditioner: Array,
    shape: tuple[int, int],
    steps: int,
) -> tuple[Array, Array]:
    """Steps of preconditioned conjugate gradients on half spectra of real images.

    Parameters
    ----------
    x_hat, residual : complex array (H, W//2 + 1)
        Start, and what it leaves of the right-hand side; neither is changed.
    operator : callable
        Positive semidefinite, from half spectrum to half spectrum.
    preconditioner : real array (H, W//2 + 1)
        About the inverse of the operator, frequency by frequency.
    shape : (int, int)
        H and W.
    steps : int

    Returns
    -------
    x_hat, residual : complex array (H, W//2 + 1)
        Of the improved solution.
    """
    xp = array_module(x_hat, residual, preconditioner)
    once = [0, -1] if shape[1] % 2 == 0 else [0]  # columns that the full spectrum has once; the others come twice

    def inner(a_hat, b_hat):
        return float(2 * xp.vdot(a_hat, b_hat).real - xp.vdot(a_hat[:, once], b_hat[:, once]).real)

    direction = preconditioner * residual
    size = first = inner(residual, direction)
    real = preconditioner.dtype.type
    for _ in range(steps):
        if not size > SOLVED * first:  # solved: the next step would divide zero by zero
            break
        image_of_direction = operator(direction)
        length = real(size / inner(direction, image_of_direction))
        x_hat = x_hat + length * direction
        residual = residual - length * image_of_direction
        scaled = preconditioner * residual
        size, before = inner(residual, scaled), size
        direction = scaled + real(size / before) * direction
    return x_hat, residual


def _laplacian(xp, shape, dtype):
    """Half spectrum of ∇ᵀ∇ for periodic differences, as its two terms (H, 1) and (W//2 + 1,)."""
    rows, columns = (
        2 - 2 * np.cos(2 * np.pi * np.arange(count) / n) for n, count in zip(shape, (shape[0], shape[1] // 2 + 1))
    )
    return xp.asarray(rows[:, None], dtype=dtype), xp.asarray(columns, dtype=dtype)


def _on_grid(psf: Array, shape: tuple[int, int]) -> Array:
    """The PSF on a periodic grid, its centre at the origin."""
    xp = array_module(psf)
    grid = xp.zeros(shape, psf.dtype)
    rows, columns = ((xp.arange(n) - n // 2) % m for n, m in zip(psf.shape, shape))
    grid[rows[:, None], columns] = psf
    return grid


def _reference(
    x: Array,
    target: Array,
    y: Array,
    mask: Array,
    psf: Array,
    data_weight: float,
    beta: float,
    steps: int,
    memory: dict[str, Any] | None = None,
) -> Array:
    """Steps towards ``min λ/2 ‖√m (psf * x − y)‖² + β/2 ‖∇x − w‖²``.

    Parameters
    ----------
    x : real array (H, W)
        Start; all images are periodic.
    target : real array (H, W)
        ``∇ᵀw``.
    y : real array (H, W)
        Blurry image.
    mask : real array (H, W)
        m, how much each pixel of y counts, 0 to 1.
    psf : real array (k, k)
        Non-negative, k ≤ H, W; its centre is at ``k // 2``.
    data_weight, beta : float
        λ and β, positive.
    steps : int
    memory : dict, optional
        At first empty, then that of all calls for one y, psf and data_weight: where one goes on from what the last one
        returned, the compiled twin need not compute again what is known there.

    Returns
    -------
    real array (H, W)

    Notes
    -----
    Conjugate gradients on ``(λ Kᵀ m K + β ∇ᵀ∇) x = λ Kᵀ m y + β ∇ᵀw``, preconditioned by the same system without mask,
    which is diagonal in Fourier space.
    """
    otf, rows, columns = _transfer(psf, x)
    real, shape = x.dtype.type, x.shape
    data_weight, beta = real(data_weight), real(beta)
    smoothness = beta * (rows + columns)

    def normal(z_hat):
        return data_weight * otf.conj() * rfft2(mask * irfft2(otf * z_hat, shape)) + smoothness * z_hat

    x_hat = rfft2(x)
    residual = data_weight * otf.conj() * rfft2(mask * y) + beta * rfft2(target) - normal(x_hat)
    preconditioner = _preconditioner(data_weight * (otf.real**2 + otf.imag**2) + smoothness)
    return irfft2(conjugate_gradients(x_hat, normal, residual, preconditioner, shape, steps)[0], shape)


def _transfer(psf, x):
    """The PSF's transfer function on the grid of x, and the terms of `_laplacian`."""
    return rfft2(_on_grid(psf, x.shape)), *_laplacian(array_module(psf, x), x.shape, x.dtype)


def _preconditioner(scaled):
    """Inverse of the diagonal system without mask."""
    return 1 / array_module(scaled).maximum(scaled, scaled.dtype.type(LEAST_DIVISOR) * scaled.max())


def _cuda(x, target, y, mask, psf, data_weight, beta, steps, memory=None):
    """Transforms by cuFFT; what stands between them is one CUDA kernel each, and so are the sums over the blocks."""
    xp = array_module(x, target, y, mask, psf)
    real, shape = x.dtype.type, x.shape
    otf, rows, columns = _transfer(psf, x)
    otf, rows, columns = (xp.ascontiguousarray(a) for a in (otf, rows.reshape(-1), columns))
    weights = real(data_weight), real(beta)
    inverse = _preconditioner(weights[0] * (otf.real**2 + otf.imag**2) + weights[1] * (rows[:, None] + columns))
    x_hat = xp.ascontiguousarray(rfft2(x))
    # The data term and the prior's of the residual at the start.
    residual = weights[0] * otf.conj() * rfft2(mask * (y - irfft2(otf * x_hat, shape)))
    residual += weights[1] * (rfft2(target) - (rows[:, None] + columns) * x_hat)
    blocks = cuda.blocks(x_hat.size, THREADS * EACH)
    direction, blurred = xp.zeros(x_hat.shape, x_hat.dtype), xp.empty(x_hat.shape, x_hat.dtype)
    sums, numbers = xp.empty(blocks, x.dtype), xp.zeros(4, x.dtype)  # the four are named in the source

    def launch(kernel, blocks, arguments):
        constants = {"THREADS": THREADS, "EACH": EACH}
        cuda.launch("photo/masked_deconvolution", kernel, blocks, THREADS, arguments, real=x.dtype, constants=constants)

    def advance(image_hat, start):
        launch("advance", blocks, [direction, image_hat, inverse, numbers, *shape, x_hat, residual, sums])
        launch("residual_size", 1, [sums, blocks, start, numbers])

    advance(direction, True)  # a step of no length finds the first residual's size
    for _ in range(steps):
        count = cuda.blocks(x_hat.size, THREADS)
        launch("next_direction", count, [otf, inverse, residual, numbers, x_hat.size, direction, blurred])
        image_hat = xp.ascontiguousarray(rfft2(mask * irfft2(blurred, shape)))
        launch("normal_equations", blocks, [otf, direction, rows, columns, *weights, *shape, image_hat, sums])
        launch("step_length", 1, [sums, blocks, SOLVED, numbers])
        advance(image_hat, False)
    return irfft2(x_hat, shape)


class _System(NamedTuple):
    """What the steps on strips share, rows in the order of the strips.

    Attributes
    ----------
    otf : real array (plan.size,)
    inverse : real array (plan.size // 2,)
        Preconditioner.
    rows : real array (H,)
    columns : real array (strips · 16,)
        The terms of the squared transfer function of the differences.
    counts : real array (strips · 16,)
        How often a column is in the whole spectrum.
    weights : real array (4,)
        λ, β, the least divisor of the preconditioner, and how much larger β is than in the call before.
    """

    otf: np.ndarray
    inverse: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    weights: np.ndarray


@compiled
def _prepare(plan, system, begin, end):
    """Fill in the preconditioner."""
    otf, inverse, rows, columns, _counts, weights = system
    for g in range(begin, end):
        for r in range(plan.height):
            n = g * plan.rows + r
            inverse_divisor(otf, n * COMPLEX, rows, r, columns, g * LANES, weights, 0, inverse, n * LANES)


@compiled
def _blur_columns(plan, system, start, residual, direction, share, out, begin, end):
    """The next direction, but at the start as it is; ``out``: it is blurred and its columns are transformed back."""
    back, across = plan.back, plan.tall.across
    _, y, line, buffer = column_memory(plan)
    otf, inverse = system.otf, system.inverse
    for g in range(begin, end):
        first = g * plan.rows
        for k in range(plan.tall.down):
            for j in range(across):
                n = first + k * across + j
                at = n * COMPLEX
                if start:
                    blurred_swapped(otf, at, direction, at, line, j * COMPLEX)
                else:
                    direct(residual, at, inverse, n * LANES, direction, at, otf, at, share, 0, line, j * COMPLEX)
            first_step(line, 0, COMPLEX, k, y, back, buffer)
        for k in range(back.down):
            second_step(y, k, out, (first + k * back.across) * COMPLEX, back, buffer)


@compiled
def _mask_rows(plan, mask, y, scale, spectrum, begin, end):
    """Rows of a blurred image to those of ``mask · image``, or of ``mask · (y − image)`` if y has pixels; in place."""
    height, width = plan.height, plan.width
    memory, ones = row_memory(plan.wide), np.ones(width, mask.dtype)
    rows, targets, starts = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    weights, block = np.empty(ROWS, mask.dtype), np.empty(ROWS * width, mask.dtype)
    for lane in range(ROWS):
        starts[lane] = lane * width
    for n in range(begin, end):
        row_targets(n * ROWS, plan, rows, targets)
        call_inverse_block(plan.inverse_block, n, plan, spectrum, starts, memory, block)
        for lane in range(ROWS):
            i = rows[lane]
            here = block[lane * width : (lane + 1) * width]
            weights[lane] = scale / 2 if i < height else 0
            if i == height:
                here[:] = 0
            elif y.size:
                for j in range(width):
                    here[j] = mask[i, j] * (y[i, j] - here[j])
            else:
                for j in range(width):
                    here[j] *= mask[i, j]
        row_block(block, starts, targets, weights, ones, plan, memory, spectrum)


@compiled
def _normal_columns(plan, system, start, x, direction, image, sums, begin, end):
    """At the start the residual, in ``direction``, which holds ∇ᵀw; else the operator's image of the direction.

    ``image`` holds what `_mask_rows` left. Inner products of the strips go into ``sums``.
    """
    tall = plan.tall
    strip, _, line, buffer = column_memory(plan)
    otf, inverse, rows, columns, counts, weights = system
    for g in range(begin, end):
        first, c = g * plan.rows, g * LANES
        sums[c : c + LANES] = 0
        for j in range(tall.across):
            first_step(image, (first + j * tall.down) * COMPLEX, COMPLEX, j, strip, tall, buffer)
        for k in range(tall.down):
            second_step(strip, k, line, 0, tall, buffer)
            for j in range(tall.across):
                r = k * tall.across + j
                n, at = (first + r) * COMPLEX, j * COMPLEX
                if start:
                    residual_of_normal(
                        otf,
                        n,
                        line,
                        at,
                        x,
                        n,
                        direction,
                        n,
                        inverse,
                        n // 2,
                        rows,
                        r,
                        columns,
                        c,
                        counts,
                        c,
                        weights,
                        0,
                        sums,
                        c,
                    )
                else:
                    normal_equations(
                        otf, n, line, at, direction, n, rows, r, columns, c, counts, c, weights, 0, image, n, sums, c
                    )


@compiled
def _other_prior_strips(plan, system, x, residual, change, sums, begin, end):
    inverse, rows, columns, counts, weights = system.inverse, system.rows, system.columns, system.counts, system.weights
    for g in range(begin, end):
        c = g * LANES
        sums[c : c + LANES] = 0
        for r in range(plan.height):
            n = (g * plan.rows + r) * COMPLEX
            residual_of_other_prior(
                x, n, change, n, residual, n, inverse, n // 2, rows, r, columns, c, counts, c, weights, 0, sums, c
            )


@compiled
def _advance_strips(plan, system, x, residual, direction, image, length, sums, begin, end):
    inverse, counts = system.inverse, system.counts
    for g in range(begin, end):
        c = g * LANES
        sums[c : c + LANES] = 0
        for r in range(plan.height):
            n = (g * plan.rows + r) * COMPLEX
            advance(x, n, residual, n, direction, n, image, n, inverse, n // 2, counts, c, length, 0, sums, c)


@functools.lru_cache(maxsize=16)
def _tables(shape, dtype):
    """The terms of `_laplacian` in the order of the strips, and the columns' counts."""
    plan = strip_plan(shape, dtype)
    rows, columns = (term.reshape(-1) for term in _laplacian(np, shape, np.float64))
    tables = rows[plan.row_frequencies()], columns[plan.column_frequencies()], plan.column_counts()
    return tuple(table.reshape(-1).astype(dtype) for table in tables)


class _Known(NamedTuple):
    """What one call leaves to the next.

    Attributes
    ----------
    x : real array (H, W)
        What was returned.
    x_hat, residual : real array (plan.size,)
        Its spectrum, and what it leaves of the right-hand side.
    mask, target : real array (H, W)
    beta : float
    """

    x: np.ndarray
    x_hat: np.ndarray
    residual: np.ndarray
    mask: np.ndarray
    target: np.ndarray
    beta: float


def _spectrum_of(psf, plan, memory):
    """The PSF's transfer function in strips."""
    if "otf" not in memory:
        memory["otf"] = forward(_on_grid(psf, (plan.height, plan.width)), plan)
    return memory["otf"]


def _numba(x, target, y, mask, psf, data_weight, beta, steps, memory=None):
    """In strips, where both sides are `is_smooth`."""
    if not all(map(is_smooth, x.shape)):
        return _reference(x, target, y, mask, psf, data_weight, beta, steps)
    memory = {} if memory is None else memory
    shape, dtype = x.shape, x.dtype
    real = dtype.type
    plan = strip_plan(shape, dtype.name)
    tables = _tables(shape, dtype.name)
    known = memory.pop("known", None)
    known = known if known is not None and known.x is x else None
    least = LEAST_DIVISOR * (data_weight * float(psf.sum()) ** 2 + 8 * beta)
    weights = np.array([data_weight, beta, least, beta - known.beta if known else 0], dtype)
    system = _System(_spectrum_of(psf, plan, memory), np.empty(plan.size // 2, dtype), *tables, weights)
    over_strips(_prepare, plan, system)
    sums, scale = np.empty(plan.strips * LANES, dtype), real(1 / x.size)
    mask = np.ascontiguousarray(mask)

    def inner(body, *arguments):
        over_strips(body, plan, system, *arguments, sums)
        return float(sums.sum(dtype=np.float64))

    x_hat = known.x_hat if known else forward(np.ascontiguousarray(x), plan, scale=1 / x.size)
    blurred = memory.pop("blurred", (None, None))
    if known and known.mask is mask:  # what the data say is in the last residual
        residual = known.residual
        image = forward(real(beta) * target - real(known.beta) * known.target, plan, scale=1 / x.size)
        del known
        size = first = inner(_other_prior_strips, x_hat, residual, image)
    else:
        del known
        residual = forward(np.ascontiguousarray(target), plan, scale=1 / x.size)
        image = np.zeros(plan.size, dtype)
        if blurred[0] is x:
            across = np.ones(shape[1], dtype)
            over_blocks(rows_to_strips, plan, mask * (y - blurred[1]), np.full(shape[0], scale), across, image)
        else:
            over_strips(_blur_columns, plan, system, True, residual, x_hat, np.zeros(1, dtype), image)
            over_blocks(_mask_rows, plan, mask, np.ascontiguousarray(y), scale, image)
        size = first = inner(_normal_columns, True, x_hat, residual, image)
    direction, nothing, share = np.zeros(plan.size, dtype), np.empty((0, 0), dtype), 0.0
    for _ in range(steps):
        if not size > SOLVED * first:
            break
        over_strips(_blur_columns, plan, system, False, residual, direction, np.full(1, share, dtype), image)
        over_blocks(_mask_rows, plan, mask, nothing, scale, image)
        length = size / inner(_normal_columns, False, x_hat, direction, image)
        size, before = inner(_advance_strips, x_hat, residual, direction, image, np.full(1, length, dtype)), size
        share = size / before
    del direction
    image[:] = x_hat
    found = inverse(image, plan)
    memory["known"] = _Known(found, x_hat, residual, mask, target, beta)
    return found


def _blur_reference(x: Array, psf: Array, memory: dict[str, Any] | None = None) -> Array:
    """A periodic image blurred.

    Parameters
    ----------
    x : real array (H, W)
    psf : real array (k, k)
        k ≤ H, W; its centre is at ``k // 2``.
    memory : dict, optional
        That of `masked_deconvolution`, for what it returned.

    Returns
    -------
    real array (H, W)
    """
    return irfft2(_transfer(psf, x)[0] * rfft2(x), x.shape)


def _blur_numba(x, psf, memory=None):
    """In strips, where both sides are `is_smooth`."""
    if not all(map(is_smooth, x.shape)):
        return _blur_reference(x, psf)
    memory = {} if memory is None else memory
    plan, nothing = strip_plan(x.shape, x.dtype.name), np.empty(0, x.dtype)
    system = _System(_spectrum_of(psf, plan, memory), *[nothing] * 5)
    known = memory.get("known")
    x_hat = known.x_hat if known is not None and known.x is x else forward(x, plan, scale=1 / x.size)
    image = np.zeros(plan.size, x.dtype)  # what fills up a block shares complex transforms with rows of the image
    over_strips(_blur_columns, plan, system, True, nothing, x_hat, nothing, image)
    room = np.empty((plan.height + ROWS) * plan.width, x.dtype)
    over_blocks(inverse_rows, plan, image, room)
    blurred = room[: x.size].reshape(x.shape)
    memory["blurred"] = x, blurred
    return blurred


periodic_blur = Kernel("periodic_blur", reference=_blur_reference, cpu=_blur_numba)
masked_deconvolution = Kernel("masked_deconvolution", reference=_reference, cpu=_numba, cuda=_cuda)
