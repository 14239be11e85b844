"""How the figures of `bench/figures.py` are drawn: rows of pictures, curves, bars and tables of numbers."""

from __future__ import annotations

import numpy as np

__all__ = ["curves", "empty_figure", "mosaic", "number_grid", "picture_rows", "psf_picture"]

TITLE = 7  # font size of the small pictures' titles


def empty_figure(width, height):
    """A matplotlib figure of this size in inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def picture_rows(rows, *, figure=None, row_names=None, width=1.75, title=None, extra=0.35):
    """Rows of grey or colour pictures with a title over each.

    Parameters
    ----------
    rows : list of list of (str, array (h, w) or (h, w, 3))
        Title and picture; values from 0 to 1 are shown from black to white, without any stretching. Rows may have
        different lengths.
    figure : Figure or SubFigure, optional
        To draw on; a new one by default.
    row_names : list of str, optional
        Written at the left.
    width : float
        Of a picture, in inches.
    title : str, optional
        Over all of them.
    extra : float
        Inches for the titles of a row.

    Returns
    -------
    Figure
    """
    columns = max(len(row) for row in rows)
    heights = [width * max(p.shape[0] / p.shape[1] for _, p in row) + extra for row in rows]
    if figure is None:
        figure = empty_figure(width * columns + 0.2, sum(heights) + 0.3 * (title is not None))
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for i, row in enumerate(rows):
        for j, ax in enumerate(axes[i]):
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_frame_on(False)
            if j < len(row):
                label, picture = row[j]
                ax.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                ax.set_title(label, fontsize=TITLE)
        if row_names:
            axes[i][0].set_ylabel(row_names[i], fontsize=TITLE + 1)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def curves(ax, lines, *, title, x_label, y_label="", references=None, log=False):
    """Curves in one panel.

    Parameters
    ----------
    ax : Axes
    lines : dict of str to (sequence, sequence)
        Label to x and y.
    title, x_label, y_label : str
    references : dict of str to float, optional
        Horizontal lines.
    log : bool
        Logarithmic x.
    """
    for i, (label, (x, y)) in enumerate(lines.items()):
        ax.plot(x, y, color=f"C{i % 10}", linestyle="-" if i < 10 else "--", marker="o", markersize=2.5, label=label)
    for i, (label, value) in enumerate((references or {}).items()):
        ax.axhline(value, color="0.4", linestyle=("--", ":", "-.")[i % 3], linewidth=1, label=label)
    if log:
        from matplotlib.ticker import NullFormatter, ScalarFormatter

        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted({value for x, _ in lines.values() for value in x}))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7)


def number_grid(ax, values, rows, columns, *, title, digits, least, low_is_good):
    """A table of numbers with shades of colour, the better the greener.

    Parameters
    ----------
    ax : Axes
    values : array (len(rows), len(columns))
    rows, columns : list of str
    title : str
    digits : int
    least : float
        Difference that gets the full range of shades even where the numbers differ by less.
    low_is_good : bool

    Notes
    -----
    Each column is shaded by itself: that is where the rows are compared.
    """
    values = np.asarray(values, dtype=float)
    good = (values - values.min(axis=0)) / np.maximum(np.ptp(values, axis=0), least)
    ax.imshow(1 - good if low_is_good else good, cmap="YlGn", vmin=-0.2, vmax=1.8, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        ax.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(columns)), columns, fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.set_title(title, fontsize=9)


def psf_picture(psf, highest=None):
    """A PSF as a picture: scaled so that ``highest``, by default its own maximum, is white."""
    highest = float(psf.max()) if highest is None else highest
    return np.clip(psf / max(highest, 1e-12), 0, 1)


def mosaic(tiles, columns, *, gap=1, value=0.35):
    """Equal tiles (n, h, w) in rows of so many, with grey lines between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), value, np.float32)
    for i, tile in enumerate(tiles):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas
