"""Down- and upsampling between the scales of the pyramid: a linear operator and its exact adjoint."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import scipy.sparse

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.resampling import gather_sum

__all__ = ["cubic", "resample", "resample_backward"]

#: Indices and weights (T, size) of the pixels that are summed into one.
_Gather: TypeAlias = tuple[np.ndarray, np.ndarray]


def cubic(t: np.ndarray) -> np.ndarray:
    """Cubic of Keys 1981 with a = −½: interpolates, and is exact for parabolas."""
    t = abs(t)
    inner = (1.5 * t - 2.5) * t * t + 1
    outer = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, inner, np.where(t < 2, outer, 0))


@functools.lru_cache(maxsize=64)
def _taps(size_in: int, size_out: int) -> tuple[_Gather, _Gather]:
    """Indices and weights (T, size_out) of the pixels that make an output pixel, and the same of the adjoint."""
    ratio = size_in / size_out
    stretch = max(1.0, ratio)  # when shrinking, the cubic is widened to keep out what the new grid cannot hold
    centre = (np.arange(size_out) + 0.5) * ratio - 0.5
    first = np.floor(centre - 2 * stretch).astype(int)
    pixel = first + np.arange(int(np.ceil(4 * stretch)) + 2)[:, None]  # (T, size_out)
    weights = cubic((pixel - centre) / stretch)
    weights /= weights.sum(axis=0)
    columns = np.clip(pixel, 0, size_in - 1)  # the border pixel repeats outside
    rows = np.broadcast_to(np.arange(size_out), pixel.shape)
    matrix = scipy.sparse.coo_array((weights.ravel(), (rows.ravel(), columns.ravel())), shape=(size_out, size_in))
    return _gather(matrix.tocsr()), _gather(matrix.T.tocsr())


def _gather(matrix: scipy.sparse.csr_array) -> _Gather:
    """The entries of each row of a sparse matrix, as indices and weights (T, rows); unused ones weigh nothing."""
    count = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(len(count)), count)
    slot = np.arange(len(rows)) - np.repeat(matrix.indptr[:-1], count)
    indices = np.zeros((count.max(), len(count)), dtype=int)
    weights = np.zeros(indices.shape)
    indices[slot, rows], weights[slot, rows] = matrix.indices, matrix.data
    return indices, weights


def _apply(x: Array, indices: np.ndarray, weights: np.ndarray, axis: int) -> Array:
    """Weighted sum of gathered rows (axis −2) or columns (axis −1)."""
    xp = array_module(x)
    y = gather_sum(x.reshape(-1, *x.shape[-2:]), xp.asarray(indices), xp.asarray(weights), axis)
    return y.reshape(*x.shape[:-2], *y.shape[-2:])


def resample(x: Array, shape: tuple[int, int]) -> Array:
    """Images on a coarser or finer grid that covers the same area.

    Parameters
    ----------
    x : real array (..., H, W)
    shape : (int, int)
        Height H' and width W' wanted.

    Returns
    -------
    real array (..., H', W')

    Notes
    -----
    Separable cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711), widened by the ratio when the image
    shrinks, weights normalised to sum 1; outside the image its border pixels repeat. Output pixel i lies at
    ``(i + ½) · H / shape[0] − ½``. The operator is linear; its backward is the adjoint, also computed by gathering.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(8.0)[None].repeat(8, axis=0)
    >>> resample(ramp, (4, 4))[0].round(2).tolist()
    [0.51, 2.49, 4.51, 6.49]
    """
    rows, columns = _taps(x.shape[-2], shape[0])[0], _taps(x.shape[-1], shape[1])[0]
    return _apply(_apply(x, *columns, -1), *rows, -2)


def resample_backward(dy: Array, shape: tuple[int, int]) -> Array:
    """Adjoint of `resample`: gradient (..., H, W) of images of that height and width."""
    rows, columns = _taps(shape[0], dy.shape[-2])[1], _taps(shape[1], dy.shape[-1])[1]
    return _apply(_apply(dy, *rows, -2), *columns, -1)
