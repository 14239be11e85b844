"""One shaky photograph becomes sharp: checks, the PSF from the network, the non-blind deconvolution of each channel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.ahead import needs
from deconvnet.networks.io import as_network
from deconvnet.networks.protocols import PhotoNetwork
from deconvnet.progress import step
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, EXACT_PSF, REFINED_PSF, check_options, deconvolve
from deconvnet.restore.photo.confidence import warn_if_uncertain
from deconvnet.restore.photo.psf import FoundPsf, check_psf_options, estimate_varying_psfs, find_psf
from deconvnet.restore.photo.psf_cleanup import THRESHOLD
from deconvnet.restore.photo.varying import choose_grid, deconvolve_varying
from deconvnet.restore.pixels import as_array, as_floats, as_given, taken

__all__ = ["LEAST_CONTRAST", "checked_photo", "deblur", "known_psf", "psf_of_photo"]

#: Range of values below which a picture is called constant.
LEAST_CONTRAST = 2 / 255


def checked_photo(image: ArrayLike) -> tuple[np.ndarray, np.ndarray | None]:
    """A photograph as floats, and its alpha channel.

    Parameters
    ----------
    image : array (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4)
        Grey or sRGB, the second or fourth channel being alpha: floats in [0, 1], uint8 or uint16.

    Returns
    -------
    pixels : float32 array (H, W) or (H, W, 3)
        In [0, 1].
    alpha : float32 array (H, W), or None
        In [0, 1].

    Raises
    ------
    DeconvnetError
        If the shape, the type or the values cannot be used, or the picture is constant.
    """
    given = as_array(image, "the photo")
    if not (given.ndim == 2 or (given.ndim == 3 and given.shape[-1] in (1, 2, 3, 4))) or given.size == 0:
        raise DeconvnetError(
            f"the photo has the shape {given.shape}: (H, W) for grey or (H, W, 3) for colour is wanted, with an alpha "
            "channel (H, W, 2) or (H, W, 4)"
        )
    pixels, alpha = as_floats(given, "the photo"), None
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if np.ptp(luminance(pixels)) < LEAST_CONTRAST:
        raise DeconvnetError("the photo is constant: without edges there is nothing to tell its blur from")
    return np.ascontiguousarray(pixels), alpha


def known_psf(psf: ArrayLike, shape: Sequence[int]) -> np.ndarray:
    """A PSF that the user gives, as float32 of sum 1, if it is one and the photo of this shape has room for it."""
    known = as_array(psf, "the PSF")
    if known.ndim != 2 or known.dtype.kind not in "fiu":
        raise DeconvnetError(f"the PSF has the shape {known.shape}: one channel of numbers (h, w) is wanted")
    if min(shape) < 2 * max(known.shape):
        raise DeconvnetError(
            f"the photo is {shape[1]}×{shape[0]} pixels, and a PSF of {known.shape[1]}×{known.shape[0]} needs twice "
            "its size: crop the PSF or use a larger photo"
        )
    known = known.astype(np.float32)
    if not np.isfinite(known).all() or known.min() < 0 or not known.sum() > 0:
        raise DeconvnetError("the PSF must hold finite values from 0 up, and not only zeros")
    return known / known.sum()


def psf_of_photo(
    network: Any,
    pixels: np.ndarray,
    psf_size: int | str,
    *,
    sharpen: float,
    threshold: float,
    refine: bool,
    varying: bool,
    device: str,
    progress: bool,
) -> FoundPsf:
    """The PSF of a photo by a network: (k, k), or (rows, columns, k, k) with ``varying``, on the device.

    Warns where it has probably failed. The confidence is that of one PSF for the whole photo, None if there was none.

    Parameters
    ----------
    network : PhotoNetwork
        On the device.
    pixels : float32 array (H, W) or (H, W, 3)
        Of `checked_photo`.
    psf_size, sharpen, threshold, refine, varying, device, progress
        Those of `deblur`, the size checked by `deconvnet.restore.photo.psf.check_psf_options`.
    """
    with step("estimating the PSF", shown=progress):
        grey = to_device(np.ascontiguousarray(luminance(pixels)), device)
        found = FoundPsf(grey[:0, :0], None)
        if not varying or psf_size == "auto":
            found = find_psf(network, grey, psf_size, sharpen=sharpen, threshold=threshold, refine=refine)
        if varying:
            side = len(found.psf) if psf_size == "auto" else int(psf_size)
            psfs = estimate_varying_psfs(network, grey, side, choose_grid(grey.shape, side), refine=refine)
            found = found._replace(psf=psfs)
    warn_if_uncertain(found.confidence, left=not varying)
    return found


def deblur(
    image: ArrayLike,
    *,
    model: str | os.PathLike[str] | PhotoNetwork = "photo",
    psf_size: int | str = "auto",
    refine: bool = True,
    psf_sharpen: float = 0.0,
    psf_threshold: float = THRESHOLD,
    psf: ArrayLike | None = None,
    nonblind: str = "hyper-laplacian",
    noise: float | None = None,
    varying: bool = False,
    channel_axis: int | None = -1,
    device: str = "auto",
    progress: bool = False,
    return_psf: bool = False,
    return_confidence: bool = False,
) -> Any:
    """One sharp picture from one shaky photograph.

    Parameters
    ----------
    image : array (H, W) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)
        NumPy, CuPy, or anything with DLPack on the CPU: sRGB as floats in [0, 1], uint8 (divided by 255) or uint16
        (divided by 65535); at least twice the PSF on each side.
    model : str, path-like or PhotoNetwork
        Photo network: the name of one that ships, the ``model.safetensors`` of a training run, or a loaded network.
        Not used with ``psf``.
    psf_size : "auto" or int
        Side of the PSF in pixels, odd, and without ``refine`` one of the model's;
        `deconvnet.restore.photo.psf.estimate_psf` tells what ``"auto"`` does.
    refine : bool
        Refine the network's PSF by the photo's edges (`deconvnet.restore.photo.refine`); with ``varying`` every local
        one by the edges around its place.
    psf_sharpen : float
        Deconvolve the estimated PSF with a Gaussian of this many pixels; 0 leaves it. With ``varying`` neither this
        nor the threshold changes the local PSFs.
    psf_threshold : float
        Zero what is below this share of the estimated PSF's maximum.
    psf : float array (h, w), optional
        The PSF, if it is known; scaled to sum 1 here.
    nonblind : {"hyper-laplacian", "wiener"} or str
        Method of the final deconvolution, see `deconvnet.restore.deconvolve.solvers.deconvolve`.
    noise : float, optional
        Standard deviation of the noise and of what errors of the PSF leave unexplained; by default estimated, and
        more for an estimated PSF than for a known one. A larger value gives a smoother picture.
    varying : bool
        Let the PSF change over the picture, as for a camera that turned.
    channel_axis : int or None
        Axis of the channels of an image with three axes; None for a grey one.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show a bar.
    return_psf : bool
        Return the PSF too.
    return_confidence : bool
        Return, as the last, how far the PSF can be trusted.

    Returns
    -------
    picture : float32 array, shape of the image
        In [0, 1] whatever the type of the image, which is not changed; alpha as it was. For a CuPy array, or another
        library's that has DLPack, an array of that library, and the PSF too.
    psf : float32 array (k, k), or (rows, columns, k, k) with ``varying``
        Only with ``return_psf``.
    confidence : float or None
        Only with ``return_confidence``: 0 to 1, see `deconvnet.restore.photo.confidence.confidence`; None for a PSF
        that was given or not refined. Below 0.3 there is a warning as well.

    Raises
    ------
    DeconvnetError
        If the photo, the model or an option cannot be used; the message says what to do.

    Examples
    --------
    A square that a shake along the diagonal has blurred; the PSF is not told.

    >>> import numpy as np
    >>> from deconvnet import deblur
    >>> from deconvnet.blur.convolve import convolve
    >>> sharp = np.full((72, 80), 0.2, np.float32)
    >>> sharp[20:50, 25:60] = 0.8
    >>> shake = np.eye(5, dtype=np.float32) / 5
    >>> blurry = convolve(sharp, shake, border="valid")
    >>> picture, psf = deblur(blurry, psf_size=7, device="cpu", return_psf=True)
    >>> picture.shape, psf.shape
    ((68, 76), (7, 7))
    >>> truth = sharp[2:-2, 2:-2]
    >>> bool(abs(picture - truth).mean() < abs(blurry - truth).mean())
    True
    """
    check_options(nonblind, noise)
    if psf is not None and varying:
        raise DeconvnetError("a known PSF holds for the whole photo: leave either psf (--psf) or varying away")
    device = resolve_device(device)
    psf_error = EXACT_PSF if psf is not None else REFINED_PSF if refine else ESTIMATED_PSF
    network: Any = as_network(model, "photo", device) if psf is None else None
    if psf is None:
        psf_size = check_psf_options(network, psf_size, psf_sharpen, psf_threshold, refine)
    array, give_back = taken(image, "the photo", channel_axis)
    pixels, alpha = checked_photo(array)
    height, width = pixels.shape[:2]
    channels = pixels.reshape(height, width, -1)
    usual = psf is None and refine and not varying and nonblind == "hyper-laplacian" and device == "cpu"
    trust = None
    with needs("photo" if usual else ""):
        if psf is None:
            found, trust = psf_of_photo(
                network,
                pixels,
                psf_size,
                sharpen=psf_sharpen,
                threshold=psf_threshold,
                refine=refine,
                varying=varying,
                device=device,
                progress=progress,
            )
            found = found / found.sum(axis=(-2, -1), keepdims=True)  # what is used is returned, to the last bit
        else:
            found = to_device(known_psf(psf, (height, width)), device)
        with step("deconvolving", shown=progress):
            restore = deconvolve_varying if varying else deconvolve
            result = to_host(restore(to_device(channels, device), found, nonblind, noise=noise, psf_error=psf_error))
    picture = np.clip(result, 0, 1)
    if alpha is not None:
        picture = np.concatenate([picture, alpha[..., None]], axis=-1)
    restored = give_back(picture.reshape(array.shape))
    results: list[Any] = [restored]
    if return_psf:
        results.append(as_given(to_host(found), image))
    if return_confidence:
        results.append(trust)
    return tuple(results) if len(results) > 1 else restored
