"""What a trained network has learned and what it does to a photo, as arrays and as a folder of pictures.

Filters of every stage, feature images, PSF and latent image of every stage, the PSF as it grows from stage to stage,
and the regulariser over frequency of a quotient network for bursts; `deconvnet.inspect.figures` draws them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.files import save_figure
from deconvnet.inspect.figures import StageMaps, burst_beta_figure, filters_figure, maps_figure, psfs_figure
from deconvnet.networks.io import load_network
from deconvnet.networks.photo_pyramid import Pyramid

__all__ = ["inspect_model", "stage_maps"]


def stage_maps(network: Pyramid, grey: np.ndarray) -> list[StageMaps]:
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
    network = network.up_to(network.trained_sizes()[-1])
    mean = grey.mean()
    found = []
    for run in network.walk(grey[None]):
        pairs = run.stage.pairs
        maps = run.stage.faded(run.maps)[0]
        found.append(
            StageMaps(
                name=run.name,
                blurry=run.blurry[0],
                latent_in=None if run.latent_in is None else run.latent_in[0],
                sharp=maps[:pairs],
                blurred=maps[pairs:],
                psf=run.psf[0],
                latent=run.latent[0] + mean,
            )
        )
    return found


def _file_name(stage_name: str) -> str:
    """``17px_stage_2`` from ``17 px, stage 2``."""
    return re.sub(r"\W+", "_", stage_name.replace(" px", "px"))


def inspect_model(
    model: str | os.PathLike[str], folder: str | os.PathLike[str], image: np.ndarray | None = None
) -> list[Path]:
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
