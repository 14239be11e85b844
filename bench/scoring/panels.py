"""Pictures side by side: the same part of every restoration, with a line above each."""

from __future__ import annotations

import numpy as np

from deconvnet.colour import luminance
from deconvnet.files import save_figure

__all__ = ["busiest_window", "draw_panels", "with_psf"]


def busiest_window(picture, side):
    """The most detailed part of a picture.

    Parameters
    ----------
    picture : float array (H, W) or (H, W, 3)
    side : int
        Of the part; parts of smaller pictures are as large as they are.

    Returns
    -------
    (slice, slice)
        Rows and columns: of all parts the one with the largest sum of ``|∇Y|``.
    """
    height, width = (min(side, n) for n in picture.shape[:2])
    detail = np.hypot(*np.gradient(luminance(picture)))
    total = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def with_psf(picture, psf, share=4):
    """A copy of a picture with a PSF, scaled to its maximum, in the upper left corner.

    Parameters
    ----------
    picture : float array (H, W) or (H, W, 3)
    psf : float array (h, w)
    share : int
        The PSF is enlarged, by a whole factor, to at most this part of the picture's shorter side.

    Returns
    -------
    array, shape of the picture
    """
    factor = max(1, min(picture.shape[:2]) // share // max(psf.shape))
    shown = np.kron(psf / psf.max(), np.ones((factor, factor)))[: picture.shape[0], : picture.shape[1]]
    out = picture.copy()
    out[: shown.shape[0], : shown.shape[1]] = shown if picture.ndim == 2 else shown[..., None]
    return out


def draw_panels(path, rows, *, width=2.3, dpi=110):
    """Draw rows of pictures with titles.

    Parameters
    ----------
    path : path-like
        PNG; an existing one is replaced.
    rows : list of list of (str, array)
        Title and picture (H, W) or (H, W, 3), values in [0, 1]; the last row may be shorter.
    width : float
        Of a picture, inches.
    dpi : int

    Raises
    ------
    DeconvnetError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = max(len(row) for row in rows)
    heights = [max(p.shape[0] / p.shape[1] for _, p in row) * width for row in rows]
    lines = [max(title.count("\n") + 1 for title, _ in row) for row in rows]
    size = (width * count, sum(heights) + 0.19 * sum(lines) + 0.1)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), count, squeeze=False, height_ratios=heights)
    for line, row in zip(axes, rows):
        for ax in line:
            ax.set_axis_off()
        for ax, (title, picture) in zip(line, row):
            ax.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(title, fontsize=9)
    save_figure(path, figure, dpi)
