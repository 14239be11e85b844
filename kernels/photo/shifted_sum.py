"""Sums of small images, each shifted by its own fraction of a pixel: PSFs from camera motions, and back.

Array code gathers every image of every sum four times; the compiled bodies add rows where they lie.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks

__all__ = ["shifted_sum"]


def _reference(images: Array, places: Array, weights: Array) -> Array:
    """``out[t, i, j] = Σ_s Σ_uv weights[t, s, u, v] images[s, i + places[t, s, 0] + u, j + places[t, s, 1] + v]``.

    Parameters
    ----------
    images : real array (S, k, k)
        Zero beyond their borders.
    places : int32 array (T, S, 2)
        Rows and columns by which each is shifted, whole pixels.
    weights : real array (T, S, 2, 2)
        Of the pixel found there, and of its neighbours down and across.

    Returns
    -------
    real array (T, k, k)
    """
    xp = array_module(images, weights)
    k = images.shape[-1]
    padded = xp.pad(images, ((0, 0), (k + 1, k + 1), (k + 1, k + 1)))  # beyond that all shifts find only zeros
    start = xp.clip(places, -k - 1, k) + k + 1
    out = xp.zeros((len(weights), k, k), images.dtype)
    for s in range(len(images)):
        rows = start[:, s, 0, None, None] + xp.arange(k)[:, None]
        columns = start[:, s, 1, None, None] + xp.arange(k)
        for u, v in np.ndindex(2, 2):
            out += weights[:, s, u, v, None, None] * padded[s][rows + u, columns + v]
    return out


@compiled(fastmath={"contract"})
def _sums(images, places, weights, out, begin, end):
    k = images.shape[2]
    for t in range(begin, end):
        for s in range(images.shape[0]):
            for u in range(2):
                down = places[t, s, 0] + u
                for v in range(2):
                    across, weight = places[t, s, 1] + v, weights[t, s, u, v]
                    if weight == 0:
                        continue
                    first, last = max(0, -across), min(k, k - across)
                    for i in range(max(0, -down), min(k, k - down)):
                        row, image = out[t, i], images[s, i + down]
                        for j in range(first, last):
                            row[j] += weight * image[j + across]


def _numba(images, places, weights):
    """Sum after sum."""
    images, places, weights = (np.ascontiguousarray(a) for a in (images, places, weights))
    out = np.zeros((len(weights), *images.shape[1:]), images.dtype)
    in_chunks(_sums, (images, places, weights, out), len(out), max(1, (1 << 18) // max(1, images.size)))
    return out


def _cuda(images, places, weights):
    """One thread per pixel of a sum."""
    xp = array_module(images, places, weights)
    images, places, weights = (xp.ascontiguousarray(a) for a in (images, places, weights))
    count, sums, k = len(images), len(weights), images.shape[-1]
    cuda.expect(
        images=(images, (count, k, k)), places=(places, (sums, count, 2)), weights=(weights, (sums, count, 2, 2))
    )
    out = xp.empty((sums, k, k), images.dtype)
    arguments = [images, count, k, places, weights, sums, out]
    cuda.launch("photo/shifted_sum", "shifted_sum", cuda.blocks(out.size, 256), 256, arguments, real=images.dtype)
    return out


shifted_sum = Kernel("shifted_sum", reference=_reference, cpu=_numba, cuda=_cuda)
