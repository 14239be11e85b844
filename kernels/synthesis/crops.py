"""Cutting training crops out of 8-bit photographs: the gradient test, and the copy through a table.

On a GPU `cut_crops` does both for a whole batch; `gradient_shares` and `copy_crop`, for one crop, have no CUDA sources.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks

__all__ = ["copy_crop", "cut_crops", "gradient_shares"]


def _shares_reference(photo: Array, y: int, x: int, side: int, threshold: int) -> tuple[float, float]:
    """Shares of the pixels of a square crop with a horizontal and with a vertical step of at least `threshold`.

    Parameters
    ----------
    photo : uint8 array (H, W)
    y, x, side : int
        The crop.
    threshold : int
        In levels of 1/255.

    Returns
    -------
    tuple of float
        Horizontal and vertical share in [0, 1].
    """
    xp = array_module(photo)
    crop = photo[y : y + side, x : x + side].astype(np.int32)
    horizontal = abs(xp.diff(crop, axis=1)) >= threshold
    vertical = abs(xp.diff(crop, axis=0)) >= threshold
    return float(horizontal.mean()), float(vertical.mean())


def _copy_reference(photo: Array, y: int, x: int, transform: int, table: Array, out: Array) -> None:
    """Write ``table[crop]``, turned and mirrored, into the square array `out`.

    Parameters
    ----------
    photo : uint8 array (H, W)
    y, x : int
        Top left corner of the crop, whose side is that of `out`.
    transform : int
        0 to 7: bit 0 mirrors the rows, bit 1 the columns, bit 2 then transposes.
    table : float array (256,)
        Value of each level.
    out : float array (S, S)
    """
    side = len(out)
    crop = photo[y : y + side, x : x + side]
    crop = crop[:: -1 if transform & 1 else 1, :: -1 if transform & 2 else 1]
    out[...] = table[crop.T if transform & 4 else crop]


@compiled
def _steps(levels, start, pitch, side, threshold):
    """How many pixels of a square in flat pixels have a horizontal, and how many a vertical step."""
    threshold = np.int32(threshold)
    horizontal = np.int32(0)
    vertical = np.int32(0)
    for i in range(side):
        row = levels[start + i * pitch : start + i * pitch + side]
        for j in range(side - 1):
            step = np.int32(abs(np.int32(row[j + 1]) - np.int32(row[j])))
            horizontal += np.int32(1) if step >= threshold else np.int32(0)
    for i in range(side - 1):
        first = start + i * pitch
        row, below = levels[first : first + side], levels[first + pitch : first + pitch + side]
        for j in range(side):
            step = np.int32(abs(np.int32(below[j]) - np.int32(row[j])))
            vertical += np.int32(1) if step >= threshold else np.int32(0)
    return horizontal, vertical


@compiled
def _copy(levels, start, pitch, transform, table, out):
    side = out.shape[0]
    for i in range(side):
        for j in range(side):
            row, column = (j, i) if transform & 4 else (i, j)
            row = side - 1 - row if transform & 1 else row
            column = side - 1 - column if transform & 2 else column
            out[i, j] = table[levels[start + row * pitch + column]]


def _shares_numba(photo, y, x, side, threshold):
    """Counted in whole numbers."""
    width = photo.shape[1]
    counts = _steps(photo.reshape(-1), y * width + x, width, side, threshold)
    return counts[0] / (side * (side - 1)), counts[1] / (side * (side - 1))


def _copy_numba(photo, y, x, transform, table, out):
    """Pixel after pixel."""
    width = photo.shape[1]
    _copy(photo.reshape(-1), y * width + x, width, transform, table, out)


gradient_shares = Kernel("gradient_shares", reference=_shares_reference, cpu=_shares_numba)
copy_crop = Kernel("copy_crop", reference=_copy_reference, cpu=_copy_numba)


def _reference(
    levels: Array,
    start: Array,
    pitch: Array,
    side: int,
    threshold: int,
    least: int,
    transform: Array,
    table: Array,
) -> Array:
    """Crops of photographs that lie in one array, each from the first good one of several places.

    Parameters
    ----------
    levels : uint8 array (L,)
        The photographs' pixels, one photograph after the other.
    start : int64 array (B, T)
        Index of the top left pixel of every place.
    pitch : int64 array (B, T)
        Width of the photograph there.
    side : int
        Of the crops.
    threshold : int
        Difference of neighbours, in levels of 1/255, that counts as a step.
    least : int
        A place is good if at least so many pixels have a horizontal step, and so many a vertical one. If none is, that
        with most of them (of the scarcer kind) is taken.
    transform : int32 array (B,)
        0 to 7: bit 0 mirrors the rows, bit 1 the columns, bit 2 then transposes.
    table : float array (256,)
        Value of each level.

    Returns
    -------
    float array (B, side, side)
        dtype of the table.
    """
    xp = array_module(levels, start, pitch, transform, table)
    square = xp.arange(side)
    crops = xp.empty((len(start), side, side), dtype=table.dtype)
    for b in range(len(start)):
        best, most = None, -1
        for first, across in zip(start[b], pitch[b]):
            crop = levels[first + across * square[:, None] + square]
            count = round(min(_shares_reference(crop, 0, 0, side, threshold)) * side * (side - 1))
            if count > most:
                best, most = crop, count
            if count >= least:
                break
        _copy_reference(best, 0, 0, int(transform[b]), table, crops[b])
    return crops


@compiled
def _cut_crops(levels, start, pitch, side, threshold, least, transform, table, crops, begin, end):
    for b in range(begin, end):
        best, most = 0, -1
        for t in range(start.shape[1]):
            horizontal, vertical = _steps(levels, start[b, t], pitch[b, t], side, threshold)
            count = min(horizontal, vertical)
            if count > most:
                best, most = t, count
            if count >= least:
                break
        _copy(levels, start[b, best], pitch[b, best], transform[b], table, crops[b])


def _numba(levels, start, pitch, side, threshold, least, transform, table):
    """Crop after crop."""
    crops = np.empty((len(start), side, side), dtype=table.dtype)
    arrays = levels, np.ascontiguousarray(start), np.ascontiguousarray(pitch)
    in_chunks(_cut_crops, (*arrays, side, threshold, least, transform, table, crops), len(start), 1)
    return crops


def _cuda(levels, start, pitch, side, threshold, least, transform, table):
    """One block per crop."""
    xp = array_module(levels, start, pitch, transform, table)
    levels, start, pitch, transform, table = map(xp.ascontiguousarray, (levels, start, pitch, transform, table))
    count, places = start.shape
    cuda.expect(pitch=(pitch, (count, places)), transform=(transform, (count,)), table=(table, (256,)))
    last = (start + (side - 1) * (pitch + 1)).max() if start.size else 0
    if side < 2 or places < 1 or bool(last >= len(levels)):
        raise ValueError(f"crops of {side} pixels at these places lead beyond the photographs")
    crops = xp.empty((count, side, side), dtype=table.dtype)
    arguments = [levels, start, pitch, places, side, threshold, least, transform, table, crops]
    cuda.launch("synthesis/crops", "cut_crops", count, 256, arguments, real=table.dtype)
    return crops


cut_crops = Kernel("cut_crops", reference=_reference, cpu=_numba, cuda=_cuda)
