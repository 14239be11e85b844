"""What a trained network has learned and what it does to a photo, drawn as Schuler et al. 2015 draw it.

Filters of every stage (their Fig. 16), feature images, PSF and latent image of every stage (Figs. 2 and 18), the PSF as
it grows from stage to stage, and the regulariser over frequency of a quotient network for bursts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.layers.resample import resample
from deconvnet.networks.io import load_network

__all__ = [
    "StageMaps",
    "burst_beta_figure",
    "filters_figure",
    "inspect_model",
    "maps_figure",
    "psfs_figure",
    "save_figure",
    "stage_maps",
]

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


def stage_maps(network, grey):
    """Run a photo through a pyramid and keep what every stage makes.

    Parameters
    ----------
    network : Pyramid
        On the CPU.
    grey : float array (H, W)
        Luminance in [0, 1].

    Returns
    -------
    list of StageMaps
        Coarse to fine, of all stages that are run.

    Raises
    ------
    DeconvnetError
        If the photo is smaller than twice the PSF.
    """
    sizes = network.trained_sizes()
    network = network.up_to(sizes[-1])
    if min(grey.shape) < network.smallest_image():
        raise DeconvnetError(
            f"the photo is {grey.shape[1]}×{grey.shape[0]} pixels, and PSFs of {network.psf_size} need "
            f"{network.smallest_image()} on the shorter side: use a larger photo"
        )
    mean = grey.mean()
    whole = (grey - mean)[None]
    found, latent, left = [], None, network.depth
    for scale in network.scales:
        shape = tuple(round(n * scale.psf_size / network.psf_size) for n in grey.shape)
        y = whole if shape == grey.shape else resample(whole, shape)
        latent = latent if latent is None else resample(latent, shape)
        for stage in scale.stages[:left]:
            stacked = np.stack([y, latent], axis=1) if stage.latent else y[:, None]
            maps = stage.fade.forward(stage.features.forward(stacked)[0])[0][0]
            psf, _ = stage.forward(y, latent)
            sharper, _ = stage.image.forward(y, psf)
            found.append(
                StageMaps(
                    name=network.stage_names[len(found)],
                    blurry=y[0],
                    latent_in=latent[0] if stage.latent else None,
                    sharp=maps[: stage.pairs],
                    blurred=maps[stage.pairs :],
                    psf=psf[0],
                    latent=sharper[0] + mean,
                )
            )
            latent = sharper
        left -= len(scale.stages)
    return found


def _figure(rows, columns, height, title, *, aspect=1.0):
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


def save_figure(path, figure, dpi=120):
    """Write a figure as a PNG file: beside it first, then renamed.

    Parameters
    ----------
    path : path-like
    figure : matplotlib.figure.Figure
    dpi : int

    Raises
    ------
    DeconvnetError
        If it cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")
    try:
        figure.savefig(beside, dpi=dpi, format="png")
        os.replace(beside, path)
    except OSError as error:
        raise DeconvnetError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _mosaic(tiles, across):
    """Tiles (n, h, w) in rows, NaN between them."""
    count, height, width = tiles.shape
    down = -(-count // across)
    canvas = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan, tiles.dtype)
    for i, tile in enumerate(tiles):
        top, left = (i // across) * (height + 1), (i % across) * (width + 1)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def filters_figure(stage, title=""):
    """The filters that a stage has learned (Schuler et al. 2015, Fig. 16).

    Parameters
    ----------
    stage : deconvnet.networks.photo.Stage
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


def maps_figure(photo, maps, title=""):
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


def psfs_figure(maps, true_psf=None, title=""):
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
        if first and found is rows[-1]:
            shown.insert(0, ("true PSF", true_psf))
        largest = max(float(psf.max()) for _, psf in shown)
        for ax, (name, psf) in zip(row[first + len(found) - len(shown) :], shown):
            _show(ax, psf, name, 0, largest)
    return figure


def burst_beta_figure(network, title=""):
    """The regulariser that a quotient network for bursts has learned, over frequency.

    Parameters
    ----------
    network : deconvnet.networks.quotient_burst.QuotientBurst
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


def _file_name(stage_name):
    """``17px_stage_2`` from ``17 px, stage 2``."""
    return re.sub(r"\W+", "_", stage_name.replace(" px", "px"))


def inspect_model(model, folder, image=None):
    """Draw all there is to see of a model into a folder.

    Parameters
    ----------
    model : str or path-like
        A network that ships, or a ``model.safetensors``.
    folder : path-like
        Made if only its parent exists. Pictures of the same names are replaced.
    image : float array (H, W), optional
        Luminance of a photo in [0, 1], for the intermediate images.

    Returns
    -------
    list of Path
        The pictures: ``filters_*.png`` of each stage and, with an image, ``maps_*.png`` of each stage and
        ``psfs.png``; for a quotient burst network ``beta.png``.

    Raises
    ------
    DeconvnetError
        If the model cannot be used, an image is given for a burst network, or a picture cannot be written.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise DeconvnetError(f"there is no folder {folder.parent} to make {folder.name} in: make it first")
    network = load_network(model)
    if network.kind != "photo":
        if image is not None:
            raise DeconvnetError(f"{model} is for bursts: only networks for photos show what they make of one image")
        figures = {"beta.png": burst_beta_figure(network, f"{Path(model).stem}: regulariser of the quotient")}
    else:
        figures = {}
        for name, stage in list(zip(network.stage_names, network.all_stages()))[: network.depth]:
            figures[f"filters_{_file_name(name)}.png"] = filters_figure(stage, name)
        if image is not None:
            found = stage_maps(network, image)
            for maps in found:
                figures[f"maps_{_file_name(maps.name)}.png"] = maps_figure(image, maps, maps.name)
            figures["psfs.png"] = psfs_figure(found, title="PSF after every stage")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DeconvnetError(f"the folder {folder} cannot be made: {error.strerror}") from error
    for name, figure in figures.items():
        save_figure(folder / name, figure)
    return [folder / name for name in figures]
