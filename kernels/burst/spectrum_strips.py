"""Half spectra in strips of sixteen columns, the form in which the kernels of the burst's refinement read frames.

On the CPU a column is a vector lane (`deconvnet.kernels.simd.vector`), and a strip's rows lie one after the other.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel
from deconvnet.kernels.simd.vector import LANES

__all__ = ["from_strips", "to_strips"]


def _reference(spectra: Array) -> Array:
    """Half spectra in strips of sixteen columns, real and imaginary parts apart.

    Parameters
    ----------
    spectra : complex array (..., H, W//2 + 1)

    Returns
    -------
    real array (..., S, H, 2, 16)
        S strips; zero beyond the last column.
    """
    xp = array_module(spectra)
    *batch, height, width = spectra.shape
    room = xp.zeros((*batch, height, 2, -(-width // LANES) * LANES), spectra.real.dtype)
    room[..., 0, :width], room[..., 1, :width] = spectra.real, spectra.imag
    strips = room.reshape(*batch, height, 2, -1, LANES)
    return xp.ascontiguousarray(xp.moveaxis(strips, -2, -4))


@compiled
def _to_strips(spectra, out):
    count, height, width = spectra.shape
    for n in range(count):
        for strip in range(out.shape[1]):
            first = strip * LANES
            for i in range(height):
                row, target = spectra[n, i], out[n, strip, i]
                for lane in range(min(LANES, width - first)):
                    target[lane] = row[first + lane].real
                    target[LANES + lane] = row[first + lane].imag
                for lane in range(width - first, LANES):
                    target[lane] = target[LANES + lane] = 0


def _numba(spectra: np.ndarray) -> np.ndarray:
    """Strip after strip of every spectrum."""
    *batch, height, width = spectra.shape
    strips = -(-width // LANES)
    out = np.empty((*batch, strips, height, 2, LANES), spectra.real.dtype)
    _to_strips(np.ascontiguousarray(spectra).reshape(-1, height, width), out.reshape(-1, strips, height, 2 * LANES))
    return out


def _cuda(spectra: Array) -> Array:
    """One thread per place of a strip."""
    xp = array_module(spectra)
    spectra = xp.ascontiguousarray(spectra)
    *batch, height, width = spectra.shape
    strips = -(-width // LANES)
    out = xp.empty((*batch, strips, height, 2, LANES), spectra.real.dtype)
    arguments = [spectra, out.size // 2, strips, height, width, out]
    cuda.launch(
        "burst/spectrum_strips", "to_strips", cuda.blocks(out.size // 2, 256), 256, arguments, real=out.dtype,
        constants={"LANES": LANES},
    )  # fmt: skip
    return out


to_strips = Kernel("to_strips", reference=_reference, cpu=_numba, cuda=_cuda)


def from_strips(strips: Array, width: int) -> Array:
    """Inverse of `to_strips` for half spectra of ``width`` columns: complex array (..., H, width)."""
    xp = array_module(strips)
    parts = xp.moveaxis(strips, -4, -2)  # (..., H, 2, S, 16)
    flat = parts.reshape(*parts.shape[:-2], -1)[..., :width]
    out = xp.empty((*flat.shape[:-2], width), np.result_type(strips.dtype, np.complex64))
    out.real, out.imag = flat[..., 0, :], flat[..., 1, :]
    return out
