"""Figures of what a network has learned, as Schuler et al. 2015 draw it: filters, feature images, PSFs, regulariser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconvnet.errors import DeconvnetError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deconvnet.networks.burst_quotient import QuotientBurst
    from deconvnet.networks.photo_stage import Stage

__all__ = ["StageMaps", "burst_beta_figure", "filters_figure", "maps_figure", "psfs_figure"]

#: Width of a small picture in a figure, in inches.
WIDTH = 2.2
#: Filters of one input channel in a row.
FILTERS_ACROSS = 8
#: Share of the feature images' pixels that is shown without clipping.
SHOWN = 0.995


class StageMaps(NamedTuple):
    """What one stage makes of one photo; NumPy arrays.

    Attributes
    ----------
    name : str
        As in ``Pyramid.stage_names``.
    blurry : float array (H, W)
        What the stage sees: the photo at the resolution of its scale, without its mean.
    latent_in : float array (H, W), or None
        The latent image that it sees beside it, without mean too.
    sharp, blurred : float array (m, h, w)
        Feature images x̃_i and ỹ_i, faded at their borders.
    psf : float array (k, k)
    latent : float array (H, W)
        The quick latent image with that PSF; the mean is added again.
    """

    name: str
    blurry: np.ndarray
    latent_in: np.ndarray | None
    sharp: np.ndarray
    blurred: np.ndarray
    psf: np.ndarray
    latent: np.ndarray


def _figure(rows: int, columns: int, height: float, title: str, *, aspect: float = 1.0) -> tuple[Figure, Any]:
    """A figure with a grid of axes that show pictures only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (max(WIDTH * columns, 3.5), height * rows * aspect + 0.3 * rows + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    return figure, axes


def _show(ax, picture, title, low, high):
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_title(title, fontsize=8)


def _mosaic(tiles: np.ndarray, across: int) -> np.ndarray:
    """Tiles (n, h, w) in rows, NaN between them."""
    count, height, width = tiles.shape
    down = -(-count // across)
    canvas = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan, tiles.dtype)
    for i, tile in enumerate(tiles):
        top, left = (i // across) * (height + 1), (i % across) * (width + 1)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def filters_figure(stage: Stage, title: str = "") -> Figure:
    """The filters that a stage has learned (Schuler et al. 2015, Fig. 16).

    Parameters
    ----------
    stage : deconvnet.networks.photo_stage.Stage
        On the CPU.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        A block of filters for the blurry image and, if the stage sees one, a block for the latent image; zero is grey,
        and both have one grey scale.
    """
    bank = stage.features.conv.filters.value  # (filters, channels, side, side)
    blocks = [_mosaic(bank[:, channel], min(FILTERS_ACROSS, len(bank))) for channel in range(bank.shape[1])]
    aspect = blocks[0].shape[0] / blocks[0].shape[1]
    figure, axes = _figure(1, len(blocks), 2 * WIDTH, title, aspect=aspect)
    figure.set_size_inches(max(2 * WIDTH * len(blocks), 3.5), 2 * WIDTH * aspect + 0.7)
    largest = float(np.abs(bank).max())
    for ax, block, name in zip(axes[0], blocks, ("of the blurry image", "of the latent image")):
        _show(ax, block, f"filters {name}, ±{largest:.2g}", -largest, largest)
    return figure


def maps_figure(photo: np.ndarray, maps: StageMaps, title: str = "") -> Figure:
    """What one stage makes of a photo (Schuler et al. 2015, Figs. 2 and 18).

    Parameters
    ----------
    photo : float array (H, W)
        In [0, 1].
    maps : StageMaps
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Above the photo, the latent image that came in, the PSF, and the latent image that went out; then the feature
        images x̃_i and ỹ_i, all of them with one grey scale, zero grey.
    """
    mean = float(photo.mean())
    top = [("photo", photo, 0, 1)]
    if maps.latent_in is not None:
        top.append(("latent image before", maps.latent_in + mean, 0, 1))
    top.append((f"PSF, {len(maps.psf)} px", maps.psf, 0, maps.psf.max()))
    top.append(("latent image", maps.latent, 0, 1))
    columns = max(len(top), len(maps.sharp))
    figure, axes = _figure(3, columns, WIDTH, title, aspect=photo.shape[0] / photo.shape[1])
    for ax, entry in zip(axes[0], top):
        name, picture, low, high = entry
        _show(ax, picture, name, low, high)
    reach = float(np.quantile(np.abs([*maps.sharp, *maps.blurred]), SHOWN)) or 1.0
    for row, sign, pictures in ((1, "x", maps.sharp), (2, "y", maps.blurred)):
        for i, picture in enumerate(pictures):
            _show(axes[row][i], picture, rf"$\tilde{{{sign}}}_{i + 1}$, ±{reach:.2g}", -reach, reach)
    return figure


def psfs_figure(maps: Sequence[StageMaps], true_psf: np.ndarray | None = None, title: str = "") -> Figure:
    """The PSF after every stage.

    Parameters
    ----------
    maps : list of StageMaps
        Coarse to fine.
    true_psf : float array (k, k), optional
        Shown at the left of the last row.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        A row for each scale, with one grey scale.
    """
    rows = [[m for m in maps if len(m.psf) == size] for size in sorted({len(m.psf) for m in maps})]
    first = int(true_psf is not None)
    figure, axes = _figure(len(rows), max(len(row) for row in rows) + first, WIDTH, title)
    for row, found in zip(axes, rows):
        shown = [(m.name, m.psf) for m in found]
        if true_psf is not None and found is rows[-1]:
            shown.insert(0, ("true PSF", true_psf))
        largest = max(float(psf.max()) for _, psf in shown)
        for ax, (name, psf) in zip(row[first + len(found) - len(shown) :], shown):
            _show(ax, psf, name, 0, largest)
    return figure


def burst_beta_figure(network: QuotientBurst, title: str = "") -> Figure:
    """The regulariser that a quotient network for bursts has learned, over frequency.

    Parameters
    ----------
    network : deconvnet.networks.burst_quotient.QuotientBurst
        On the CPU.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        log₁₀ β on the frequency plane with zero in the middle, and its mean over rings of equal frequency.

    Raises
    ------
    DeconvnetError
        If the network has no such regulariser.
    """
    if getattr(network, "name", None) != "quotient":
        raise DeconvnetError(
            f"the burst network {network.name!r} has nothing to draw: only quotient networks and networks for photos do"
        )
    side = network.patch
    half = np.asarray(network.log_beta.value, float).reshape(side, -1) / np.log(10)
    columns = np.fft.fftfreq(side, 1 / side).astype(int)
    rows = np.arange(side)
    # The other half is the mirror image through the origin.
    plane = np.where(columns[None] >= 0, half[rows[:, None], abs(columns)[None]], half[-rows[:, None], abs(columns)])
    plane = np.fft.fftshift(plane)
    frequency = np.fft.fftshift(np.fft.fftfreq(side))
    radius = np.hypot(frequency[:, None], frequency)
    ring = np.rint(radius * side).astype(int)
    counts = np.bincount(ring.ravel())
    profile = np.bincount(ring.ravel(), plane.ravel()) / counts

    figure, axes = _figure(1, 2, 1.5 * WIDTH, title)
    figure.set_size_inches(4 * WIDTH, 1.7 * WIDTH)
    shown = axes[0][0].imshow(plane, cmap="gray", extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest")
    axes[0][0].set_title("log₁₀ β over frequency", fontsize=8)
    figure.colorbar(shown, ax=axes[0][0], shrink=0.8)
    axes[0][1].set_axis_on()
    axes[0][1].plot(np.arange(len(profile)) / side, profile)
    axes[0][1].set_xlabel("frequency, cycles per pixel")
    axes[0][1].set_ylabel("mean log₁₀ β")
    return figure
