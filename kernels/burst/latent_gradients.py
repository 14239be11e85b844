"""What stands between the transforms of a window's latent image, one pass over memory each."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel

__all__ = ["expected_spectra", "faded_gradients"]


def _spectra_reference(
    data: Array, power: Array, gradient_power: Array, prior: Array, variance: float
) -> tuple[Array, Array]:
    """Expectation of a latent image under a Gaussian prior, and the expected power of its gradients' errors.

    Parameters
    ----------
    data : complex array (H, W//2 + 1)
        ``Σ_i conj(K_i) Y_i``.
    power : real array (H, W//2 + 1)
        ``Σ_i |K_i|²``.
    gradient_power : real array (H, W//2 + 1)
        ``|F∇|²``.
    prior : real array (H, W//2 + 1)
        Power S of the image's gradients before anything is seen, positive.
    variance : float
        Of the noise, σ².

    Returns
    -------
    sharp_hat : complex array (H, W//2 + 1)
        ``data / D`` with ``D = power + σ² |F∇|² / S``.
    uncertain_hat : complex array (H, W//2 + 1)
        ``σ² |F∇|² / D``.
    """
    real = power.dtype.type
    denominator = power + real(variance) * gradient_power / prior
    return data / denominator, (real(variance) * gradient_power / denominator).astype(data.dtype)


@compiled
def _expected_spectra(data, power, gradient_power, prior, variance, sharp_hat, uncertain_hat):
    zero = variance * 0
    for f in range(power.size):
        noise = variance * gradient_power[f]
        inverse = 1 / (power[f] + noise / prior[f])
        sharp_hat[2 * f] = data[2 * f] * inverse
        sharp_hat[2 * f + 1] = data[2 * f + 1] * inverse
        uncertain_hat[2 * f] = noise * inverse
        uncertain_hat[2 * f + 1] = zero


def _spectra_numba(
    data: np.ndarray, power: np.ndarray, gradient_power: np.ndarray, prior: np.ndarray, variance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frequency after frequency."""
    sharp_hat, uncertain_hat = np.empty_like(data), np.empty_like(data)
    reals = (np.ascontiguousarray(a).reshape(-1) for a in (power, gradient_power, prior))
    parts = (np.ascontiguousarray(a).view(power.dtype).reshape(-1) for a in (sharp_hat, uncertain_hat))
    _expected_spectra(
        np.ascontiguousarray(data).view(power.dtype).reshape(-1), *reals, power.dtype.type(variance), *parts
    )
    return sharp_hat, uncertain_hat


def _spectra_cuda(
    data: Array, power: Array, gradient_power: Array, prior: Array, variance: float
) -> tuple[Array, Array]:
    """One thread per frequency."""
    xp = array_module(data, power, gradient_power, prior)
    data, power, gradient_power, prior = (xp.ascontiguousarray(a) for a in (data, power, gradient_power, prior))
    cuda.expect(data=(data, power.shape), gradient_power=(gradient_power, power.shape), prior=(prior, power.shape))
    sharp_hat, uncertain_hat = xp.empty(data.shape, data.dtype), xp.empty(data.shape, data.dtype)
    arguments = [data, power, gradient_power, prior, variance, power.size, sharp_hat, uncertain_hat]
    blocks = cuda.blocks(power.size, 256)
    cuda.launch("burst/latent_gradients", "expected_spectra", blocks, 256, arguments, real=power.dtype)
    return sharp_hat, uncertain_hat


def _gradients_reference(images: Array, down: Array, across: Array, grid: tuple[int, int]) -> Array:
    """Differences to the next pixel down and to the next across, times a window, zero beyond it.

    Parameters
    ----------
    images : real array (N, H', W')
        At least a pixel larger than the window each way.
    down, across : real array (H,), (W,)
        The window's factors.
    grid : (int, int)
        Height and width of the result, at least H and W.

    Returns
    -------
    real array (N, 2, *grid)
    """
    xp = array_module(images, down, across)
    height, width = len(down), len(across)
    here, window = images[:, :height, :width], down[:, None] * across
    out = xp.zeros((len(images), 2, *grid), images.dtype)
    out[:, 0, :height, :width] = (images[:, 1 : height + 1, :width] - here) * window
    out[:, 1, :height, :width] = (images[:, :height, 1 : width + 1] - here) * window
    return out


@compiled
def _faded_gradients(images, down, across, out):
    for n in range(len(images)):
        for i in range(out.shape[2]):
            below, beside = out[n, 0, i], out[n, 1, i]
            if i < down.size:
                here, following, factor = images[n, i], images[n, i + 1], down[i]
                for j in range(across.size):
                    window = factor * across[j]
                    below[j] = (following[j] - here[j]) * window
                    beside[j] = (here[j + 1] - here[j]) * window
                below[across.size :] = 0
                beside[across.size :] = 0
            else:
                below[:] = 0
                beside[:] = 0


def _gradients_numba(images: np.ndarray, down: np.ndarray, across: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Row after row."""
    out = np.empty((len(images), 2, *grid), images.dtype)
    _faded_gradients(np.ascontiguousarray(images), down, across, out)
    return out


def _gradients_cuda(images: Array, down: Array, across: Array, grid: tuple[int, int]) -> Array:
    """One thread per place of the grid."""
    xp = array_module(images, down, across)
    images, down, across = (xp.ascontiguousarray(a) for a in (images, down, across))
    count, tall, wide = images.shape
    height, width = len(down), len(across)
    if height >= tall or width >= wide:
        raise ValueError(f"images of {tall}×{wide} pixels must be larger than the window of {height}×{width}")
    out = xp.empty((count, 2, *grid), images.dtype)
    blocks = (cuda.blocks(grid[0] * grid[1], 256), min(count, 65535))
    arguments = [images, count, tall, wide, down, across, height, width, *grid, out]
    cuda.launch("burst/latent_gradients", "faded_gradients", blocks, 256, arguments, real=images.dtype)
    return out


expected_spectra = Kernel("expected_spectra", reference=_spectra_reference, cpu=_spectra_numba, cuda=_spectra_cuda)
faded_gradients = Kernel("faded_gradients", reference=_gradients_reference, cpu=_gradients_numba, cuda=_gradients_cuda)
