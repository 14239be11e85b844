"""Restoration tables for single photographs: Levin et al.'s benchmark, photographs blurred here, and pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.peers.scikit_image import METHODS, deconvolutions
from bench.rivals.krishnan import krishnan_psf
from bench.scoring.panels import busiest_window, draw_panels, with_psf
from bench.scoring.protocol import BORDER, REACH, aligned_score
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.io import read_image
from deconvnet.metrics import aligned_psf_error, error_ratio
from deconvnet.restore.photo.deblur import deblur

__all__ = ["fitting_psf_size", "score_cases", "score_pairs"]

SIDE = 256  # of the parts that are drawn
#: Published blind methods, ``{name: function(blurry, psf_size)}``.
RIVALS = {"Krishnan 2011": krishnan_psf}
GOOD = 2.0  # error ratio up to which Levin et al. 2009 call a result good


def fitting_psf_size(sizes, psf, refine):
    """The smallest of a model's PSF sizes that holds a PSF, or the largest if none does; any odd size with ``refine``.

    Parameters
    ----------
    sizes : list of int
    psf : array (h, w)
    refine : bool

    Returns
    -------
    int
    """
    if refine:
        return max(psf.shape) | 1
    return min((size for size in sizes if size >= max(psf.shape)), default=max(sizes))


def _best(pictures, case):
    """The picture that comes nearest to the truth of a case."""
    return max(pictures, key=lambda picture: aligned_score(picture, case.sharp).psnr)


def _draw_case(folder, name, shown, scores, psfs, truth):
    """The busiest part of each picture side by side, with the PSFs in their corners."""
    part = busiest_window(truth, SIDE)
    panels = []
    for title, picture in {**shown, "truth": truth}.items():
        cut = np.clip(picture[part], 0, 1)
        cut = with_psf(cut, psfs[title]) if title in psfs else cut
        panels.append((_titled(title, scores[title]) if title in scores else title, cut))
    safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
    draw_panels(Path(folder) / f"{safe}.png", [panels], width=2.6)


def _titled(name, score):
    return f"{name}\n{score.psnr:.2f} dB, SSIM {score.ssim:.3f}"


def _mean(rows):
    """Means of the columns that hold numbers."""
    columns = [name for name, value in rows[0].items() if isinstance(value, float)]
    return {name: float(np.mean([row[name] for row in rows])) for name in columns}


def score_cases(
    cases,
    network,
    *,
    psf_size="auto",
    refine=True,
    nonblind="hyper-laplacian",
    noise=None,
    device="cpu",
    peers=False,
    rivals=False,
    pictures=None,
):
    """Restore blurry photographs of which everything is known.

    Parameters
    ----------
    cases : list of PhotoCase
    network : Pyramid
    psf_size : "auto", "true" or int
        See `deconvnet.deblur`; ``"true"`` tells the size of each true PSF (`fitting_psf_size`).
    refine : bool
        See `deconvnet.deblur`.
    nonblind, noise
        Of `deconvnet.deblur`, the same for estimated and true PSF. Without a noise level, `deblur` trusts the true PSF
        more, which makes the error ratio stricter.
    device : {"cpu", "cuda"}
        Where photos are restored.
    peers : bool
        Also scikit-image's non-blind methods with the true PSF, each at the setting that is best for the case: what
        they could reach.
    rivals : bool
        Also the published methods of `RIVALS`: their PSF at the size of the true one, our final deconvolution.
    pictures : path-like, optional
        Folder for a picture of each case.

    Returns
    -------
    table : list of dict
        One row per case, then their mean; PSNR (in dB) stands under the picture's name.
    facts : dict
        Share of cases with an error ratio of at most 2, and the number of results worse than the blurry input.

    Notes
    -----
    All scores as `bench.scoring.protocol.aligned_score`; with PSFs above 40 px pictures may be moved by an eighth of
    that, and above 60 px a quarter of it is left out at the borders.
    """
    table = []
    for case in tqdm(cases, desc="photographs", unit="case"):
        size = psf_size
        if size == "true":
            size = fitting_psf_size(network.trained_sizes(), case.psf, refine)
        options = {"nonblind": nonblind, "noise": noise, "device": device}
        ours, psf = deblur(case.blurry, model=network, psf_size=size, refine=refine, return_psf=True, **options)
        known = deblur(case.blurry, psf=case.psf, **options)
        shown = {"blurry": case.blurry, "ours": ours, "true PSF": known}
        if peers:
            shown |= {name: _best(deconvolutions(name, case.blurry, case.psf), case) for name in METHODS}
        theirs = {name: find(case.blurry, max(case.psf.shape) | 1) for name, find in RIVALS.items() if rivals}
        shown |= {name: deblur(case.blurry, psf=found, **options) for name, found in theirs.items()}
        room = {"border": max(BORDER, max(case.psf.shape) // 4), "reach": max(REACH, max(case.psf.shape) // 8)}
        scores = {name: aligned_score(picture, case.sharp, **room) for name, picture in shown.items()}
        row = {"case": case.name, "PSF": max(case.psf.shape), "found": max(psf.shape)}
        for name, found in scores.items():
            row |= {name: found.psnr} if name in METHODS else {name: found.psnr, f"{name} SSIM": found.ssim}
        row["above blurry"] = scores["ours"].psnr - scores["blurry"].psnr
        row["error ratio"] = error_ratio(scores["ours"].ssd, scores["true PSF"].ssd)
        row["PSF error"] = aligned_psf_error(psf, case.psf)
        for name, found in theirs.items():
            row[f"{name} ratio"] = error_ratio(scores[name].ssd, scores["true PSF"].ssd)
            row[f"{name} PSF error"] = aligned_psf_error(found, case.psf)
        table.append(row)
        if pictures:
            psfs = {"ours": psf, "true PSF": case.psf, **theirs}
            _draw_case(pictures, case.name, shown, scores, psfs, case.sharp)
    facts = {
        "cases": len(table),
        "share with error ratio up to 2": float(np.mean([row["error ratio"] <= GOOD for row in table])),
        "worse than the blurry input": sum(row["above blurry"] < 0 for row in table),
    }
    for name in RIVALS if rivals else ():
        facts[f"share of {name}"] = float(np.mean([row[f"{name} ratio"] <= GOOD for row in table]))
    return [*table, {"case": "mean", **_mean(table)}], facts


def score_pairs(
    pairs,
    network,
    *,
    psf_size="auto",
    refine=True,
    nonblind="hyper-laplacian",
    noise=None,
    varying=False,
    device="cpu",
    pictures=None,
):
    """Restore the blurry pictures of pairs.

    Parameters
    ----------
    pairs : list of (path, path)
        Blurry and sharp picture.
    network : Pyramid
    psf_size, refine, nonblind, noise, varying, device
        Of `deconvnet.deblur`.
    pictures : path-like, optional

    Returns
    -------
    table : list of dict
        One row per pair, then their mean; PSNR (in dB, under the picture's name) and SSIM of the colours, or of the
        luminances where one is grey.
    facts : dict
        How many results are worse than the blurry input.

    Raises
    ------
    DeconvnetError
        If two pictures differ in size.
    """
    table = []
    for blurry_file, sharp_file in tqdm(pairs, desc="pairs", unit="pair"):
        blurry, sharp = read_image(blurry_file).pixels, read_image(sharp_file).pixels
        if blurry.shape[:2] != sharp.shape[:2] or min(sharp.shape[:2]) <= 2 * BORDER:
            raise DeconvnetError(
                f"{blurry_file.name} and its sharp picture are not of one size above {2 * BORDER} px: crop them first"
            )
        options = {"nonblind": nonblind, "noise": noise, "device": device}
        how = {"psf_size": psf_size, "refine": refine, "varying": varying, **options}
        ours, psf = deblur(blurry, model=network, return_psf=True, **how)
        shown = {"blurry": blurry, "ours": ours}
        if sharp.ndim != blurry.ndim:
            sharp, shown = luminance(sharp), {name: luminance(picture) for name, picture in shown.items()}
        scores = {name: aligned_score(picture, sharp) for name, picture in shown.items()}
        row = {"pair": blurry_file.stem, "found": psf.shape[-1]}
        for name, found in scores.items():
            row |= {name: found.psnr, f"{name} SSIM": found.ssim}
        row["above blurry"] = scores["ours"].psnr - scores["blurry"].psnr
        table.append(row)
        if pictures:
            psfs = {"ours": psf} if psf.ndim == 2 else {}  # many local ones would hide the picture
            _draw_case(pictures, blurry_file.stem, shown, scores, psfs, sharp)
    facts = {"pairs": len(table), "worse than the blurry input": sum(row["above blurry"] < 0 for row in table)}
    return [*table, {"pair": "mean", **_mean(table)}], facts
