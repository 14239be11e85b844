"""A row of overlapping patches, weighed with a window, added to a picture."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = ["overlap_add", "overlap_add_cuda", "overlap_add_numba", "overlap_add_reference"]


def overlap_add_reference(picture, patches, window, top, left, step):
    """Add ``window · patches[p]`` to ``picture[top:, left + p · step:]`` for every p, in place.

    Parameters
    ----------
    picture : real array (H, W)
        Sum so far; the patches must lie inside.
    patches : real array (n, k, k)
    window : real array (k, k)
    top, left : int
        Place of the first patch.
    step : int
        Distance of neighbouring patches, at least 1.
    """
    side = window.shape[0]
    for p in range(len(patches)):
        place = left + p * step
        picture[top : top + side, place : place + side] += window * patches[p]


@njit(cache=True, parallel=True, fastmath={"contract"})
def _overlap_add(picture, patches, window, top, left, step):
    for i in prange(window.shape[0]):
        row = picture[top + i]
        for p in range(patches.shape[0]):
            place = left + p * step
            for j in range(window.shape[1]):
                row[place + j] += window[i, j] * patches[p, i, j]


def overlap_add_numba(picture, patches, window, top, left, step):
    """CPU twin of `overlap_add_reference`; parallel over the rows of pixels."""
    _overlap_add(picture, np.ascontiguousarray(patches), window, top, left, step)


def overlap_add_cuda(picture, patches, window, top, left, step):
    """GPU twin of `overlap_add_reference`: one thread per pixel."""
    xp = array_module(picture, patches, window)
    patches, window = xp.ascontiguousarray(patches), xp.ascontiguousarray(window)
    count, side = len(patches), window.shape[0]
    cuda.expect(picture=(picture, picture.shape), patches=(patches, (count, side, side)), window=(window, (side, side)))
    span = (count - 1) * step + side
    if top < 0 or left < 0 or top + side > picture.shape[0] or left + span > picture.shape[1]:
        raise ValueError(f"patches from row {top} and column {left} leave the picture {picture.shape}")
    arguments = [picture, picture.shape[1], patches, count, window, side, top, left, step]
    cuda.launch("burst/overlap_add", "overlap_add", (cuda.blocks(span, 128), side), 128, arguments, real=picture.dtype)


def overlap_add(picture, patches, window, top, left, step):
    """Production form for the arrays' device; see `overlap_add_reference`."""
    body = overlap_add_numba if array_module(picture, patches, window) is np else overlap_add_cuda
    body(picture, patches, window, top, left, step)
