"""Random sharp crops of photographs for training: anywhere, any way up, but not where there is nothing to see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deconvnet.backend import Array, to_device
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.synthesis.crops import copy_crop, cut_crops, gradient_shares

__all__ = ["CropCutter"]

#: A crop is refused when fewer than this share of its pixels have a step of `GRADIENT_STEP` (Schuler et al. 2015,
#: doi:10.1109/TPAMI.2015.2481418).
GRADIENT_SHARE = 0.06
GRADIENT_STEP = 0.05
#: Refusals after which the best crop so far is taken.
MAX_REFUSALS = 20


def _reduce(image: np.ndarray, factor: int) -> np.ndarray:
    """Averages of ``factor × factor`` pixels, uint8."""
    height, width = image.shape[0] // factor * factor, image.shape[1] // factor * factor
    blocks = image[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.ascontiguousarray((blocks.mean(axis=(1, 3), dtype=np.float32) + 0.5).astype(np.uint8))


class _Source:
    """Photographs at one scale, with the odds that make every crop position equally likely.

    Parameters
    ----------
    images : list of uint8 array (H, W)
        Those smaller than a crop are left out.
    side : int
        Of the crops.
    """

    def __init__(self, images: Sequence[np.ndarray], side: int) -> None:
        self.images = [np.ascontiguousarray(image) for image in images if min(image.shape) >= side]
        self.room = np.array([image.shape for image in self.images]).reshape(-1, 2) - side + 1
        positions = self.room.prod(axis=1)
        self.cumulative = np.cumsum(positions) / max(positions.sum(), 1)

    def positions(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index of the photograph, top and left of crops, (...) each, for numbers (..., 3) in [0, 1)."""
        index = np.searchsorted(self.cumulative, numbers[..., 0], side="right")
        index = np.minimum(index, len(self.images) - 1)
        top, left = np.moveaxis((numbers[..., 1:] * self.room[index]).astype(np.int64), -1, 0)
        return index, top, left


class _DeviceSources:
    """The photographs of all sources in the memory of a device, one after the other.

    Parameters
    ----------
    sources : list of _Source
    table : float32 array (256,)
        Value of each level.
    device : str
    """

    def __init__(self, sources: Sequence[_Source], table: np.ndarray, device: str) -> None:
        images = [image for source in sources for image in source.images]
        self.levels = to_device(np.concatenate([image.reshape(-1) for image in images]), device)
        self.table = to_device(table, device)
        self.starts = np.cumsum([0, *(image.size for image in images[:-1])])
        self.widths = np.array([image.shape[1] for image in images])
        self.first = np.cumsum([0, *(len(source.images) for source in sources[:-1])])  # photograph of each source
        self.device = device

    def cut(
        self,
        positions: np.ndarray,
        sources: np.ndarray,
        transforms: np.ndarray,
        side: int,
        threshold: int,
        least: int,
    ) -> Array:
        """Crops (B, side, side) at the first good positions, or the best ones; see `cut_crops`."""
        index, top, left = positions
        index = index + self.first[sources][:, None]
        start = self.starts[index] + top * self.widths[index] + left
        start, pitch = (to_device(a.astype(np.int64), self.device) for a in (start, self.widths[index]))
        transforms = to_device(transforms.astype(np.int32), self.device)
        return cut_crops(self.levels, start, pitch, side, threshold, least, transforms, self.table)


class CropCutter:
    """Cuts crops out of photographs at one or several scales.

    Parameters
    ----------
    images : list of uint8 array (H, W)
        Luminance. Those smaller than a crop are not used.
    scales : tuple of float
        Sizes at which photographs are used, 1/k with whole k (averages of k×k pixels), with equal odds.
    side : int
        Of the crops in pixels.
    table : float32 array (256,)
        Value of each level.

    Raises
    ------
    DeconvnetError
        If no photograph is large enough.
    ValueError
        If a scale is not 1/k.
    """

    def __init__(self, images: Sequence[np.ndarray], scales: Sequence[float], side: int, table: np.ndarray) -> None:
        self.side, self.table = side, table
        self.sources = []
        for scale in scales:
            factor = round(1 / scale)
            if abs(factor * scale - 1) > 1e-6:
                raise ValueError(f"scale {scale} is not 1/k for a whole k")
            source = _Source(images if factor == 1 else [_reduce(i, factor) for i in images], side)
            if source.images:
                self.sources.append(source)
        if not self.sources:
            raise DeconvnetError(
                f"none of the {len(images)} photographs is at least {side}×{side} pixels: use larger ones"
            )
        pairs = side * (side - 1)
        self._least = next(n for n in range(int(GRADIENT_SHARE * pairs), pairs + 1) if n / pairs >= GRADIENT_SHARE)
        self._on_device: _DeviceSources | None = None  # made when crops are first asked for on a GPU

    def cut(self, rng: np.random.Generator, batch: int, *, device: str = "cpu") -> Array:
        """Random crops that have something to see in them.

        Parameters
        ----------
        rng : numpy.random.Generator
        batch : int
            B.
        device : {"cpu", "cuda"}
            Where crops are cut and stay: on a GPU from copies of all photographs there. They are the same.

        Returns
        -------
        float array (B, side, side)
            Values of the table.

        Notes
        -----
        Of a random photograph (more likely the larger it is), at a random position, in one of the eight rotations and
        mirror images. Drawn anew while fewer than 6 % of the pixels have a horizontal, or fewer than 6 % a vertical
        step of at least 0.05 (Schuler et al. 2015); after 20 refusals the best one is taken.
        """
        which = rng.integers(len(self.sources), size=batch)
        transforms = rng.integers(8, size=batch)
        numbers = rng.random((batch, MAX_REFUSALS, 3))
        positions = np.empty((3, batch, MAX_REFUSALS), np.int64)
        for i, source in enumerate(self.sources):
            positions[:, which == i] = source.positions(numbers[which == i])
        threshold = math.ceil(GRADIENT_STEP * 255)
        if device != "cpu":
            if self._on_device is None:
                self._on_device = _DeviceSources(self.sources, self.table, device)
            return self._on_device.cut(positions, which, transforms, self.side, threshold, self._least)
        out = np.empty((batch, self.side, self.side), self.table.dtype)
        for b in range(batch):
            images = self.sources[which[b]].images
            best, best_share = (images[0], 0, 0), -1.0
            for index, y, x in positions[:, b].T:
                share = min(gradient_shares(images[index], y, x, self.side, threshold))
                if share > best_share:
                    best, best_share = (images[index], y, x), share
                if share >= GRADIENT_SHARE:
                    break
            copy_crop(*best, int(transforms[b]), self.table, out[b])
        return out
