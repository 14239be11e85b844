"""Median of magnitudes, by which the noise of a picture is told.

There is no CUDA source: CuPy's median is its own kernel.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel

__all__ = ["median_magnitude"]

#: Bins of the histogram: the sign, the exponent and the first digits of a number are its first 16 bits.
BINS = 1 << 15


def _reference(values: Array) -> Array:
    """Median of ``|values|``.

    Parameters
    ----------
    values : real array
        Finite, of any shape, at least one.

    Returns
    -------
    real array ()
    """
    xp = array_module(values)
    return xp.asarray(xp.median(xp.abs(values)), dtype=values.dtype)


@compiled
def _middle(patterns, shift, counts, out):
    """The two numbers in the middle of non-negative ones, given as their bits, which are in the same order."""
    for pattern in patterns:
        counts[pattern >> shift] += 1
    size = patterns.size
    for n in range(2):
        place = (size - 1) // 2 if n == 0 else size // 2
        before, bin = 0, 0
        while before + counts[bin] <= place:
            before += counts[bin]
            bin += 1
        inside, kept = np.empty(counts[bin], patterns.dtype), 0
        for pattern in patterns:
            if pattern >> shift == bin:
                inside[kept] = pattern
                kept += 1
        inside.sort()
        out[n] = inside[place - before]


def _numba(values: np.ndarray) -> np.ndarray:
    """By a histogram of the numbers' first bits; only those of one bin are sorted."""
    kind = np.dtype(f"i{values.itemsize}")
    out = np.empty(2, kind)
    _middle(np.abs(values).ravel().view(kind), 8 * values.itemsize - 16, np.zeros(BINS, np.int64), out)
    return np.asarray(out.view(values.dtype).mean(dtype=values.dtype))


median_magnitude = Kernel("median_magnitude", reference=_reference, cpu=_numba)
