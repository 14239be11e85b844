"""Estimated PSFs as pictures: over the photograph at the places they belong to, or by themselves in a grid."""

from __future__ import annotations

import numpy as np

from deconvnet.colour import luminance

__all__ = ["draw_psf_grid", "draw_psfs"]

#: Brightness of the picture underneath.
DIM = 0.35


def _enlarged(psf: np.ndarray, times: int) -> np.ndarray:
    """A PSF (k, k) normalised to its maximum, each pixel ``times`` pixels wide."""
    highest = psf.max()
    scaled = np.clip(psf / highest, 0, 1) if highest > 0 else np.zeros_like(psf)
    return np.kron(scaled, np.ones((times, times), dtype=psf.dtype))


def _chosen(nodes: int, room: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``nodes`` evenly spread over ``room`` pixels to draw, and the first pixel of each tile of this side."""
    middle = np.linspace(0, room - 1, nodes) if nodes > 1 else np.array([(room - 1) / 2])
    index, most = np.arange(nodes), max(1, room // (side + side // 2))
    if nodes > most:  # evenly spaced ones whose tiles lie in the picture, as much room before as behind
        inside = index[(middle >= side / 2) & (middle <= room - side / 2)]
        index = inside if len(inside) else index[nodes // 2 : nodes // 2 + 1]
        step = -(-len(index) // most)
        index = index[(len(index) - 1) % step // 2 :: step]
    return index, np.clip(np.rint(middle[index] - (side - 1) / 2).astype(int), 0, max(room - side, 0))


def draw_psfs(picture: np.ndarray, psfs: np.ndarray, *, across: int = 12) -> np.ndarray:
    """Draw the PSFs of one frame over a picture.

    Parameters
    ----------
    picture : float array (H, W) or (H, W, 3)
        In [0, 1]; shown dim and grey.
    psfs : float array (rows, columns, k, k)
        PSFs on a grid spread evenly over the picture, from corner to corner.
    across : int
        About how many to draw along the longer side; fewer of a dense grid are drawn than there are, so that they do
        not touch.

    Returns
    -------
    float32 array (H, W, 3)
        Each PSF is normalised to its own maximum (white on black in a frame), with pixels enlarged as the room allows.
    """
    height, width = picture.shape[:2]
    rows, columns, k = psfs.shape[:3]
    times = max(1, int(max(height, width) / across / 1.5) // (k + 2))
    side = k * times + 2
    canvas = np.repeat((DIM * luminance(picture))[..., None], 3, axis=-1).astype(np.float32)
    if side > min(height, width):
        raise ValueError(f"PSFs of {k} pixels have no room in a picture of {width}×{height}")
    row_index, tops = _chosen(rows, height, side)
    column_index, lefts = _chosen(columns, width, side)
    for row, top in zip(row_index, tops):
        for column, left in zip(column_index, lefts):
            tile = canvas[top : top + side, left : left + side]
            tile[...] = (1.0, 0.75, 0.2)
            tile[1:-1, 1:-1] = _enlarged(psfs[row, column], times)[..., None]
    return canvas


def draw_psf_grid(psfs: np.ndarray, *, zoom: int | None = None) -> np.ndarray:
    """All local PSFs in one picture.

    Parameters
    ----------
    psfs : float array (rows, columns, k, k)
        NumPy.
    zoom : int, optional
        Pixels a PSF's pixel is drawn wide; by default so many that the picture is some 800 pixels wide.

    Returns
    -------
    float32 array (h, w)
        White on black, each PSF scaled to its own maximum, grey lines between them.
    """
    rows, columns, k = psfs.shape[:3]
    zoom = max(1, 800 // (columns * (k + 1))) if zoom is None else zoom
    cell = k * zoom + 1
    canvas = np.full((rows * cell + 1, columns * cell + 1), 0.4, np.float32)
    for row, column in np.ndindex(rows, columns):
        psf = psfs[row, column]
        tile = np.kron(psf / max(float(psf.max()), 1e-30), np.ones((zoom, zoom)))
        canvas[row * cell + 1 : (row + 1) * cell, column * cell + 1 : (column + 1) * cell] = tile
    return canvas
