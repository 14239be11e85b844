"""The halves of `deconvnet.deblur`: the PSF alone, and the deconvolution with a PSF that is known."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import ArrayLike

from deconvnet.backend import resolve_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.networks.io import as_network
from deconvnet.networks.protocols import PhotoNetwork
from deconvnet.restore.photo.deblur import checked_photo, deblur, psf_of_photo
from deconvnet.restore.photo.psf import check_psf_options
from deconvnet.restore.photo.psf_cleanup import THRESHOLD
from deconvnet.restore.pixels import as_given, taken

__all__ = ["deconvolve", "estimate_psf"]


def deconvolve(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    method: str = "hyper-laplacian",
    noise: float | None = None,
    channel_axis: int | None = -1,
    device: str = "auto",
    progress: bool = False,
) -> Any:
    """A sharp picture from a blurry one whose PSF is known.

    Parameters
    ----------
    image : array (H, W) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)
        As for `deconvnet.deblur`.
    psf : array (h, w)
        Scaled to sum 1 here; its centre at ``(h//2, w//2)``.
    method : {"hyper-laplacian", "wiener"}
        See `deconvnet.restore.deconvolve.solvers.deconvolve`.
    noise : float, optional
        Standard deviation of the noise; by default estimated. A larger value gives a smoother picture.
    channel_axis : int or None
        Axis of the channels of an image with three axes; None for a grey one.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show a bar.

    Returns
    -------
    float32 array, shape of the image
        In [0, 1], of the image's library; alpha as it was.

    Raises
    ------
    DeconvnetError
        If the image, the PSF or an option cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from deconvnet import deconvolve
    >>> from deconvnet.blur.convolve import convolve
    >>> sharp = np.full((40, 50), 0.2, np.float32)
    >>> sharp[10:30, 15:40] = 0.8
    >>> psf = np.ones((1, 5), np.float32) / 5
    >>> picture = deconvolve(convolve(sharp, psf, border="reflect"), psf, method="wiener", device="cpu")
    >>> bool(abs(picture - sharp).mean() < 0.01)
    True
    """
    if psf is None:
        raise DeconvnetError("the PSF is None: hand one over, or call deblur, which finds it")
    options: dict[str, Any] = {"channel_axis": channel_axis, "device": device, "progress": progress}
    return deblur(image, psf=psf, nonblind=method, noise=noise, **options)


def estimate_psf(
    image: ArrayLike,
    *,
    model: str | os.PathLike[str] | PhotoNetwork = "photo",
    psf_size: int | str = "auto",
    refine: bool = True,
    sharpen: float = 0.0,
    threshold: float = THRESHOLD,
    varying: bool = False,
    channel_axis: int | None = -1,
    device: str = "auto",
    progress: bool = False,
) -> Any:
    """The PSF of a shaky photograph.

    Parameters
    ----------
    image, model, psf_size, refine, varying, channel_axis, device, progress
        As for `deconvnet.deblur`.
    sharpen, threshold : float
        Its ``psf_sharpen`` and ``psf_threshold``.

    Returns
    -------
    float32 array (k, k), or (rows, columns, k, k) with ``varying``
        Sum 1; of the image's library. What `deconvnet.deblur` deconvolves with.

    Raises
    ------
    DeconvnetError
        If the image, the model or an option cannot be used.
    """
    device = resolve_device(device)
    network: Any = as_network(model, "photo", device)
    size = check_psf_options(network, psf_size, sharpen, threshold, refine)
    pixels, _ = checked_photo(taken(image, "the photo", channel_axis)[0])
    options: dict[str, Any] = {"refine": refine, "varying": varying, "device": device, "progress": progress}
    psf = to_host(psf_of_photo(network, pixels, size, sharpen=sharpen, threshold=threshold, **options).psf)
    return as_given(psf / psf.sum(axis=(-2, -1), keepdims=True), image)
