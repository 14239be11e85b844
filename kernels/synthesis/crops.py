"""Cutting training crops out of 8-bit photographs: the gradient test, and the copy through a table."""

from __future__ import annotations

import numpy as np
from numba import njit

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = [
    "copy_crop_numba",
    "copy_crop_reference",
    "cut_crops",
    "cut_crops_cuda",
    "cut_crops_reference",
    "gradient_shares_numba",
    "gradient_shares_reference",
]


def gradient_shares_reference(photo, y, x, side, threshold):
    """Shares of the pixels of a square crop with a horizontal and with a vertical step of at least `threshold`.

    Parameters
    ----------
    photo : uint8 array, ``(H, W)``
    y, x, side : int
        The crop.
    threshold : int
        In levels of 1/255.

    Returns
    -------
    tuple of float
        Horizontal and vertical share in [0, 1].
    """
    crop = photo[y : y + side, x : x + side].astype(np.int32)
    horizontal = abs(np.diff(crop, axis=1)) >= threshold
    vertical = abs(np.diff(crop, axis=0)) >= threshold
    return float(horizontal.mean()), float(vertical.mean())


def copy_crop_reference(photo, y, x, transform, table, out):
    """Write ``table[crop]``, turned and mirrored, into the square array `out`.

    Parameters
    ----------
    photo : uint8 array, ``(H, W)``
    y, x : int
        Top left corner of the crop, whose side is that of `out`.
    transform : int
        0 to 7: bit 0 mirrors the rows, bit 1 the columns, bit 2 then transposes.
    table : float array, ``(256,)``
        Value of each level.
    out : float array, ``(S, S)``
    """
    side = len(out)
    crop = photo[y : y + side, x : x + side]
    crop = crop[:: -1 if transform & 1 else 1, :: -1 if transform & 2 else 1]
    out[...] = table[crop.T if transform & 4 else crop]


@njit(cache=True)
def gradient_shares_numba(photo, y, x, side, threshold):
    """`gradient_shares_reference`, compiled."""
    threshold = np.int32(threshold)
    horizontal = np.int32(0)
    vertical = np.int32(0)
    for i in range(y, y + side):
        row = photo[i, x : x + side]
        for j in range(side - 1):
            step = np.int32(abs(np.int32(row[j + 1]) - np.int32(row[j])))
            horizontal += np.int32(1) if step >= threshold else np.int32(0)
    for i in range(y, y + side - 1):
        row, below = photo[i, x : x + side], photo[i + 1, x : x + side]
        for j in range(side):
            step = np.int32(abs(np.int32(below[j]) - np.int32(row[j])))
            vertical += np.int32(1) if step >= threshold else np.int32(0)
    pairs = side * (side - 1)
    return horizontal / pairs, vertical / pairs


@njit(cache=True)
def copy_crop_numba(photo, y, x, transform, table, out):
    """`copy_crop_reference`, compiled."""
    side = out.shape[0]
    for i in range(side):
        for j in range(side):
            row, column = (j, i) if transform & 4 else (i, j)
            row = side - 1 - row if transform & 1 else row
            column = side - 1 - column if transform & 2 else column
            out[i, j] = table[photo[y + row, x + column]]


def cut_crops(levels, start, pitch, side, threshold, least, transform, table):
    """Crops of photographs that lie in one array, each from the first good one of several places.

    Parameters
    ----------
    levels : uint8 array, ``(L,)``
        The photographs' pixels, one photograph after the other.
    start : int64 array, ``(B, T)``
        Index of the top left pixel of every place.
    pitch : int64 array, ``(B, T)``
        Width of the photograph there.
    side : int
        Of the crops.
    threshold : int
        Difference of neighbours, in levels of 1/255, that counts as a step.
    least : int
        A place is good if at least so many pixels have a horizontal step, and so many a vertical one. If none is, that
        with most of them (of the scarcer kind) is taken.
    transform : int32 array, ``(B,)``
        0 to 7: bit 0 mirrors the rows, bit 1 the columns, bit 2 then transposes.
    table : float array, ``(256,)``
        Value of each level.

    Returns
    -------
    float array, ``(B, side, side)``
        dtype of the table.
    """
    implementation = cut_crops_reference if array_module(levels, table) is np else cut_crops_cuda
    return implementation(levels, start, pitch, side, threshold, least, transform, table)


def cut_crops_reference(levels, start, pitch, side, threshold, least, transform, table):
    """`cut_crops` in plain array code."""
    xp = array_module(levels, start, pitch, transform, table)
    square = xp.arange(side)
    crops = xp.empty((len(start), side, side), dtype=table.dtype)
    for b in range(len(start)):
        best, most = None, -1
        for first, across in zip(start[b], pitch[b]):
            crop = levels[first + across * square[:, None] + square]
            count = round(min(gradient_shares_reference(crop, 0, 0, side, threshold)) * side * (side - 1))
            if count > most:
                best, most = crop, count
            if count >= least:
                break
        copy_crop_reference(best, 0, 0, int(transform[b]), table, crops[b])
    return crops


def cut_crops_cuda(levels, start, pitch, side, threshold, least, transform, table):
    """`cut_crops` on the GPU, a block per crop."""
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
