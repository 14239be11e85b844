"""The PSF of a photo: what the network estimates, refined, and the choice among the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError, is_number, is_whole, short
from deconvnet.networks.protocols import PhotoNetwork
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve
from deconvnet.restore.photo.confidence import GIVEN_UP, confidence, point_psf
from deconvnet.restore.photo.psf_cleanup import (
    SCORING_CROP,
    THRESHOLD,
    clean_psf,
    informative_part,
    sharpen_psf,
    sparsity_cost,
)
from deconvnet.restore.photo.psf_size import (
    ROUNDS,
    Candidate,
    any_large,
    bound_for,
    candidates,
    padded,
    part_for,
    psfs_from_nothing,
    trimmed,
)
from deconvnet.restore.photo.refine import refine_psf
from deconvnet.restore.photo.varying import (
    edge_strength,
    local_psfs,
    motion_basis,
    project_on_motion,
    refine_locally,
    sharpen_locally,
)

__all__ = ["FoundPsf", "check_psf_options", "estimate_psf", "estimate_varying_psfs", "find_psf"]

#: Side of the part of the picture in which PSFs are estimated and refined: more edges than it holds bring nothing new.
REFINED = 1536
#: Of the PSFs from nothing, those of the finest level, whose agreement counts.
BLIND = ROUNDS[-1][1]


def check_psf_options(
    network: PhotoNetwork, psf_size: int | str, sharpen: float, threshold: float, refine: bool = True
) -> int | str:
    """The PSF size that is asked for, ``"auto"`` or an int, after a check of what belongs to it.

    Parameters
    ----------
    network : PhotoNetwork
    psf_size : "auto", int, or str of digits
    sharpen, threshold : float
        As for `estimate_psf`.
    refine : bool
        Without it, only the network's own sizes can be had.

    Raises
    ------
    DeconvnetError
        If the network has no such size, or a number is out of its range.
    """
    if not is_number(sharpen, 0, 2):
        raise DeconvnetError(f"a PSF is sharpened by 0 to 2 pixels (psf_sharpen, --psf-sharpen), not {short(sharpen)}")
    if not (is_number(threshold, 0, 1) and threshold < 1):
        raise DeconvnetError(
            f"a PSF's threshold (psf_threshold, --psf-threshold) is from 0 to below 1, not {short(threshold)}"
        )
    if isinstance(psf_size, str):
        if psf_size == "auto":
            return psf_size
        if psf_size.isdecimal():
            psf_size = int(psf_size)
    sizes = network.trained_sizes()
    if is_whole(psf_size) and psf_size in sizes:
        return int(psf_size)
    if not refine:
        raise DeconvnetError(
            f"the model has no PSF size {short(psf_size)}: use {', '.join(map(str, sizes))} or auto, or another model"
        )
    if not is_whole(psf_size, 3) or int(psf_size) % 2 == 0:
        raise DeconvnetError(f"a PSF size is odd and at least 3 (or auto), not {short(psf_size)}")
    return int(psf_size)


def _usable_sizes(network: PhotoNetwork, shape: Sequence[int], psf_size: int | str) -> list[int]:
    """PSF sizes that the network is asked for and that a photo of this shape has room for."""
    sizes = network.trained_sizes() if psf_size == "auto" else [int(psf_size)]
    usable = [size for size in sizes if min(shape) >= 2 * size]
    if not usable:
        raise DeconvnetError(
            f"the photo is {shape[1]}×{shape[0]} pixels, and a PSF of {sizes[0]} needs {2 * sizes[0]} on the shorter "
            "side: use a smaller PSF size or a larger photo"
        )
    return usable


def _learned(network: PhotoNetwork, grey: Array, sizes: Sequence[int], sharpen: float, threshold: float) -> list[Array]:
    """Cleaned estimates of the network; for a size that it lacks, that of its largest smaller one, if there is any."""
    found = []
    for size in sizes:
        known = [s for s in network.trained_sizes() if s <= size]
        if known:
            raw = network.up_to(known[-1]).estimate_psf(grey[None])[-1][-1][0]
            psf = clean_psf(sharpen_psf(raw, sharpen), threshold)
            found.append(array_module(psf).pad(psf, (size - known[-1]) // 2))
    return found


def _best(found: Sequence[Candidate]) -> Candidate:
    return min(found, key=lambda candidate: candidate.cost)


class FoundPsf(NamedTuple):
    """A PSF (k, k), non-negative and of sum 1, and how far it can be trusted.

    See `deconvnet.restore.photo.confidence.confidence`; None for a network's PSF that was not refined.
    """

    psf: Array
    confidence: float | None


def find_psf(
    network: PhotoNetwork,
    grey: Array,
    psf_size: int | str = "auto",
    *,
    sharpen: float = 0.0,
    threshold: float = THRESHOLD,
    refine: bool = True,
) -> FoundPsf:
    """The PSF of a photo, and how far it can be trusted.

    Parameters
    ----------
    network : PhotoNetwork
        On the device of ``grey``.
    grey : float array (H, W)
        Luminance in [0, 1].
    psf_size : "auto" or int
        One of the network's `trained_sizes`; with ``refine`` any odd size.
    sharpen : float
        Standard deviation, in pixels, of the Gaussian that `sharpen_psf` takes out of the network's estimate.
    threshold : float
        Of `clean_psf`, which comes after that.
    refine : bool
        Refine the network's estimate by the photo's edges; otherwise it is taken as it is.

    Returns
    -------
    FoundPsf
        With ``"auto"`` the PSF is as large as it needs to be; otherwise as large as was told, which is a bound.

    Raises
    ------
    DeconvnetError
        If the photo is smaller than twice the PSF.

    Notes
    -----
    With ``refine`` candidates come from nothing (`psfs_from_nothing`), with ``"auto"`` up to a quarter of the photo's
    shorter side and 151 px. The network's estimate at its smallest size that holds the best of them is refined and
    joins; the one with the least cost of `candidates` is taken. All of this sees only the `informative_part` of a large
    photo. Where it fails so clearly that a sharp picture cannot come of it (see `confidence`), a point is returned
    instead, and the picture stays as it is.

    Without ``refine`` a part of the photo is deconvolved with each, and the PSF is taken whose result has the
    smallest `sparsity_cost`: a PSF that is cut off or wrong makes the picture ring, and ringing is not sparse. The
    misfit of the re-blurred picture tells less: the deconvolution can explain a photo with nearly any PSF.
    """
    usable = _usable_sizes(network, grey.shape, psf_size)
    if refine:
        part = informative_part(grey, REFINED)
        bound = max(bound_for(part.shape), *usable) if psf_size == "auto" else int(psf_size)
        blind = psfs_from_nothing(part, bound)
        border, large = max(map(len, blind)) // 2, any_large(part, blind)
        still, *found = candidates(part, [point_psf(part), *blind], border, large=large)
        if psf_size == "auto":  # the network's size that fits what was found is enough
            usable = [size for size in usable if size >= len(_best(found).psf)][:1]
        learned = _learned(network, part, usable, sharpen, threshold)
        refined = parallel.ordered_map(lambda psf: trimmed(refine_psf(part_for(part, len(psf)), psf)), learned)
        best = _best([*found, *candidates(part, refined, border, large=large)])
        others = [psf for psf in blind[:BLIND] if psf is not best.psf]
        trust = confidence(part, best.psf, others, border, fits=(still.fit, best.fit))
        psf = point_psf(best.psf) if trust < GIVEN_UP else best.psf
        return FoundPsf(psf if psf_size == "auto" else padded(psf, bound), trust)
    learned = _learned(network, grey, usable, sharpen, threshold)
    if len(learned) == 1:
        return FoundPsf(learned[0], None)
    part, border = informative_part(grey, SCORING_CROP), usable[-1] // 2
    costs = [sparsity_cost(deconvolve(part, psf, psf_error=ESTIMATED_PSF), border) for psf in learned]
    return FoundPsf(learned[int(np.argmin(costs))], None)


def estimate_psf(
    network: PhotoNetwork,
    grey: Array,
    psf_size: int | str = "auto",
    *,
    sharpen: float = 0.0,
    threshold: float = THRESHOLD,
    refine: bool = True,
) -> Array:
    """The PSF (k, k) of `find_psf`, with the same parameters."""
    return find_psf(network, grey, psf_size, sharpen=sharpen, threshold=threshold, refine=refine).psf


def estimate_varying_psfs(
    network: PhotoNetwork, grey: Array, psf_size: int, grid: Sequence[int], *, refine: bool = True
) -> Array:
    """Local PSFs that one camera motion can have made.

    Parameters
    ----------
    network : PhotoNetwork
        On the device of ``grey``; its coarser scales see one PSF for the whole photo, the finest one many.
    grey : float array (H, W)
        Luminance in [0, 1].
    psf_size : int
        One of the network's `trained_sizes`; with ``refine`` any odd size.
    grid : (int, int)
        Patches (rows, columns).
    refine : bool
        Refine every local PSF by the edges of its own patch; otherwise the network's are taken as they are.

    Returns
    -------
    float array (rows, columns, k, k)
        Non-negative, each of sum 1.

    Raises
    ------
    DeconvnetError
        If the photo is smaller than twice the PSF.

    Notes
    -----
    Schuler et al. 2015, Sec. 5.3, in every stage of the finest scale: the quotient of windowed features, the
    projection on camera motions, and a latent image by local quotients for the stage after. With ``refine`` the local
    PSFs are refined then (`refine_locally`) and projected once more. Patches count by the strength of their edges.
    A size that the network lacks starts from its largest smaller one; below all of them, from one PSF for the photo.
    """
    _usable_sizes(network, grey.shape, psf_size)
    xp = array_module(grey)
    trust = edge_strength(grey, grid)
    known = [size for size in network.trained_sizes() if size <= psf_size]
    if known:
        basis = motion_basis(grey.shape, grid, known[-1], dtype=grey.dtype)
        for run in network.up_to(known[-1]).walk(grey[None]):
            if run.finest:
                psfs = local_psfs(run.stage, run.maps[0], grey.shape, grid)
                psfs, _ = project_on_motion(psfs, basis, weights=trust)
                if not run.last:
                    run.latent = sharpen_locally(run.stage, run.blurry[0], psfs)[None]
        room = (psf_size - known[-1]) // 2
        psfs = xp.pad(psfs, ((0, 0), (0, 0), (room, room), (room, room)))
    else:
        one = estimate_psf(network, grey, psf_size)
        psfs = xp.ascontiguousarray(xp.broadcast_to(one, (*grid, psf_size, psf_size)))
    if refine:
        basis = motion_basis(grey.shape, grid, psf_size, dtype=grey.dtype)
        psfs, _ = project_on_motion(refine_locally(grey, psfs), basis, weights=trust)
    return psfs
