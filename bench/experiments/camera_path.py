"""PSFs of one camera path cut into pieces: what a burst sees when the camera moves on and turns while it is taken.

Wieschollek et al. 2016, Sec. 4.5, cut one recorded trajectory into eight parts, a frame each.
"""

from __future__ import annotations

import numpy as np

from deconvnet.blur.psf import RATE
from deconvnet.errors import DeconvnetError

__all__ = ["fragments_of_path", "gyroscope_path", "path_psfs", "random_path"]

SAMPLES = 2000  # positions along a path
FOCAL = 1.2  # focal length of a recorded path, in widths of the picture
ROLL = 0.5  # how far a sampled path's rotation moves the middle of the border, in units of its translation


def random_path(rng, *, samples=SAMPLES, nodes=400):
    """A camera path from three independent Gaussian processes.

    Parameters
    ----------
    rng : numpy.random.Generator
    samples : int
        Positions, T.
    nodes : int
        Times at which the processes are sampled; linear between them.

    Returns
    -------
    float64 array (T, 3)
        Translation down, translation right, and rotation times half the width of the picture, all in one arbitrary
        unit.

    Notes
    -----
    The covariance of the PSFs that networks train on (Schuler et al. 2015, Sec. 3.3), Matérn-3/2, with a length scale
    of 0.3 of a *part* of the path: the whole lasts eight exposures.
    """
    t = np.linspace(0, 8, nodes)
    distance = np.sqrt(3) * np.abs(t[:, None] - t) / 0.3
    covariance = (1 + distance) * np.exp(-distance) + 1e-9 * np.eye(nodes)
    paths = np.linalg.cholesky(covariance) @ rng.standard_normal((nodes, 3))
    paths[:, 2] *= ROLL
    fine = np.linspace(0, 8, samples)
    return np.column_stack([np.interp(fine, t, path) for path in paths.T])


def gyroscope_path(rng, shake, seconds, *, samples=SAMPLES):
    """A random piece of recorded hand shake.

    Parameters
    ----------
    rng : numpy.random.Generator
    shake : Shake
        From `deconvnet.blur.psf.load_shake`.
    seconds : float
        Its duration.
    samples : int
        Positions, T.

    Returns
    -------
    float64 array (T, 3)
        As of `random_path`; translations are the turns about the picture's axes times the focal length.

    Raises
    ------
    DeconvnetError
        If no recording is that long.
    """
    length = round(seconds * RATE)
    room = np.diff(shake.bounds) - length
    if room.max() <= 1:
        raise DeconvnetError(f"no recording lasts {seconds} s: choose fewer --seconds")
    which = rng.choice(len(room), p=np.maximum(room, 0) / np.maximum(room, 0).sum())
    first = shake.bounds[which] + rng.integers(room[which])
    angles = shake.angles[first : first + length]
    times = np.linspace(0, length - 1, samples)
    pitch, yaw, roll = (np.interp(times, np.arange(length), angle) for angle in angles.T)
    return np.column_stack([FOCAL * pitch, FOCAL * yaw, 0.5 * roll])


def fragments_of_path(path, count):
    """Parts of a path of nearly equal length, each moved to its own mean: a registered burst.

    Parameters
    ----------
    path : array (T, 3)
    count : int

    Returns
    -------
    list of array (about T / count, 3)
    """
    return [part - part.mean(axis=0) for part in np.array_split(path, count)]


def path_psfs(fragments, centres, shape, psf_size):
    """PSFs of every part of a path at every patch.

    Parameters
    ----------
    fragments : list of array (T', 3)
        From `fragments_of_path`.
    centres : (array (rows,), array (columns,))
        Middles of the patches in pixels, as `deconvnet.blur.filter_flow.Patches.centres` gives them.
    shape : (int, int)
        Size of the picture (H, W); rotations are about its middle.
    psf_size : int
        Side k of the PSFs, odd.

    Returns
    -------
    float32 array (N, rows, columns, k, k)
        Each of sum 1.

    Notes
    -----
    A point (d, r) from the middle moves by ``(down − roll · r, right + roll · d)``. One factor, common to all parts and
    places, scales the path so that the longest of all these motions just fits in the PSF. The positions are splatted
    bilinearly.
    """
    down, right = np.meshgrid(
        *(np.asarray(c) - (n - 1) / 2 for c, n in zip(centres, shape)), indexing="ij"
    )  # (rows, columns)
    half_width = shape[1] / 2
    moves = []  # per part (T', rows, columns, 2)
    for part in fragments:
        roll = part[:, 2, None, None] / half_width
        moves.append(np.stack([part[:, 0, None, None] - roll * right, part[:, 1, None, None] + roll * down], axis=-1))
    reach = psf_size // 2
    scale = (reach - 1e-6) / max(np.abs(m).max() for m in moves)
    psfs = np.zeros((len(moves), *down.shape, psf_size, psf_size), np.float32)
    for psf, move in zip(psfs, moves):
        place = scale * move + reach
        whole = np.floor(place).astype(int)
        part = place - whole
        row, column = np.ogrid[: down.shape[0], : down.shape[1]]
        for corner in np.ndindex(2, 2):
            weight = np.prod([np.abs(1 - c - part[..., i]) for i, c in enumerate(corner)], axis=0) / len(move)
            at = [np.minimum(whole[..., i] + c, psf_size - 1) for i, c in enumerate(corner)]
            np.add.at(psf, (row, column, *at), weight)
    return psfs
