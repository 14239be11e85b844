"""Synthetic bursts of whole pictures, everything a network is compared with on them, and the scores of all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.scoring.protocol import Score, score
from bench.scoring.radial import Agreement, radial_agreement
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs, sample_recorded_psfs
from deconvnet.restore.burst.fba import fourier_burst_accumulation
from deconvnet.restore.burst.patches import restore_frames

__all__ = ["BORDER", "FBA_POWERS", "BurstResult", "make_burst", "restore_burst", "without_sharp_frames"]

#: Powers of the Fourier burst accumulation that are tried; the authors use 11.
FBA_POWERS = (3, 5, 7, 11, 15, 20, 30, 50)
#: Pixels left out of the scores on each side.
BORDER = 16


class BurstResult(NamedTuple):
    """What became of a burst.

    Attributes
    ----------
    pictures : dict of str to float32 array (H, W)
        ``"typical frame"`` (the median by PSNR), ``"best frame"``, ``"mean"``, ``"FBA p=11"``, ``"FBA best p"``, then
        the networks by their names.
    scores : dict of str to Score
        Of these pictures.
    powers : dict of int to Score
        Of Fourier burst accumulation at each power; the best one is that of the highest PSNR on this very burst.
    best_power : int
    agreements : dict of str to Agreement
        Of these pictures.
    """

    pictures: dict[str, np.ndarray]
    scores: dict[str, Score]
    powers: dict[int, Score]
    best_power: int
    agreements: dict[str, Agreement]


def make_burst(sharp, frames, support, noise, rng, shake=None):
    """A burst of a sharp picture, blurred, with Gaussian noise.

    Parameters
    ----------
    sharp : float32 array (H, W)
        In [0, 1].
    frames : int
        Number of frames, N.
    support : int
        Side of the PSFs in pixels; 1 for a burst without shake.
    noise : float
        Standard deviation.
    rng : numpy.random.Generator
    shake : Shake, optional
        Recorded shake; paths of a Gaussian process otherwise.

    Returns
    -------
    frames : float32 array (N, H − support + 1, W − support + 1)
        Not clipped.
    truth : float32 array, shape of a frame
        The part of the sharp picture that they show.
    """
    if support <= 1:
        psfs = np.ones((frames, 1, 1), dtype=np.float32)
    elif shake is None:
        psfs = sample_gp_psfs(rng, frames, support)
    else:
        psfs = sample_recorded_psfs(rng, shake, frames, support, support)
    burst = convolve(np.repeat(sharp[None], frames, axis=0), psfs, border="valid")
    burst += noise * rng.standard_normal(burst.shape, dtype=np.float32)
    # The centre of an even PSF lies right of its middle, so that the truth begins one pixel earlier.
    first = psfs.shape[-1] - 1 - psfs.shape[-1] // 2
    return burst, sharp[first : first + burst.shape[1], first : first + burst.shape[2]]


def without_sharp_frames(frames, truth):
    """The blurrier half of a burst, in its order.

    Parameters
    ----------
    frames : array (2N, H, W)
    truth : array (H, W)

    Returns
    -------
    array (N, H, W)
        Those that are further from the truth: what is left when nobody was lucky.
    """
    misfit = ((frames - truth) ** 2).mean(axis=(1, 2))
    return frames[np.sort(np.argsort(misfit)[len(frames) // 2 :])]


def restore_burst(frames, truth, networks, *, stride=10, refine=True, border=BORDER, device="cpu", progress=False):
    """Restore a burst in every way, and score the results.

    Parameters
    ----------
    frames : float32 array (N, H, W)
        Registered.
    truth : float32 array (H, W)
        In [0, 1].
    networks : dict of str to Layer
        Burst networks by the names they get in the result, on the device.
    stride : int
        Distance of neighbouring patches.
    refine : bool
        Refine the networks' PSFs by the frames, as `deconvnet.deblur_burst` does.
    border : int
        Pixels left out of the scores.
    device : {"cpu", "cuda"}
        Where the networks run.
    progress : bool
        Show a bar.

    Returns
    -------
    BurstResult
    """
    each = [score(frame, truth, border).psnr for frame in frames]
    order = np.argsort(each)
    fused = {p: fourier_burst_accumulation(frames, p) for p in FBA_POWERS}
    powers = {p: score(picture, truth, border) for p, picture in fused.items()}
    best_power = max(powers, key=lambda p: powers[p].psnr)
    pictures = {
        "typical frame": frames[order[len(order) // 2]],
        "best frame": frames[order[-1]],
        "mean": frames.mean(axis=0),
        "FBA p=11": fused[11],
        "FBA best p": fused[best_power],
    }
    for name, network in networks.items():
        pictures[name], _ = restore_frames(
            network, frames, stride=stride, refine=refine, device=device, progress=progress
        )
    scores = {name: score(picture, truth, border) for name, picture in pictures.items()}
    agreements = {name: radial_agreement(picture, truth, border) for name, picture in pictures.items()}
    return BurstResult(pictures, scores, powers, best_power, agreements)
