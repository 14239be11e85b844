"""Efficient filter flow: blur that changes smoothly over the picture, as overlapping patches with a PSF each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

from deconvnet import parallel
from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.ops.window import bartlett_hann

__all__ = ["FilterFlow", "Patches", "filter_flow", "patch_grid"]


class Patches(NamedTuple):
    """Overlapping patches along one axis.

    Attributes
    ----------
    first : int array (n,)
        First pixel of each patch.
    windows : float64 array (n, side)
        Their windows; at every pixel those that cover it sum to one.
    """

    first: np.ndarray
    windows: np.ndarray

    @property
    def side(self) -> int:
        """Pixels of a patch."""
        return self.windows.shape[1]

    @property
    def centres(self) -> np.ndarray:
        """Middles of the patches, in pixels."""
        return self.first + (self.side - 1) / 2


def patch_grid(length: int, count: int) -> Patches:
    """Patches of one size that overlap by half and cover an axis.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    count : int
        Number of patches.

    Returns
    -------
    Patches

    Raises
    ------
    ValueError
        If there are more patches than the axis has room for.

    Notes
    -----
    Bartlett-Hann windows divided by their sum: at the ends, where one patch is alone, its window stays at 1.

    Examples
    --------
    >>> patches = patch_grid(12, 2)
    >>> patches.first.tolist(), patches.centres.tolist()
    ([0, 4], [3.5, 7.5])
    >>> patches.windows[0].round(2).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.94, 0.68, 0.32, 0.06]
    """
    if not 1 <= count < length:
        raise ValueError(f"{count} patches do not fit on {length} pixels")
    if count == 1:
        return Patches(np.zeros(1, int), np.ones((1, length)))
    side = 2 * -(-length // (count + 1))
    first = np.rint(np.linspace(0, length - side, count)).astype(int)
    window = bartlett_hann(side)
    total = np.zeros(length)
    for start in first:
        total[start : start + side] += window
    return Patches(first, np.stack([window / total[start : start + side] for start in first]))


def _with_margin(patches: Patches, before: int, after: int) -> Patches:
    """The patches on an axis with a margin at both ends, where the outermost windows go on as they end."""
    windows = np.pad(patches.windows, ((0, 0), (before, after)))
    windows[0, :before] = patches.windows[0, 0]
    windows[-1, patches.side + before :] = patches.windows[-1, -1]
    return Patches(patches.first, windows)


class FilterFlow:
    """The operator ``y = Σ_r psf(r) * (w(r) x)`` and its adjoint.

    Parameters
    ----------
    psfs : float array (rows, columns, k, k)
        PSF of every patch, centre at ``k // 2``.
    shape : (int, int)
        Size of the picture (H, W).
    margins : ((int, int), (int, int))
        Pixels above and below, left and right of the picture where the latent image lives too; the outermost PSFs
        hold there. The operator maps images of the enlarged size onto such images.

    Raises
    ------
    ValueError
        If the patches do not fit on the picture.

    Notes
    -----
    Hirsch et al. 2010 (doi:10.1109/CVPR.2010.5540158): mask first, then convolve. Everything beyond the margins
    counts as zero. Each patch is convolved by FFT, so that n pixels cost n log n. Rows of patches go through together.
    """

    def __init__(
        self,
        psfs: Array,
        shape: tuple[int, int],
        margins: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    ) -> None:
        xp = array_module(psfs)
        self.k = psfs.shape[-1]
        self.shape = tuple(n + before + after for n, (before, after) in zip(shape, margins))
        grids = [patch_grid(n, count) for n, count in zip(shape, psfs.shape[:2])]
        self.rows, self.columns = (_with_margin(g, *m) for g, m in zip(grids, margins))
        sides = (self.rows.side, self.columns.side)
        self.fft_shape = tuple(scipy.fft.next_fast_len(int(n + self.k - 1), real=True) for n in sides)
        padded = xp.zeros((*psfs.shape[:2], *self.fft_shape), psfs.dtype)
        padded[..., : self.k, : self.k] = psfs
        self.otfs = rfft2(padded)
        self.row_windows = xp.asarray(self.rows.windows, dtype=psfs.dtype)
        self.column_windows = xp.asarray(self.columns.windows, dtype=psfs.dtype)

    def _room(self, xp: Any, dtype: npt.DTypeLike) -> Array:
        """Zeros of the enlarged picture with the PSF's reach on both sides."""
        return xp.zeros(tuple(n + self.k - 1 for n in self.shape), dtype)

    def _windows(self, row: int) -> Array:
        """Windows (columns, side, side) of one row of patches."""
        return self.row_windows[row][:, None] * self.column_windows[:, None, :]

    def _each_row(self, function: Callable[[int], Array], xp: Any) -> Iterable[Array]:
        """What a function makes of every row of patches; on the CPU they are shared among the threads."""
        rows = range(len(self.rows.first))
        return parallel.ordered_map(function, rows) if xp is np else map(function, rows)

    def forward(self, x: Array) -> Array:
        """Blurry image from a sharp one; both (H, W) with the margins."""
        xp = array_module(x, self.otfs)
        height, width = self.rows.side, self.columns.side
        out = self._room(xp, x.dtype)
        tall, wide = height + self.k - 1, width + self.k - 1

        def blurred(row: int) -> Array:
            top = self.rows.first[row]
            patches = xp.zeros((len(self.columns.first), *self.fft_shape), x.dtype)
            for patch, left in zip(patches, self.columns.first):
                patch[:height, :width] = x[top : top + height, left : left + width]
            patches[:, :height, :width] *= self._windows(row)
            found = irfft2(rfft2(patches) * self.otfs[row], self.fft_shape)
            band = xp.zeros((tall, out.shape[1]), x.dtype)
            for patch, left in zip(found, self.columns.first):
                band[:, left : left + wide] += patch[:tall, :wide]
            return band

        for top, band in zip(self.rows.first, self._each_row(blurred, xp)):
            out[top : top + tall] += band
        reach = self.k // 2
        return xp.ascontiguousarray(out[reach : reach + self.shape[0], reach : reach + self.shape[1]])

    def adjoint(self, y: Array) -> Array:
        """``Σ_r w(r) · (psf(r) correlated with y)``; both (H, W) with the margins."""
        xp = array_module(y, self.otfs)
        height, width = self.rows.side, self.columns.side
        room = self._room(xp, y.dtype)
        reach = self.k // 2
        room[reach : reach + self.shape[0], reach : reach + self.shape[1]] = y
        out = xp.zeros(self.shape, y.dtype)
        tall, wide = height + self.k - 1, width + self.k - 1

        def correlated(row: int) -> Array:
            top = self.rows.first[row]
            patches = xp.zeros((len(self.columns.first), *self.fft_shape), y.dtype)
            for patch, left in zip(patches, self.columns.first):
                patch[:tall, :wide] = room[top : top + tall, left : left + wide]
            seen = irfft2(rfft2(patches) * self.otfs[row].conj(), self.fft_shape)[:, :height, :width]
            seen *= self._windows(row)
            band = xp.zeros((height, self.shape[1]), y.dtype)
            for patch, left in zip(seen, self.columns.first):
                band[:, left : left + width] += patch
            return band

        for top, band in zip(self.rows.first, self._each_row(correlated, xp)):
            out[top : top + height] += band
        return out


