"""Estimated PSFs drawn over the picture, each at its place."""

from __future__ import annotations

import numpy as np

__all__ = ["draw_psfs"]


def draw_psfs(picture, psfs, *, scale=2):
    """A picture, darkened, with the PSFs of one frame over it.

    Parameters
    ----------
    picture : array (H, W) or (H, W, 3)
        In [0, 1].
    psfs : array (rows, columns, k, k)
        PSFs on a regular grid over the picture.
    scale : int
        Pixels per PSF pixel.

    Returns
    -------
    float32 array (H, W, 3)

    Notes
    -----
    As many PSFs of the grid as fit beside each other; each is scaled to its own maximum.
    """
    rows, columns, side, _ = psfs.shape
    height, width = picture.shape[:2]
    base = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)
    canvas = 0.35 * base.astype(np.float32)
    tile = scale * side
    down, across = max(1, min(rows, height // (tile + 4))), max(1, min(columns, width // (tile + 4)))
    for i in range(down):
        for j in range(across):
            psf = psfs[int((i + 0.5) * rows / down), int((j + 0.5) * columns / across)]
            shown = np.kron(psf / max(psf.max(), 1e-12), np.ones((scale, scale)))
            top = max(0, int((i + 0.5) * height / down) - tile // 2)
            left = max(0, int((j + 0.5) * width / across) - tile // 2)
            place = canvas[top : top + tile, left : left + tile]
            shown = shown[: place.shape[0], : place.shape[1], None]
            place += (1 - place) * shown * np.array([1.0, 0.85, 0.3], dtype=np.float32)
    return canvas
