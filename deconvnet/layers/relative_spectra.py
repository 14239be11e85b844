"""What a burst's spectra say about its PSFs: each frame's ratio to the burst mean, and log powers.

All frames show the same scene, so the ratio of a frame's spectrum to that of the burst's mean cancels it:
``Y_i / Ȳ ≈ K_i / K̄``. This is the quotient layer of Schuler et al. 2015 (doi:10.1109/TPAMI.2015.2481418) applied
across a burst. The log powers tell what the ratio cannot: how far the spectra fall below those of sharp photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.kernels.burst.relative_spectra import relative_spectra
from deconvnet.kernels.burst.window_spectra import half_plane, window_spectra
from deconvnet.layers.base import Layer
from deconvnet.ops.psf import psf_spectrum, psf_spectrum_backward
from deconvnet.ops.window import hann

__all__ = ["PsfConsistency", "RelativeSpectra", "psf_consistency", "psf_consistency_backward"]


class RelativeSpectra(Layer):
    """Features of every frame of a burst for a network that predicts its PSF.

    Parameters
    ----------
    window : int
        Side of a window in pixels, odd. Windows are 2-D Hann windows.
    steps : sequence of int
        Offsets of the windows in the surround, in both directions, in pixels.
    reach : int
        Highest frequency, in cycles per window.
    dtype : numpy dtype

    Notes
    -----
    ``R_i = Σ_w P_iw conj(M_w) / (Σ_w |M_w|² + 0.02·mean + 1e-3)``, clipped to ±4, with P the windows' spectra and M
    their mean over the frames. The features depend on the photographs only, so there is no `backward`.
    """

    buffer_names = ("shift", "scale")
    relative_floor, absolute_floor, bound = 0.02, 1e-3, 4.0

    def __init__(self, window: int, steps: Sequence[int], reach: int, *, dtype: DTypeLike = np.float32) -> None:
        self.window, self.steps, self.reach = window, tuple(steps), reach
        self.frequencies = 2 * reach * (reach + 1)
        # Log powers of photographs per frequency, before `fit` (0, 1): the identity.
        self.shift = np.zeros(self.frequencies, dtype=dtype)
        self.scale = np.ones((), dtype=dtype)

    @property
    def size(self) -> int:
        """Length of a frame's feature vector."""
        return 4 * self.frequencies

    def _raw(self, frames: Array) -> tuple[Array, Array, Array]:
        profile = tuple(hann(self.window).tolist())
        spectra = window_spectra(frames, profile, self.steps, self.reach)
        return relative_spectra(spectra, self.relative_floor, self.absolute_floor, self.bound)

    def fit(self, frames: Array) -> None:
        """Learn mean per frequency and common spread of the log powers from a sample of frames (B, N, S, S)."""
        _, log_power, _ = self._raw(frames)
        flat = log_power.reshape(-1, self.frequencies)
        self.shift = flat.mean(axis=0)
        self.scale = array_module(flat).asarray((flat - self.shift).std(), dtype=flat.dtype)

    def forward(self, frames: Array, *, train: bool = False) -> tuple[Array, None]:
        """Features (B, N, `size`) of frames (B, N, S, S); the cache is None."""
        xp = array_module(frames)
        ratio, log_power, log_mean_power = self._raw(frames)
        batch, count = log_power.shape[:2]
        log_power = (log_power - self.shift) / self.scale
        log_mean = xp.broadcast_to(((log_mean_power - self.shift) / self.scale)[:, None], log_power.shape)
        return xp.concatenate([ratio.reshape(batch, count, -1), log_power, log_mean], axis=-1), None

    def ratio(self, features: Array) -> Array:
        """The complex ratios R_i (B, N, F) within the features (B, N, `size`)."""
        size = self.frequencies
        return features[..., :size] + 1j * features[..., size : 2 * size]


def psf_consistency(psfs: Array, ratio: Array, grid: int, reach: int) -> Array:
    """How far a burst's PSFs are from having the measured ratios to their mean.

    Parameters
    ----------
    psfs : real array (B, N, k, k)
    ratio : complex array (B, N, F)
        Measured ratios of the frames to the burst mean, as of `RelativeSpectra`.
    grid : int
        Side of the window that the ratios were measured in.
    reach : int
        Their highest frequency.

    Returns
    -------
    real array (B, N, 2·F)
        Real and imaginary parts of ``E_i = R_i · mean_j(K_j) − K_i``, zero for PSFs that explain the ratios.

    Notes
    -----
    Backward, with ``dE = ∂L/∂Re E + i ∂L/∂Im E``: ``dK_i = mean_j(conj(R_j) dE_j) − dE_i``, taken back to pixels.
    """
    xp = array_module(psfs)
    rows, columns = tuple(range(-reach, reach + 1)), tuple(range(reach + 1))
    otf = psf_spectrum(psfs, (grid, grid), rows, columns).reshape(*psfs.shape[:2], -1)
    otf = otf[..., xp.asarray(half_plane(reach))]
    error = ratio * otf.mean(axis=1, keepdims=True) - otf
    return xp.concatenate([error.real, error.imag], axis=-1)


def psf_consistency_backward(derror: Array, side: int, ratio: Array, grid: int, reach: int) -> Array:
    """Gradient (B, N, side, side) of the PSFs of `psf_consistency` from ``derror (B, N, 2·F)``."""
    xp = array_module(derror)
    size = ratio.shape[-1]
    dcomplex = derror[..., :size] + 1j * derror[..., size:]
    dotf = (ratio.conj() * dcomplex).mean(axis=1, keepdims=True) - dcomplex
    rows, columns = tuple(range(-reach, reach + 1)), tuple(range(reach + 1))
    full = xp.zeros((*ratio.shape[:2], len(rows) * len(columns)), dtype=dotf.dtype)
    full[..., xp.asarray(half_plane(reach))] = dotf
    return psf_spectrum_backward(full.reshape(*ratio.shape[:2], len(rows), -1), side, (grid, grid), rows, columns)


class PsfConsistency(Layer):
    """`psf_consistency` as a layer; the ratios get no gradient.

    Parameters
    ----------
    grid : int
        Side of the window that the ratios are measured in, in pixels.
    reach : int
        Their highest frequency, in cycles per window.
    """

    def __init__(self, grid: int, reach: int) -> None:
        self.grid, self.reach = grid, reach

    def forward(self, psfs: Array, ratio: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """Errors (B, N, 2·F) of PSFs (B, N, k, k) against ratios (B, N, F)."""
        error = psf_consistency(psfs, ratio, self.grid, self.reach)
        return error, ((psfs.shape[-1], ratio) if train else None)

    def backward(self, derror: Array, cache: tuple) -> tuple[Array, None]:
        """Gradient (B, N, k, k) of the PSFs, and None for the ratios."""
        side, ratio = cache
        return psf_consistency_backward(derror, side, ratio, self.grid, self.reach), None
