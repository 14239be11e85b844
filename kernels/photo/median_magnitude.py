"""Median of magnitudes, by which the noise of a picture is told: by counting, where array code sorts all numbers."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel

__all__ = ["median_magnitude"]

#: Bins of the histogram: the sign, the exponent and the first digits of a number are its first 16 bits.
BINS = 1 << 15
#: Threads of a block of the CUDA kernels, one for each value of eight bits, and the numbers that each of them counts.
DIGITS, EACH = 256, 16


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
def _count(patterns, shift, counts):
    for pattern in patterns:
        counts[pattern >> shift] += 1


def _numba(values: np.ndarray) -> np.ndarray:
    """By a histogram of the numbers' first bits; only those of one bin are sorted."""
    kind = np.dtype(f"i{values.itemsize}")
    patterns, shift = np.abs(values).ravel().view(kind), 8 * values.itemsize - 16  # in the order of the numbers
    counts = np.zeros(BINS, np.int64)
    _count(patterns, shift, counts)
    ends, middle = np.cumsum(counts), np.array([(values.size - 1) // 2, values.size // 2])
    first, last = np.searchsorted(ends, middle, side="right")
    kept = patterns >> shift
    near = np.sort(patterns[(kept == first) | (kept == last)])  # the bins between them are empty
    found = near[middle - (ends[first] - counts[first])]
    return np.asarray(found.view(values.dtype).mean(dtype=values.dtype))


def _cuda(values: Array) -> Array:
    """Eight bits at a time: how often each value of them occurs, and which one the middle has."""
    xp = array_module(values)
    words, size = xp.ascontiguousarray(values).reshape(-1).view(np.uint32), values.size
    found, counts = xp.zeros(2, np.int64), xp.zeros((2, DIGITS), np.uint32)
    place = xp.asarray([(size - 1) // 2, size // 2], dtype=np.int64)

    def launch(kernel, blocks, arguments):
        cuda.launch("photo/median_magnitude", kernel, blocks, DIGITS, arguments, real=values.dtype)

    for shift in range(8 * values.itemsize - 8, -1, -8):
        launch("count_digits", cuda.blocks(size, DIGITS * EACH), [words, size, EACH, shift, found, counts])
        launch("choose_digit", 1, [counts, found, place])
    middle = found.astype(f"i{values.itemsize}").view(values.dtype)
    return xp.asarray(middle.mean(dtype=values.dtype))


median_magnitude = Kernel("median_magnitude", reference=_reference, cpu=_numba, cuda=_cuda)
