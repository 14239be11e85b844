"""A photo whose blur varies over the picture: local PSFs, their projection on camera motions, and its sparsification.

Schuler et al. 2015, Sec. 5.3, Figs. 11 and 12. With ``--image`` a real photo, such as their Butcher Shop; without one a
photograph is blurred here by a random camera motion, so that PSFs and pictures have scores.
"""

from __future__ import annotations

import numpy as np

from bench.experiments.common import Experiment, Sizes, add_noise, on_one_side, unseen_photographs
from bench.experiments.drawing import picture_rows
from bench.experiments.photo_figures import estimated_psf, load_photo_network
from bench.scoring.protocol import score
from deconvnet.blur.camera_motion import random_motion
from deconvnet.blur.filter_flow import filter_flow
from deconvnet.colour import luminance
from deconvnet.inspect.psf_picture import draw_psf_grid
from deconvnet.io import read_image
from deconvnet.metrics import psf_error
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, REFINED_PSF, deconvolve
from deconvnet.restore.photo.psf import estimate_varying_psfs
from deconvnet.restore.photo.varying import (
    PAPER_ETA,
    choose_grid,
    deconvolve_varying,
    local_psfs,
    motion_basis,
    project_on_motion,
)

__all__ = ["EXPERIMENTS", "local_estimates"]

BORDER = 25  # px left out of the scores


def local_estimates(network, grey, grid):
    """PSFs of all patches after each step of the paper's procedure.

    Parameters
    ----------
    network : Pyramid
        On the CPU.
    grey : float32 array (H, W)
        Luminance in [0, 1].
    grid : (int, int)
        Patches (rows, columns).

    Returns
    -------
    dict of str to array (rows, columns, k, k)
        ``"direct"`` by Eq. (8), ``"projected"`` by Eq. (9) with all coefficients, ``"sparse"`` with the share 0.0314 of
        them, ``"fitted"``, where these are fitted to the direct PSFs, ``"every stage"``, those of `deconvnet.deblur`
        with ``refine=False``, and ``"refined"``, what it uses.

    Notes
    -----
    The feature images are those of the last stage. The latent image that it sees comes from one PSF for the whole
    picture, except for the last two, which are projected and fitted in every stage.
    """
    k = network.trained_sizes()[-1]
    *_, last = network.up_to(k).walk(grey[None])
    direct = local_psfs(last.stage, last.maps[0], grey.shape, grid)
    basis = motion_basis(grey.shape, grid, k, dtype=grey.dtype)
    return {
        "direct": direct,
        "projected": project_on_motion(direct, basis, eta=1.0, refinements=0)[0],
        "sparse": project_on_motion(direct, basis, eta=PAPER_ETA, refinements=0)[0],
        "fitted": project_on_motion(direct, basis)[0],
        "every stage": estimate_varying_psfs(network, grey, k, grid, refine=False),
        "refined": estimate_varying_psfs(network, grey, k, grid),
    }


def _blurred(options, psf_size):
    """A photograph blurred by a camera motion: picture, truth, true PSFs and their grid."""
    (sharp,) = unseen_photographs(options.images, 1, options.side).values()
    rng = np.random.default_rng(options.seed)
    grid = choose_grid(sharp.shape, psf_size)
    basis = motion_basis(sharp.shape, grid, psf_size)
    psfs = basis.forward(random_motion(rng, basis))
    psfs /= psfs.sum(axis=(-2, -1), keepdims=True)
    reach = psf_size // 2
    truth = sharp[reach : sharp.shape[0] - reach, reach : sharp.shape[1] - reach]
    blurry = np.clip(add_noise(rng, filter_flow(sharp, psfs), options.noise), 0, 1)
    return blurry, truth, psfs, grid


def varying(options):
    """Figs. 11 and 12."""
    options.device = "cpu"  # where the intermediate images are looked at
    network = load_photo_network(options)
    psf_size = network.trained_sizes()[-1]
    truth, true_psfs = None, None
    if options.image is None:
        blurry, truth, true_psfs, grid = _blurred(options, psf_size)
    else:
        blurry = read_image(options.image).pixels
        grid = choose_grid(blurry.shape[:2], psf_size)
    grey = np.ascontiguousarray(luminance(blurry))
    estimates = local_estimates(network, grey, grid)
    uniform = estimated_psf(network, grey, options.device)
    restored = {
        "blurry": blurry,
        "one PSF": deconvolve(blurry, uniform, psf_error=ESTIMATED_PSF),
        "varying PSFs": deconvolve_varying(blurry, estimates["refined"], psf_error=REFINED_PSF),
    }
    numbers = {"patches": list(grid)}
    scores = {}
    if truth is not None:
        restored["true PSFs"] = deconvolve_varying(blurry, true_psfs)
        scores = {name: score(picture, truth, BORDER).psnr for name, picture in restored.items()}
        errors = {name: float(psf_error(psfs, true_psfs).mean()) for name, psfs in estimates.items()}
        errors["one PSF"] = float(psf_error(*on_one_side(uniform, true_psfs)).mean())
        numbers.update({"PSF error": errors, "PSNR in dB": scores})
        restored["truth"], estimates["true"] = truth, true_psfs
    numbers["pixels of a PSF above a tenth of its maximum"] = {
        name: float(np.mean((psfs > 0.1 * psfs.max(axis=(-2, -1), keepdims=True)).sum(axis=(-2, -1))))
        for name, psfs in estimates.items()
    }
    named = {
        "direct": "direct, Eq. (8)",
        "projected": "projected, η = 1",
        "sparse": f"sparse, η = {PAPER_ETA}",
        "every stage": "fitted in every stage",
        "refined": "refined",
    }
    rows = [
        [(f"{name}\n{scores[name]:.1f} dB" if name in scores else name, p) for name, p in restored.items()],
        [(named.get(name, name), draw_psf_grid(psfs)) for name, psfs in estimates.items()],
    ]
    return numbers, picture_rows(rows, width=2.6)


EXPERIMENTS = {
    "photo-varying": Experiment(
        "photo paper, Figs. 11 and 12: local PSFs, projected on camera motions, sparse; and the restored picture",
        varying,
        {"model": "photo", "image": None, "images": None, "side": Sizes(400, 144), "noise": 0.01},
    ),
}
