"""Relative spectra and log powers of a burst from the spectra of its windows, in one pass.

From the pruned spectra of W windows per frame: the ratio of every frame to the burst mean, averaged
over the windows (Welch), and the logarithms of the frames' and the mean's power spectra.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["relative_spectra"]


def _reference(
    windows_hat: Array, relative_floor: float, absolute_floor: float, bound: float
) -> tuple[Array, Array, Array]:
    """Ratio to the burst mean and log powers, per frequency.

    Parameters
    ----------
    windows_hat : complex array (B, N, W, F)
        Spectra of W windows of each frame at F frequencies.
    relative_floor, absolute_floor : float
        The ratio's regulariser is ``relative_floor · mean_f(power) + absolute_floor``.
    bound : float
        Real and imaginary parts of the ratio are clipped to ±bound.

    Returns
    -------
    ratio : real array (B, N, 2, F)
        Real and imaginary part of ``R_i = Σ_w P_iw conj(M_w) / (Σ_w |M_w|² + regulariser)``.
    log_power : real array (B, N, F)
        ``log(Σ_w |P_iw|² + absolute_floor)``.
    log_mean_power : real array (B, F)
        ``log(Σ_w |M_w|² + absolute_floor)``, M the mean over the frames.
    """
    xp = array_module(windows_hat)
    mean = windows_hat.mean(axis=1)  # (B, W, F)
    mean_power = (mean.real**2 + mean.imag**2).sum(axis=1)
    power = (windows_hat.real**2 + windows_hat.imag**2).sum(axis=2)
    floor = relative_floor * mean_power.mean(axis=-1, keepdims=True) + absolute_floor
    cross = (windows_hat * mean.conj()[:, None]).sum(axis=2) / (mean_power + floor)[:, None]
    ratio = xp.clip(xp.stack([cross.real, cross.imag], axis=2), -bound, bound)
    return ratio, xp.log(power + absolute_floor), xp.log(mean_power + absolute_floor)


@compiled(fastmath={"contract"})
def _relative_spectra(parts, relative_floor, absolute_floor, bound, ratio, log_power, log_mean_power, begin, end):
    _, frames, windows, size, _ = parts.shape
    for b in range(begin, end):
        mean = np.zeros((windows, size, 2), dtype=parts.dtype)
        for n in range(frames):
            for w in range(windows):
                for f in range(size):
                    mean[w, f, 0] += parts[b, n, w, f, 0]
                    mean[w, f, 1] += parts[b, n, w, f, 1]
        mean /= parts.dtype.type(frames)
        power = np.zeros(size, dtype=parts.dtype)
        for w in range(windows):
            for f in range(size):
                power[f] += mean[w, f, 0] ** 2 + mean[w, f, 1] ** 2
        floor = relative_floor * power.mean() + absolute_floor
        for f in range(size):
            log_mean_power[b, f] = np.log(power[f] + absolute_floor)
            power[f] = parts.dtype.type(1) / (power[f] + floor)
        re, im, own = np.empty_like(power), np.empty_like(power), np.empty_like(power)
        for n in range(frames):
            re[:] = 0
            im[:] = 0
            own[:] = 0
            for w in range(windows):
                for f in range(size):
                    pr, pi = parts[b, n, w, f, 0], parts[b, n, w, f, 1]
                    mr, mi = mean[w, f, 0], mean[w, f, 1]
                    re[f] += pr * mr + pi * mi
                    im[f] += pi * mr - pr * mi
                    own[f] += pr * pr + pi * pi
            for f in range(size):
                ratio[b, n, 0, f] = min(max(re[f] * power[f], -bound), bound)
                ratio[b, n, 1, f] = min(max(im[f] * power[f], -bound), bound)
                log_power[b, n, f] = np.log(own[f] + absolute_floor)


def _numba(windows_hat, relative_floor, absolute_floor, bound):
    """Burst after burst, its mean in the cache."""
    windows_hat = np.ascontiguousarray(windows_hat)
    real = windows_hat.real.dtype.type
    batch, frames, windows, size = windows_hat.shape
    parts = windows_hat.view(real).reshape(batch, frames, windows, size, 2)
    ratio = np.empty((batch, frames, 2, size), dtype=real)
    log_power = np.empty((batch, frames, size), dtype=real)
    log_mean_power = np.empty((batch, size), dtype=real)
    floors = real(relative_floor), real(absolute_floor), real(bound)
    arguments = parts, *floors, ratio, log_power, log_mean_power
    in_chunks(_relative_spectra, arguments, batch, light(parts[0].size))
    return ratio, log_power, log_mean_power


def _cuda(windows_hat, relative_floor, absolute_floor, bound):
    """The mean over the frames, then a block per frame."""
    xp = array_module(windows_hat)
    windows_hat = xp.ascontiguousarray(windows_hat)
    batch, frames, windows, size = windows_hat.shape
    real = windows_hat.real.dtype
    mean = xp.empty((batch, windows, size), dtype=windows_hat.dtype)
    mean_power, log_mean_power = (xp.empty((batch, size), dtype=real) for _ in range(2))
    ratio = xp.empty((batch, frames, 2, size), dtype=real)
    log_power = xp.empty((batch, frames, size), dtype=real)
    counts = [batch, frames, windows, size]
    arguments = [windows_hat, *counts, absolute_floor, mean, mean_power, log_mean_power]
    grid = (cuda.blocks(size, 256), min(batch, 65535))
    cuda.launch("burst/relative_spectra", "burst_mean", grid, 256, arguments, real=real)
    floors = [relative_floor, absolute_floor, bound]
    arguments = [windows_hat, mean, mean_power, *counts[1:], *floors, ratio, log_power]
    cuda.launch("burst/relative_spectra", "frame_ratio", batch * frames, 256, arguments, real=real)
    return ratio, log_power, log_mean_power


relative_spectra = Kernel("relative_spectra", reference=_reference, cpu=_numba, cuda=_cuda)
