"""A row of overlapping patches, weighed with a window, added to a picture."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["overlap_add"]


def _reference(picture: Array, patches: Array, window: Array, top: int, left: int, step: int) -> None:
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


@compiled(fastmath={"contract"})
def _overlap_add(picture, patches, window, top, left, step, begin, end):
    for i in range(begin, end):
        row = picture[top + i]
        for p in range(patches.shape[0]):
            place = left + p * step
            for j in range(window.shape[1]):
                row[place + j] += window[i, j] * patches[p, i, j]


def _numba(picture, patches, window, top, left, step):
    """Row of pixels after row, each gathers what it gets."""
    arguments = picture, np.ascontiguousarray(patches), window, top, left, step
    in_chunks(_overlap_add, arguments, len(window), light(patches[..., 0, :].size))


def _cuda(picture, patches, window, top, left, step):
    """One thread per pixel."""
    xp = array_module(picture, patches, window)
    patches, window = xp.ascontiguousarray(patches), xp.ascontiguousarray(window)
    count, side = len(patches), window.shape[0]
    cuda.expect(picture=(picture, picture.shape), patches=(patches, (count, side, side)), window=(window, (side, side)))
    span = (count - 1) * step + side
    if top < 0 or left < 0 or top + side > picture.shape[0] or left + span > picture.shape[1]:
        raise ValueError(f"patches from row {top} and column {left} leave the picture {picture.shape}")
    arguments = [picture, picture.shape[1], patches, count, window, side, top, left, step]
    cuda.launch("burst/overlap_add", "overlap_add", (cuda.blocks(span, 128), side), 128, arguments, real=picture.dtype)


overlap_add = Kernel("overlap_add", reference=_reference, cpu=_numba, cuda=_cuda)