def filter_flow(image: Array, psfs: Array) -> Array:
    """Blur a picture with PSFs that change over it.

    Parameters
    ----------
    image : float array (H, W)
    psfs : float array (rows, columns, k, k)
        Those of the patches that `patch_grid` lays over the picture, centre at ``k // 2``.

    Returns
    -------
    float array (H − k + 1, W − k + 1)
        Border "valid", what needs no pixel beyond it: it starts ``k - 1 - k // 2`` pixels down and right of the image's
        corner. Dtype of the image.

    Raises
    ------
    ValueError
        If the patches do not fit on the picture.

    Notes
    -----
    See `FilterFlow`.

    Examples
    --------
    >>> import numpy as np
    >>> psfs = np.zeros((1, 2, 3, 3))
    >>> psfs[0, 0, 1, 1] = 1  # sharp on the left, smeared across on the right
    >>> psfs[0, 1, 1] = 1 / 3
    >>> stripes = np.tile([0.0, 3.0, 0.0], (9, 4))
    >>> filter_flow(stripes, psfs)[3].round(2).tolist()
    [3.0, 0.0, 0.06, 2.88, 0.06, 0.94, 1.12, 0.94, 1.0, 1.0]
    """
    k = psfs.shape[-1]
    blurred = FilterFlow(psfs.astype(image.dtype, copy=False), image.shape).forward(image)
    start, end = k - 1 - k // 2, k // 2
    return array_module(image).ascontiguousarray(blurred[start : image.shape[0] - end, start : image.shape[1] - end])
