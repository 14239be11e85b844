"""One shaky photograph becomes sharp: checks, the PSF from the network, the non-blind deconvolution of each channel."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.networks.io import as_network
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, EXACT_PSF, REFINED_PSF, check_options, deconvolve
from deconvnet.restore.photo.psf import check_psf_options, estimate_psf, estimate_varying_psfs
from deconvnet.restore.photo.psf_cleanup import THRESHOLD
from deconvnet.restore.photo.varying import choose_grid, deconvolve_varying
from deconvnet.restore.pixels import as_floats

__all__ = ["checked_photo", "deblur"]

#: Range of values below which a picture is called constant.
LEAST_CONTRAST = 2 / 255


def checked_photo(image):
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
    image = np.asarray(image)
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (1, 2, 3, 4))) or image.size == 0:
        raise DeconvnetError(
            f"the photo has the shape {image.shape}: (H, W) for grey or (H, W, 3) for colour is wanted, with an alpha "
            "channel (H, W, 2) or (H, W, 4)"
        )
    image, alpha = as_floats(image, "the photo"), None
    if image.ndim == 3 and image.shape[-1] in (2, 4):
        image, alpha = image[..., :-1], image[..., -1]
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if np.ptp(luminance(image)) < LEAST_CONTRAST:
        raise DeconvnetError("the photo is constant: without edges there is nothing to tell its blur from")
    return np.ascontiguousarray(image), alpha


def _known_psf(psf, shape):
    """A PSF that the user gives, as float32, if it has two axes and the photo of this shape has room for it."""
    psf = np.asarray(psf)
    if psf.ndim != 2 or psf.dtype.kind not in "fiu":
        raise DeconvnetError(f"the PSF has the shape {psf.shape}: one channel of numbers (h, w) is wanted")
    if min(shape) < 2 * max(psf.shape):
        raise DeconvnetError(
            f"the photo is {shape[1]}×{shape[0]} pixels, and a PSF of {psf.shape[1]}×{psf.shape[0]} needs twice its "
            "size: crop the PSF or use a larger photo"
        )
    return psf.astype(np.float32)


def deblur(
    image,
    *,
    model="photo",
    psf_size="auto",
    refine=True,
    psf_sharpen=0.0,
    psf_threshold=THRESHOLD,
    psf=None,
    nonblind="hyper-laplacian",
    noise=None,
    varying=False,
    device="auto",
    progress=False,
    return_psf=False,
):
    """One sharp picture from one shaky photograph.

    Parameters
    ----------
    image : array (H, W) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)
        sRGB as floats in [0, 1], uint8 (divided by 255) or uint16 (divided by 65535); at least twice the PSF on each
        side.
    model : str, path-like or Layer
        Photo network: the name of one that ships, the ``model.safetensors`` of a training run, or a loaded network.
        Not used with ``psf``.
    psf_size : "auto" or int
        Side of the PSF in pixels, odd, and without ``refine`` one of the model's;
        `deconvnet.restore.photo.psf.estimate_psf` tells what ``"auto"`` does.
    refine : bool
        Refine the network's PSF by the photo's edges (`deconvnet.restore.photo.refine`); not done with ``varying``.
    psf_sharpen : float
        Deconvolve the estimated PSF with a Gaussian of this many pixels; 0 leaves it. With ``varying`` neither this
        nor the threshold changes the local PSFs.
    psf_threshold : float
        Zero what is below this share of the estimated PSF's maximum.
    psf : float array (h, w), optional
        The PSF, if it is known; scaled to sum 1 here.
    nonblind : {"hyper-laplacian", "wiener"}
        Method of the final deconvolution, see `deconvnet.restore.deconvolve.solvers.deconvolve`.
    noise : float, optional
        Standard deviation of the noise and of what errors of the PSF leave unexplained; by default estimated, and
        more for an estimated PSF than for a known one. A larger value gives a smoother picture.
    varying : bool
        Let the PSF change over the picture, as for a camera that turned.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show a bar.
    return_psf : bool
        Return the PSF too.

    Returns
    -------
    picture : float32 array, shape of the image
        In [0, 1]; alpha as it was.
    psf : float32 array (k, k), or (rows, columns, k, k) with ``varying``
        Only with ``return_psf``.

    Raises
    ------
    DeconvnetError
        If the photo, the model or an option cannot be used; the message says what to do.
    """
    from tqdm import tqdm

    check_options(nonblind, noise)
    if psf is not None and varying:
        raise DeconvnetError("a known PSF holds for the whole photo: leave either psf (--psf) or varying away")
    device = resolve_device(device)
    refine = refine and not varying
    psf_error = EXACT_PSF if psf is not None else REFINED_PSF if refine else ESTIMATED_PSF
    network = as_network(model, "photo", device) if psf is None else None
    if network is not None:
        psf_size = check_psf_options(network, psf_size, psf_sharpen, psf_threshold, refine)
    pixels, alpha = checked_photo(image)
    height, width = pixels.shape[:2]
    channels = pixels.reshape(height, width, -1)
    with tqdm(total=1 + channels.shape[-1], desc="PSF", disable=not progress) as bar:
        if psf is None:
            grey = to_device(np.ascontiguousarray(luminance(pixels)), device)
            if not varying or psf_size == "auto":
                found = estimate_psf(
                    network, grey, psf_size, sharpen=psf_sharpen, threshold=psf_threshold, refine=refine
                )
            if varying:
                side = len(found) if psf_size == "auto" else psf_size
                found = estimate_varying_psfs(network, grey, side, choose_grid(grey.shape, side))
        else:
            found = to_device(_known_psf(psf, (height, width)), device)
        bar.update()
        bar.set_description("deconvolving")
        result = np.empty_like(channels)
        for channel in range(channels.shape[-1]):
            blurry = to_device(np.ascontiguousarray(channels[..., channel]), device)
            restore = deconvolve_varying if varying else deconvolve
            result[..., channel] = to_host(restore(blurry, found, nonblind, noise=noise, psf_error=psf_error))
            bar.update()
    picture = np.clip(result, 0, 1)
    if alpha is not None:
        picture = np.concatenate([picture, alpha[..., None]], axis=-1)
    picture = picture.reshape(np.shape(image))
    found = to_host(found)
    return (picture, found / found.sum(axis=(-2, -1), keepdims=True)) if return_psf else picture
