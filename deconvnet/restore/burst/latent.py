"""The sharp picture of a burst whose PSFs are known: all frames at once, with a sparse prior on the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2, to_device, to_host
from deconvnet.kernels.burst.quotient_sums import quotient_sums
from deconvnet.kernels.burst.spectrum_strips import to_strips
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.differences import differences_power
from deconvnet.ops.psf import psf_to_otf
from deconvnet.progress import step
from deconvnet.restore.blind_steps import value_range
from deconvnet.restore.burst.places import map_on
from deconvnet.restore.deconvolve.priors import CONTINUATION, sparse_divergence
from deconvnet.restore.deconvolve.solvers import estimate_noise

if TYPE_CHECKING:
    from deconvnet.restore.burst.pyramid import WindowPsfs

__all__ = ["BurstSpectra", "sharp_picture", "sparse_latent", "trimmed"]

#: Least standard deviation of the noise, in units of the frames' range.
LEAST_NOISE = 1e-3
#: Weight of the data term times the noise's variance.
DATA_WEIGHT = 0.08
#: Most that a frame counts beside the median one; misfit, relative to the median one, from which on a frame is
#: doubtful, and the power by which it then counts less.
MOST_TRUST, DOUBTFUL, DOUBT = 2.0, 1.5, 4


class BurstSpectra:
    """The half spectra of a burst's frames, continued periodically, and how much each frame counts.

    Parameters
    ----------
    frames : real array (N, H, W)
    size : int
        Side of the largest PSFs.

    Attributes
    ----------
    grid : (int, int)
        The periodic grid (H', W'); the frames are its top left part.
    noise : float
        Standard deviation of the frames' noise.
    gradient_power : real array (H', W'//2 + 1)
        ``|F∇|²``.
    """

    def __init__(self, frames: Array, size: int) -> None:
        self.frames = frames
        self.count, height, width = frames.shape
        self.dtype = frames.dtype.type
        self.noise = self.dtype(max(np.median([estimate_noise(frame) for frame in frames]), LEAST_NOISE))
        self.grid = extended_shape((height, width), size)
        self.y_hat = rfft2(extend_periodically(frames, self.grid))
        self.gradient_power = differences_power(array_module(frames), self.grid, self.dtype)
        self.weigh(array_module(frames).ones(self.count, self.dtype))

    def weigh(self, weights: Array) -> None:
        """Let each frame count by its weight (N,) from now on."""
        self.weights = weights.astype(self.dtype)
        self.roots = array_module(weights).sqrt(self.weights)[:, None, None]
        self.y = to_strips(self.y_hat * self.roots)

    def sums(self, psfs: Array) -> tuple[Array, Array]:
        """``Σ_i w_i conj(K_i) Y_i`` and ``Σ_i w_i |K_i|²``: all that a latent image takes from frames and PSFs."""
        return quotient_sums(psfs * self.roots, self.y, self.grid)

    def sparse(self, psfs: Array) -> Array:
        """The latent image (H', W') under a sparse prior; see `sparse_latent`."""
        return sparse_latent(*self.sums(psfs), self.gradient_power, float(self.noise), self.grid)

    def trust(self, psfs: Array, latent: Array) -> None:
        """Take what a latent image (H', W') and PSFs leave unexplained for noise, in each frame as much as there is.

        That is more than the noise of the sensor: compression, the camera's own processing, errors of the PSFs, and all
        of a frame that shows something else.
        """
        xp = array_module(psfs)
        height, width = self.frames.shape[1:]
        margin = min(psfs.shape[-1] // 2, height // 4, width // 4)  # there, light from beyond the border arrives
        inside = (slice(None), slice(margin, height - margin), slice(margin, width - margin))
        blurred = irfft2(psf_to_otf(psfs, self.grid) * rfft2(latent), self.grid)
        left = xp.maximum((blurred[inside] - self.frames[inside]).std(axis=(1, 2)), self.dtype(LEAST_NOISE))
        self.noise = self.dtype(xp.median(left))
        share = self.noise / left
        self.weigh(xp.minimum(share**2, MOST_TRUST) * xp.minimum(1, (DOUBTFUL * share) ** DOUBT))


def sparse_latent(data: Array, power: Array, gradient_power: Array, noise: float, grid: tuple[int, int]) -> Array:
    """The latent image of a burst with a sparse prior on its gradients.

    Parameters
    ----------
    data, power : array (H', W'//2 + 1)
        ``Σ_i w_i conj(K_i) Y_i``, complex, and ``Σ_i w_i |K_i|²``, real.
    gradient_power : real array (H', W'//2 + 1)
        ``|F∇|²``.
    noise : float
        Standard deviation.
    grid : (int, int)
        Height H' and width W'.

    Returns
    -------
    real array (H', W')

    Notes
    -----
    Minimises ``λ/2 Σ_i w_i ‖psf_i * x − y_i‖² + Σ |∇x|^0.8`` with λ = 0.08 / noise² by half-quadratic splitting
    (Krishnan & Fergus 2009, "Fast image deconvolution using hyper-Laplacian priors"): however many frames there are,
    each step is one quotient and two transforms.
    """
    real = power.dtype.type
    weight = real(DATA_WEIGHT / noise**2)
    data, power = weight * data, weight * power + real(1e-6 * weight)
    x = irfft2(data / (power + real(CONTINUATION[0]) * gradient_power), grid)
    for beta in CONTINUATION:
        target_hat = rfft2(sparse_divergence(x, beta))
        x = irfft2((data + real(beta) * target_hat) / (power + real(beta) * gradient_power), grid)
    return x


def trimmed(psfs: Array) -> Array:
    """PSFs (N, k, k) without the border that is zero in all of them: (N, k', k'), k' odd, at least 3."""
    seen = (psfs > 0).any(axis=0)
    seen = seen.any(axis=0) | seen.any(axis=1)
    seen = to_host(seen | seen[::-1])
    margin = min(int(seen.argmax()), psfs.shape[-1] // 2 - 1) if seen.any() else 0
    return psfs[:, margin : psfs.shape[-1] - margin, margin : psfs.shape[-1] - margin]


def _hat_function(length: int, nodes: np.ndarray, index: int) -> np.ndarray:
    """Weight (length,) of one of the ascending nodes in linear interpolation between them, constant beyond the last."""
    return np.interp(np.arange(length), nodes, np.arange(len(nodes)) == index).astype(np.float32)


def sharp_picture(
    frames: Array, found: WindowPsfs, *, device: str = "cpu", extent: float | None = None, progress: bool = False
) -> np.ndarray:
    """The sharp picture of registered frames and the PSFs of their windows.

    Parameters
    ----------
    frames : float32 array (N, H, W)
        One channel, in [0, 1], on the device.
    found : WindowPsfs
        Of `deconvnet.restore.burst.pyramid.estimate_window_psfs`.
    device : {"cpu", "cuda"}
    extent : float, optional
        Range of the values; that of the frames' mean by default.
    progress : bool
        Show a bar.

    Returns
    -------
    float32 array (H, W)
        On the host, not clipped. The mean of the frames if these show nothing.

    Notes
    -----
    `sparse_latent` for every window and what its PSFs reach beyond it; between the middles of the windows the results
    are interpolated linearly.
    """
    xp = array_module(frames)
    height, width = frames.shape[1:]
    extent = value_range(frames.mean(axis=0)) if extent is None else extent
    if not extent > 0:
        return to_host(frames.mean(axis=0))
    scale = frames.dtype.type(extent)
    rows, columns = found.centres
    picture = np.zeros((height, width), np.float32)

    def part(nodes: np.ndarray, index: int, margin: int, length: int) -> tuple[slice, slice]:
        """Where a window's result counts, and, with its margins, which pixels it is made of."""
        first = 0 if index == 0 else int(np.floor(nodes[index - 1])) + 1
        last = length if index == len(nodes) - 1 else int(np.ceil(nodes[index + 1]))
        return slice(first, last), slice(max(0, first - margin), min(length, last + margin))

    def restore(window: tuple[int, int]) -> tuple[slice, slice, np.ndarray]:
        i, j = window
        psfs = trimmed(to_device(found.psfs[i, j], device))
        size = psfs.shape[-1]
        (down, high), (across, wide) = part(rows, i, size, height), part(columns, j, size, width)
        spectra = BurstSpectra(xp.ascontiguousarray(frames[:, high, wide]) / scale, size)
        spectra.weigh(to_device(found.weights[i, j], device))
        spectra.trust(psfs, spectra.sparse(psfs))
        x = spectra.sparse(psfs)
        top, left = down.start - high.start, across.start - wide.start
        x = x[top : top + down.stop - down.start, left : left + across.stop - across.start]
        restoring.update()
        weight = np.outer(_hat_function(height, rows, i)[down], _hat_function(width, columns, j)[across])
        return down, across, weight * (to_host(x) * scale)

    with step("restoring", len(rows) * len(columns), "window", shown=progress) as restoring:
        for i in range(len(rows)):
            for down, across, result in map_on(restore, [(i, j) for j in range(len(columns))], device):
                picture[down, across] += result
    return picture
