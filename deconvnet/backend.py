"""NumPy or CuPy, decided by the arrays passed in; the only file that knows CuPy may be absent.

Everything else in the package asks `array_module` for the namespace of its inputs and calls the
Fourier transforms below. Half spectra have the shape ``(..., H, W//2 + 1)``.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import scipy.fft
import scipy.ndimage

from deconvnet.errors import DeconvnetError, one_of
from deconvnet.parallel import thread_count

try:
    import cupy
except ImportError:  # the CPU needs no CuPy
    cupy = None

__all__ = [
    "Array",
    "array_module",
    "gpu_available",
    "irfft2",
    "irfft2_backward",
    "ndimage",
    "resolve_device",
    "rfft2",
    "rfft2_backward",
    "to_device",
    "to_host",
]

DEVICES = ("auto", "cpu", "cuda")

#: A NumPy or CuPy array. CuPy may be absent when types are checked, and the two have no common type.
Array: TypeAlias = Any


def array_module(*arrays: Array | None) -> Any:
    """Namespace (`numpy` or `cupy`) of the arrays; `None` entries are ignored.

    Raises
    ------
    TypeError
        If NumPy and CuPy arrays are mixed: nothing moves between devices silently.
    """
    if cupy is None:
        return np
    on_gpu = [isinstance(a, cupy.ndarray) for a in arrays if a is not None]
    if any(on_gpu):
        if not all(on_gpu):
            raise TypeError("NumPy and CuPy arrays are mixed; move them with to_device or to_host first")
        return cupy
    return np


def ndimage(*arrays: Array | None) -> ModuleType:
    """`scipy.ndimage` or `cupyx.scipy.ndimage`, whichever works on the arrays: filters, shifts, labels.

    Parameters
    ----------
    *arrays : array
        As for `array_module`; `None` entries are ignored.

    Returns
    -------
    module
        Both have the same functions, of which those that the package uses also have the same parameters.

    Raises
    ------
    TypeError
        If NumPy and CuPy arrays are mixed.

    Examples
    --------
    >>> import numpy as np
    >>> impulse = np.array([0.0, 0.0, 3.0, 0.0, 0.0])
    >>> ndimage(impulse).uniform_filter(impulse, 3)
    array([0., 1., 1., 1., 0.])
    """
    if array_module(*arrays) is np:
        return scipy.ndimage
    import cupyx.scipy.ndimage

    return cupyx.scipy.ndimage


@functools.cache
def gpu_available() -> bool:
    """Whether CuPy is installed *and* a CUDA device answers."""
    if cupy is None:
        return False
    try:
        return cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


def resolve_device(device: str = "auto") -> str:
    """``"cpu"`` or ``"cuda"`` for the wish ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    DeconvnetError
        If the name is unknown, or ``"cuda"`` is wished for and CuPy or the device is missing.
    """
    one_of(device, DEVICES, "device")
    if device == "auto":
        return "cuda" if gpu_available() else "cpu"
    if device == "cuda" and cupy is None:
        raise DeconvnetError(
            "device 'cuda' needs CuPy: install the extra for your CUDA version, "
            "pip install 'deconvnet[cuda12]' or 'deconvnet[cuda13]'"
        )
    if device == "cuda" and not gpu_available():
        raise DeconvnetError("device 'cuda' needs an NVIDIA GPU and its driver, and none answers: use --device cpu")
    return device


def to_device(array: Array, device: str) -> Array:
    """The array on ``"cpu"`` or ``"cuda"``; dtype and values unchanged."""
    if device == "cuda":
        return cupy.asarray(array)
    return to_host(array)


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array."""
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy.asnumpy(array)
    return np.asarray(array)


def rfft2(x: Array) -> Array:
    """Unnormalised 2-D DFT of real ``x (..., H, W)``: complex ``(..., H, W//2 + 1)``."""
    xp = array_module(x)
    if xp is np:
        return scipy.fft.rfft2(x, workers=thread_count())
    return xp.fft.rfft2(x)


def irfft2(x_hat: Array, shape: tuple[int, int]) -> Array:
    """Inverse of `rfft2` (scaled by 1/(H·W)) to real ``(..., H, W)`` with ``shape = (H, W)``."""
    xp = array_module(x_hat)
    if xp is np:
        return scipy.fft.irfft2(x_hat, s=shape, workers=thread_count())
    return xp.fft.irfft2(x_hat, s=shape)


def _column_counts(xp: Any, width: int, dtype: Any) -> Array:
    """How often each half-spectrum column occurs in the full spectrum: 1 or 2."""
    counts = xp.full(width // 2 + 1, 2, dtype=dtype)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return counts


def rfft2_backward(dx_hat: Array, shape: tuple[int, int]) -> Array:
    """Adjoint of `rfft2`: gradient of the real input from ``dx_hat = ∂L/∂Re + i ∂L/∂Im``.

    Notes
    -----
    ``H·W·irfft2`` of the gradient with its interior columns halved: the inverse transform counts
    these twice, the forward transform produced them once.
    """
    xp = array_module(dx_hat)
    height, width = shape
    scale = height * width / _column_counts(xp, width, dx_hat.real.dtype)
    return irfft2(dx_hat * scale, shape)


def irfft2_backward(dx: Array) -> Array:
    """Adjoint of `irfft2`: gradient of the half spectrum, ``∂L/∂Re + i ∂L/∂Im``."""
    xp = array_module(dx)
    height, width = dx.shape[-2:]
    scale = _column_counts(xp, width, dx.dtype) / (height * width)
    return rfft2(dx) * scale
