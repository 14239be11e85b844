"""Blur of a camera that moves within the picture's plane: translations and in-plane rotations, one PSF a patch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deconvnet.backend import Array, array_module
from deconvnet.kernels.photo.shifted_sum import shifted_sum

__all__ = ["MotionBasis", "random_motion"]


class MotionBasis:
    """Linear map from the time spent at each camera pose to the PSFs of all patches, and its adjoint.

    Parameters
    ----------
    centres : (float array (rows,), float array (columns,))
        Middles of the patches, in pixels of the picture, as `Patches.centres` gives them.
    shape : (int, int)
        Size (H, W) of the picture; rotations are about its middle.
    psf_size : int
        Side k of the PSFs. The translations are all whole pixels within that support.
    rotations : int, optional
        Number of angles, odd. By default those up to a quarter of the support, as far as the outermost patch moves.
    dtype : numpy dtype

    Attributes
    ----------
    angles : float64 array (A,)
        In radians, a pixel apart at the outermost patch; a positive one turns down (rows) towards right (columns).

    Notes
    -----
    Pose (angle a, translation t) moves the patch centred at c by ``R(a) c − c + t``, so that column (a, t) of B(r) is
    a point there, spread bilinearly over its four pixels; mass that leaves the support is lost. This is the basis of
    Hirsch et al. 2011 (doi:10.1109/ICCV.2011.6126276) that Schuler et al. 2015 (doi:10.1109/TPAMI.2015.2481418),
    Sec. 5.3, use.
    """

    def __init__(
        self,
        centres: Sequence[npt.ArrayLike],
        shape: tuple[int, int],
        psf_size: int,
        *,
        rotations: int | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        middle = [(n - 1) / 2 for n in shape]
        down, across = np.meshgrid(*(np.asarray(c) - m for c, m in zip(centres, middle)), indexing="ij")
        radius = max(float(np.hypot(down, across).max()), 1.0)
        rotations = 2 * (psf_size // 4) + 1 if rotations is None else rotations
        if rotations % 2 == 0:
            raise ValueError(f"{rotations} angles have none in the middle: use an odd number")
        self.angles = np.arange(-(rotations // 2), rotations // 2 + 1) / radius
        self.psf_size = psf_size
        self.grid = down.shape
        cosine, sine = np.cos(self.angles), np.sin(self.angles)
        move_down = down[..., None] * (cosine - 1) - across[..., None] * sine  # (rows, columns, A)
        move_across = down[..., None] * sine + across[..., None] * (cosine - 1)
        whole = np.floor(move_down).astype(np.int32), np.floor(move_across).astype(np.int32)
        part = move_down - whole[0], move_across - whole[1]
        self.dtype = np.dtype(dtype)
        # Where the coefficients of every angle go in every patch's PSF, (patches, A, 2), and the four pixels' weights.
        moves = np.stack(whole, axis=-1).reshape(-1, len(self.angles), 2)
        weights = np.stack(
            [np.stack([np.abs(1 - i - part[0]) * np.abs(1 - j - part[1]) for j in (0, 1)], axis=-1) for i in (0, 1)],
            axis=-2,
        ).reshape(*moves.shape, 2)
        weights = weights.astype(dtype)
        #: Places and weights of `shifted_sum`, there and back. There, a pixel gets what was up and left of it: the
        #: neighbours change places.
        self.there = -1 - moves, np.ascontiguousarray(weights[..., ::-1, ::-1])
        self.back = tuple(np.ascontiguousarray(a.swapaxes(0, 1)) for a in (moves, weights))

    @property
    def poses(self) -> tuple[int, int, int]:
        """Shape (A, k, k) of the coefficients."""
        return len(self.angles), self.psf_size, self.psf_size

    def forward(self, mu: Array) -> Array:
        """PSFs (rows, columns, k, k) from coefficients (A, k, k)."""
        xp = array_module(mu)
        places, weights = self.there
        psfs = shifted_sum(mu, xp.asarray(places), xp.asarray(weights, dtype=mu.dtype))
        return psfs.reshape(*self.grid, self.psf_size, self.psf_size)

    def adjoint(self, psfs: Array) -> Array:
        """Coefficients (A, k, k) from PSFs (rows, columns, k, k): ``Σ_r B(r)ᵀ psf(r)``."""
        xp = array_module(psfs)
        places, weights = self.back
        flat = psfs.reshape(-1, self.psf_size, self.psf_size)
        return shifted_sum(flat, xp.asarray(places), xp.asarray(weights, dtype=psfs.dtype))


def random_motion(rng: np.random.Generator, basis: MotionBasis, *, time_samples: int = 500) -> np.ndarray:
    """Coefficients of a random camera path.

    Parameters
    ----------
    rng : numpy.random.Generator
    basis : MotionBasis
    time_samples : int
        Positions along the path.

    Returns
    -------
    float array (A, k, k)
        Non-negative, of sum 1; ``basis.forward`` of it gives the PSFs.

    Notes
    -----
    Three independent smooth paths: angle, down, across, each a sum of six cosines of falling amplitude with random
    phases, moved to its middle and scaled so that all PSFs stay within the support.
    """
    t = np.linspace(0, 1, time_samples)
    waves = np.arange(1, 7)
    amplitude = rng.standard_normal((3, 6)) / waves**1.5
    phase = rng.uniform(0, 2 * np.pi, (3, 6))
    path = (amplitude[..., None] * np.cos(np.pi * waves[:, None] * t + phase[..., None])).sum(axis=1)
    path -= (path.max(axis=1) + path.min(axis=1))[:, None] / 2
    path /= np.abs(path).max(axis=1, keepdims=True)
    angles, k, _ = basis.poses
    turn = angles // 2
    reach = max(k // 2 - turn - 1, 0)  # what rotation leaves of the support
    position = np.stack([turn * path[0] + turn, reach * path[1] + k // 2, reach * path[2] + k // 2])
    mu = np.zeros(basis.poses, basis.dtype)
    whole = np.floor(position).astype(int)
    part = position - whole
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([np.abs(1 - c - p) for c, p in zip(corner, part)], axis=0)
        index = [np.minimum(w + c, n - 1) for w, c, n in zip(whole, corner, basis.poses)]
        np.add.at(mu, tuple(index), weight / time_samples)
    return mu
