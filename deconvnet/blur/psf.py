"""Blur kernels (PSFs) of camera shake: sampled from a Gaussian process, or taken from recorded shake."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deconvnet.backend import Array, to_device
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.synthesis.counter_random import draw_keys
from deconvnet.kernels.synthesis.psf_sampling import gp_psfs, recorded_psfs

__all__ = ["Shake", "load_shake", "sample_gp_psfs", "sample_recorded_psfs"]

#: Recordings are cut where two samples lie further apart than this many seconds.
LONGEST_GAP = 0.05
#: Shortest and longest exposure of `sample_recorded_psfs`, seconds.
EXPOSURE = (1 / 30, 1 / 2)
#: Rate at which recordings are kept, Hz.
RATE = 250
#: Field of view in which PSFs of recorded shake are taken, ± this many focal lengths.
FIELD = 0.4


class Shake(NamedTuple):
    """Recorded hand shake.

    Attributes
    ----------
    angles : float64 array (K, 3)
        Angles in radians about the picture's horizontal, its vertical and the optical axis, 250 a second, all
        recordings one after the other.
    bounds : int array (R + 1,)
        Recording r is ``angles[bounds[r] : bounds[r + 1]]``.
    """

    angles: np.ndarray
    bounds: np.ndarray


def _prepare(
    count: int, support: npt.ArrayLike, size: int | None, shift: npt.ArrayLike | None
) -> tuple[np.ndarray, int, np.ndarray]:
    """Check and broadcast: supports (count,), the grid's side, shifts (count, 2)."""
    support = np.broadcast_to(np.asarray(support, np.float64), (count,))
    if count and support.min() < 1:
        raise ValueError(f"the support of a PSF is at least 1, not {support.min():g}")
    largest = int(np.ceil(support.max())) if count else 1
    size = largest if size is None else size
    if size < largest:
        raise ValueError(f"a grid of {size} pixels cannot hold a PSF of support {largest}")
    shift = np.zeros((count, 2)) if shift is None else np.broadcast_to(np.asarray(shift, np.float64), (count, 2))
    if count and (shift.min() < -(size // 2) or shift.max() > size - 1 - size // 2):
        raise ValueError(f"the shift leads off the grid of {size} pixels")
    return support, size, shift


def sample_gp_psfs(
    rng: np.random.Generator,
    count: int,
    support: npt.ArrayLike,
    size: int | None = None,
    *,
    shift: npt.ArrayLike | None = None,
    time_samples: int = 1000,
    device: str = "cpu",
) -> Array:
    """PSFs of random camera paths: the two coordinates are independent Gaussian processes.

    Parameters
    ----------
    rng : numpy.random.Generator
    count : int
        Number of PSFs, M.
    support : float or float array (M,)
        Side in pixels of the square that a path may fill, at least 1; 1 is a camera held still. Need not be whole.
    size : int, optional
        Side of the grid, at least the largest support; that support by default.
    shift : float array (M, 2) or (2,), optional
        Offset of the centre of mass in pixels down and right of the middle ``size // 2``, for frames that are not
        registered perfectly; zero by default.
    time_samples : int
        Positions along a path.
    device : {"cpu", "cuda"}
        Where paths are drawn and the PSFs stay; the random numbers are the same.

    Returns
    -------
    float32 array (M, size, size)
        Non-negative, each of sum 1, centre of mass at ``size // 2 + shift``. The same for any number of threads.

    Raises
    ------
    ValueError
        If a support is below 1 or above `size`, or the shift leads off the grid.

    Notes
    -----
    Matérn-3/2 covariance, ``k(t, t') = s² (1 + √3 |t − t'| / l) exp(−√3 |t − t'| / l)`` with l = 0.3 of the exposure
    and s = 1/4 (Schuler et al. 2015, doi:10.1109/TPAMI.2015.2481418, Sec. 3.3). A process with this covariance is a
    Markov chain in its value and its slope, so a path is sampled exactly by a recursion instead of by a Cholesky
    factor of all times.
    The interval [−1/2, 1/2] of the process spans ``support − 1`` pixels, from the first pixel's centre to the last
    one's. A path is first moved to its centre of mass, plus the shift, then splatted bilinearly; one that leaves its
    support or the grid is drawn anew, not clipped. A 3×3 Gaussian of σ = 0.3 px smooths the result (not the PSF of a
    camera held still), and taps below 1e-4 of the mass are set to zero.

    Examples
    --------
    >>> import numpy as np
    >>> psfs = sample_gp_psfs(np.random.default_rng(0), 2, 17)
    >>> psfs.shape, bool(np.allclose(psfs.sum(axis=(1, 2)), 1))
    ((2, 17, 17), True)
    """
    support, size, shift = _prepare(count, support, size, shift)
    arrays = (to_device(a, device) for a in (draw_keys(rng, (count,)), support - 1, shift))
    return gp_psfs(*arrays, size, time_samples)


def load_shake(path: str | Path) -> Shake:
    """Recorded hand shake from text files of a gyroscope's readings.

    Parameters
    ----------
    path : str or Path
        A text file, or a folder whose ``*.txt`` files are read in order of their names. Four columns separated by
        blanks: time in nanoseconds, and the rates of turn in rad/s about the picture's horizontal axis, its vertical
        axis, and the optical axis.

    Returns
    -------
    Shake
        Angles integrated from the rates by the trapezoidal rule. Recordings are cut at gaps of more than 0.05 s;
        pieces shorter than the longest exposure (0.5 s) are left out.

    Raises
    ------
    DeconvnetError
        If there is no such file, or one does not hold four columns of numbers, or no piece is long enough.
    """
    path = Path(path)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DeconvnetError(f"no recorded shake in {path}: give a gyroscope's text file, or a folder with *.txt files")
    traces = []
    for file in files:
        try:
            readings = np.loadtxt(file, ndmin=2)
        except (ValueError, UnicodeDecodeError) as error:
            raise DeconvnetError(f"{file} is not a recording: four columns of numbers are wanted") from error
        if readings.shape[1] != 4 or len(readings) < 2 or not np.isfinite(readings).all():
            raise DeconvnetError(f"{file} is not a recording: four columns of numbers are wanted")
        seconds = (readings[:, 0] - readings[0, 0]) * 1e-9
        cuts = np.flatnonzero((np.diff(seconds) > LONGEST_GAP) | (np.diff(seconds) <= 0)) + 1
        for times, rates in zip(np.split(seconds, cuts), np.split(readings[:, 1:], cuts)):
            if times[-1] - times[0] > EXPOSURE[1]:
                steps = np.diff(times)[:, None] * (rates[1:] + rates[:-1]) / 2
                angles = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
                grid = times[0] + np.arange(int((times[-1] - times[0]) * RATE) + 1) / RATE
                traces.append(np.column_stack([np.interp(grid, times, angle) for angle in angles.T]))
    if not traces:
        raise DeconvnetError(f"the recordings in {path} are too short: at least {EXPOSURE[1]} s are needed")
    return Shake(np.concatenate(traces), np.cumsum([0, *map(len, traces)]))


def sample_recorded_psfs(
    rng: np.random.Generator,
    shake: Shake,
    count: int,
    support: npt.ArrayLike,
    size: int | None = None,
    *,
    shift: npt.ArrayLike | None = None,
    time_samples: int = 500,
    device: str = "cpu",
) -> Array:
    """PSFs of recorded hand shake, each of a random moment and exposure.

    Parameters
    ----------
    rng : numpy.random.Generator
    shake : Shake
        From `load_shake`.
    count, support, size, shift, time_samples, device
        As for `sample_gp_psfs`.

    Returns
    -------
    float32 array (M, size, size)
        As from `sample_gp_psfs`.

    Raises
    ------
    ValueError
        As from `sample_gp_psfs`.

    Notes
    -----
    The exposure is log-uniform between 1/30 s and 1/2 s, the position in the picture (which turns roll
    into displacement) uniform over a field of view of ±0.4 focal lengths, the orientation of the camera (rotation and
    mirror image) random. The focal length in pixels is what makes the path reach ``(support − 1) / 2`` pixels from
    its centre of mass along one axis, or what still fits on the grid together with the shift.
    """
    support, size, shift = _prepare(count, support, size, shift)
    lengths = np.diff(shake.bounds)
    which = rng.choice(len(lengths), count, p=lengths / lengths.sum())
    duration = np.exp(rng.uniform(np.log(EXPOSURE[0]), np.log(EXPOSURE[1]), count)) * RATE
    first = shake.bounds[which] + rng.random(count) * (lengths[which] - 1 - duration)
    field = rng.uniform(-FIELD, FIELD, (2, count))
    turn = rng.uniform(0, 2 * np.pi, count)
    mirror = rng.choice([-1.0, 1.0], count)
    cosine, sine = np.cos(turn), np.sin(turn)
    # Down = pitch + roll · right, right = yaw − roll · down; then the camera's orientation.
    view = np.zeros((count, 2, 3))
    view[:, 0, 0], view[:, 0, 2] = 1, field[1]
    view[:, 1, 1], view[:, 1, 2] = mirror, -mirror * field[0]
    orientation = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=1)
    step = duration / (time_samples - 1)
    arrays = (shake.angles, first, step, orientation @ view, support - 1, shift)
    return recorded_psfs(*(to_device(a, device) for a in arrays), size, time_samples)
