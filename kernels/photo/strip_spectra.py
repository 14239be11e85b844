"""Row transforms of faded images, laid into strips of sixteen columns (`deconvnet.kernels.simd.strips`).

Only for the CPU, and within its kernels: a GPU has a transform that is limited by its memory already.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, share
from deconvnet.kernels.photo.fade import fade_pad
from deconvnet.kernels.simd.line_fft import places
from deconvnet.kernels.simd.strips import ROWS, StripGrid, call_transform_rows, image_row, row_memory
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES

__all__ = ["strip_spectra"]


def _reference(images: Array, down: Array, across: Array, grid: StripGrid) -> Array:
    """Row transforms of images times a separable window, continued with zeros, in strips.

    Parameters
    ----------
    images : real array (M, H, W)
    down : real array (H,)
    across : real array (W,)
    grid : StripGrid
        At least as large as the images.

    Returns
    -------
    real array (M · strips · rows · 32,)
        Row j₁ n₂ + j₂ of the images is row j₂ n₁ + j₁ of a strip (n₁ and n₂ of `Line`, for the columns), zeros behind:
        16 real parts, 16 imaginary ones. What would be columns above ``width // 2`` repeats that one.
    """
    xp = array_module(images, down, across)
    spectra = xp.fft.rfft(fade_pad.reference(images, down, across, (grid.height, grid.width)))
    rows = xp.asarray([image_row(r, grid.tall) for r in range(grid.height)])
    columns = xp.minimum(xp.arange(grid.strips * LANES), grid.width // 2)
    strips = spectra[:, rows][:, :, columns].reshape(len(images), grid.height, grid.strips, LANES).swapaxes(1, 2)
    out = xp.zeros((len(images), grid.strips, grid.rows, COMPLEX), images.dtype)
    out[:, :, : grid.height, :LANES], out[:, :, : grid.height, LANES:] = strips.real, strips.imag
    return out.reshape(-1)


@compiled
def _strip_spectra(images, down, across, tall, wide, transform, order, into, rows, strips, out, begin, end):
    _, height, width = images.shape
    source = images.reshape(-1)
    blocks = rows // ROWS
    strip_size = rows * COMPLEX
    memory = row_memory(wide)
    starts, weights, targets = np.empty(ROWS, np.int64), np.empty(ROWS, images.dtype), np.empty(ROWS, np.int64)
    for n in range(begin, end):
        m, first = n // blocks, n % blocks * ROWS
        for lane in range(ROWS):
            i = image_row(first + lane, tall)
            inside = i < height
            starts[lane] = (m * height + (i if inside else 0)) * width
            weights[lane] = 0.5 * down[i] if inside else 0.0
            targets[lane] = (m * strips * rows + first + lane) * COMPLEX
        into_strips = strips, strip_size, out, targets
        call_transform_rows(transform, source, starts, width, across, weights, wide, order, into, memory, *into_strips)


def _numba(images, down, across, grid):
    """32 rows at a time."""
    order, into = places(grid.wide)
    out = np.empty(len(images) * grid.strips * grid.rows * COMPLEX, images.dtype)
    images = np.ascontiguousarray(images)
    rows = grid.wide, grid.transform_rows, order, into
    arguments = images, down, across, grid.tall, *rows, grid.rows, grid.strips, out
    count = len(images) * grid.rows // ROWS
    in_chunks(_strip_spectra, arguments, count, share(count))
    return out


strip_spectra = Kernel("strip_spectra", reference=_reference, cpu=_numba)
