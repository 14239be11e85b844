"""Frames that do not belong to a burst are left out, and those of another exposure brought to that of the rest."""

from __future__ import annotations

import warnings

import numpy as np

from deconvnet.backend import Array, array_module, to_host
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError

__all__ = ["belonging"]

#: Side of the blocks whose means are compared: shake changes them little.
BLOCK = 8
#: Share of the usual correlation with the median frame below which a frame shows something else.
STRANGE = 0.5
#: Exposures that differ by less are taken as they are: shake alone moves light over the border.
EXPOSURE = 0.03
#: Blocks brighter than this tell nothing of the exposure, and pixels brighter than that have lost their light.
BRIGHT, CLIPPED = 0.9, 0.995
#: A brighter frame that has lost the light of so much more of its pixels than the usual one is left out.
LOST = 0.01


def _blocks(frame: Array) -> np.ndarray:
    """Luminance of the means of whole blocks, on the host."""
    height, width = (n // BLOCK * BLOCK for n in frame.shape[:2])
    cut = frame[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, *frame.shape[2:])
    return luminance(to_host(cut.mean(axis=(1, 3)))).astype(np.float64)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt(max((a * a).sum() * (b * b).sum(), 1e-20)))


def belonging(frames: list[Array]) -> list[Array]:
    """The frames of a burst that show the same, alike exposed.

    Parameters
    ----------
    frames : list of real arrays (H, W) or (H, W, 3)
        Registered, of one size, in [0, 1]. The list is empty afterwards.

    Returns
    -------
    list of real arrays, shape of a frame
        In their order: all but those that have little in common with the median frame and those that lost the light of
        bright parts. Of two frames both are kept, and all where fewer than half would be.

    Warns
    -----
    UserWarning
        For each frame that is left out.

    Raises
    ------
    DeconvnetError
        If fewer than two frames are given.

    Notes
    -----
    Means of blocks of 8×8 px are compared. A frame's exposure relative to the median frame is the ratio of their sums
    over blocks that are not nearly white; where it is not 1, the frame is divided by it.
    """
    if len(frames) < 2:
        raise DeconvnetError("a burst needs at least two frames")
    small = np.stack([_blocks(frame) for frame in frames])
    usual = np.median(small, axis=0)
    alike = [_correlation(one, usual) for one in small]
    least = STRANGE * float(np.median(alike))
    lost = [float((frame > CLIPPED).mean()) for frame in frames]
    most = float(np.median(lost)) + LOST
    reasons, exposures = {}, []
    for index, one in enumerate(small):
        seen = (one < BRIGHT) & (usual < BRIGHT)
        exposures.append(float(one[seen].sum() / max(usual[seen].sum(), 1e-6)) if seen.any() else 1.0)
        if alike[index] < least:
            reasons[index] = "it shows something else"
        elif exposures[index] > 1 + EXPOSURE and lost[index] > most:
            reasons[index] = "it is too bright"
    if len(frames) == 2 or 2 * len(reasons) > len(frames):
        reasons = {}
    kept = []
    for index, exposure in enumerate(exposures):
        frame = frames.pop(0)
        if index in reasons:
            warnings.warn(f"frame {index + 1} is left out: {reasons[index]}", stacklevel=2)
        elif len(exposures) > 2 and abs(exposure - 1) > EXPOSURE and exposure > EXPOSURE:
            kept.append(frame / array_module(frame).asarray(exposure, frame.dtype))
        else:
            kept.append(frame)
    return kept
