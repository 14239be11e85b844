"""One shaky photograph becomes sharp: checks, the PSF from the network, the non-blind deconvolution of each channel."""

from __future__ import annotations

import copy

import numpy as np

from deconvnet.backend import array_module, resolve_device, to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.resample import resample
from deconvnet.restore.colour import luminance
from deconvnet.restore.nonblind import check_options, deconvolve, estimate_noise, roughness
from deconvnet.restore.varying import (
    choose_grid,
    deconvolve_varying,
    local_psfs,
    motion_basis,
    project_on_motion,
    sharpen_locally,
)

__all__ = [
    "checked_photo",
    "checked_psf_size",
    "deblur",
    "estimate_psf",
    "estimate_varying_psfs",
    "network_of_size",
    "photo_network",
    "usable_psf_sizes",
]

#: Side of the middle part of the picture that candidates for the PSF are judged on.
JUDGED = 512
#: Noise that is supposed at least when candidates are judged: less would follow the errors of the PSFs.
JUDGED_NOISE = 0.01
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
    if image.dtype in (np.uint8, np.uint16):
        image = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    elif image.dtype.kind != "f":
        raise DeconvnetError(f"the photo has the type {image.dtype}: floats in [0, 1], uint8 or uint16 are wanted")
    else:
        if not np.isfinite(image).all():
            raise DeconvnetError("the photo holds values that are not finite: mend them first")
        if image.min() < -0.001 or image.max() > 1.001:
            raise DeconvnetError("the photo holds floats outside [0, 1]: scale or clip them first")
        image = image.astype(np.float32, copy=False)
    alpha = None
    if image.ndim == 3 and image.shape[-1] in (2, 4):
        image, alpha = image[..., :-1], image[..., -1]
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if np.ptp(luminance(image)) < LEAST_CONTRAST:
        raise DeconvnetError("the photo is constant: without edges there is nothing to tell its blur from")
    return np.ascontiguousarray(image), alpha


def photo_network(model, device):
    """The network of a name or path, or a network itself, on the device.

    Raises
    ------
    DeconvnetError
        If there is none, or it is not for photos.
    """
    if model is None:
        raise DeconvnetError(
            "a photo needs a trained model: train one with python -m train.single and name its model.safetensors "
            "(--model), or give the PSF (--psf) if you know it"
        )
    if hasattr(model, "to") and hasattr(model, "kind"):
        if model.kind != "photo":
            raise DeconvnetError(f"the model is for a {model.kind}, and a photo needs one of its own kind")
        return model.to(device)
    from deconvnet.networks.io import load_network

    return load_network(model, kind="photo", device=device)


def checked_psf_size(wish, sizes):
    """``"auto"``, or one of the sizes that a model has as an int.

    Raises
    ------
    DeconvnetError
        If the wish is neither.
    """
    if wish == "auto":
        return wish
    if isinstance(wish, str) and wish.isdigit():
        wish = int(wish)
    if wish not in sizes:
        raise DeconvnetError(
            f"the model has no PSF size {wish}: use {', '.join(map(str, sizes))} or auto, or another model"
        )
    return int(wish)


def usable_psf_sizes(network):
    """PSF sizes of a pyramid, coarse to fine, of those scales that have a trained stage."""
    sizes, before = [], 0
    for size, scale in zip(network.psf_sizes, network.scales):
        if before < network.depth:
            sizes.append(size)
        before += len(scale.stages)
    return sizes


def network_of_size(network, psf_size):
    """The part of a pyramid up to the scale of one PSF size; weights are shared with the whole.

    Parameters
    ----------
    network : Pyramid
    psf_size : int
        One of `usable_psf_sizes`.

    Returns
    -------
    Pyramid
        Sees the photo at full resolution with its last, that is this, scale.
    """
    count = network.psf_sizes.index(psf_size) + 1
    if count == len(network.psf_sizes):
        return network
    part = copy.copy(network)
    part.psf_sizes = network.psf_sizes[:count]
    part.scales = network.scales[:count]
    part.config = {**network.config, "scales": network.config["scales"][:count]}
    part.stage_names = network.stage_names[: sum(len(scale.stages) for scale in part.scales)]
    part.active = network.active.copy()
    part.active[...] = min(network.depth, len(part.stage_names))
    return part


def _middle(image, side):
    """The middle part of an image, at most ``side`` pixels each way."""
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return image[top : top + side, left : left + side]


def estimate_psf(network, grey, psf_size="auto"):
    """The PSF of a photo.

    Parameters
    ----------
    network : Pyramid
        On the device of ``grey``.
    grey : float array (H, W)
        Luminance in [0, 1].
    psf_size : "auto" or int

    Returns
    -------
    array (k, k)
        Non-negative, of sum 1.

    Raises
    ------
    DeconvnetError
        If the photo is smaller than twice the PSF.

    Notes
    -----
    ``"auto"`` estimates a PSF with every scale of the model as the finest one (those for which the photo is large
    enough), deconvolves the middle of the photo with each, and takes the PSF whose result has the smallest
    `roughness`: a PSF that is cut off or full of speckle makes the picture ring, and ringing costs. The misfit of the
    re-blurred picture tells less: the deconvolution can explain a photo with nearly any PSF.

    Tried on 12 photographs blurred by PSFs that fill 9, 13, 17, 25 and 33 px, cropped or padded to 17, 25 and 33 and
    disturbed by a quarter (half) of their norm: the choice was 0.0, 0.0, 0.0, 0.5 and 1.7 (0.0, 0.0, 0.1, 0.4 and
    1.2) dB below the best of the three, where the smallest misfit lost 0.7 (0.8) dB on average, and a normalised
    sparsity (l1/l2) 1.5 (1.0). It leans to small PSFs: where the blur is known to be large, ask for the size.
    """
    smallest = min(grey.shape)
    if psf_size != "auto":
        if smallest < 2 * psf_size:
            raise DeconvnetError(
                f"the photo is {grey.shape[1]}×{grey.shape[0]} pixels, and a PSF of {psf_size} needs {2 * psf_size} on "
                "the shorter side: use a smaller PSF size or a larger photo"
            )
        return network_of_size(network, psf_size).estimate_psf(grey[None])[-1][-1][0]
    sizes = [size for size in usable_psf_sizes(network) if smallest >= 2 * size]
    if not sizes:
        size = network.psf_sizes[0]
        raise DeconvnetError(
            f"the photo is {grey.shape[1]}×{grey.shape[0]} pixels, and the model's smallest PSF, {size}, needs "
            f"{2 * size} on the shorter side: use a larger photo"
        )
    candidates = [estimate_psf(network, grey, size) for size in sizes]
    if len(candidates) == 1:
        return candidates[0]
    part = _middle(grey, JUDGED)
    noise = max(estimate_noise(part), JUDGED_NOISE)
    border = sizes[-1] // 2
    costs = [roughness(deconvolve(part, psf, noise=noise), border) for psf in candidates]
    return candidates[int(np.argmin(costs))]


def estimate_varying_psfs(network, grey, psf_size, grid):
    """Local PSFs that one camera motion can have made.

    Parameters
    ----------
    network : Pyramid
        On the device of ``grey``; its coarser scales see one PSF for the whole photo, the finest one many.
    grey : float array (H, W)
        Luminance in [0, 1].
    psf_size : int
    grid : (int, int)
        Patches (rows, columns).

    Returns
    -------
    array (rows, columns, k, k)

    Notes
    -----
    Schuler et al. 2015, Sec. 5.3, in every stage of the finest scale: the quotient of windowed features, the
    projection on camera motions, and a latent image by local quotients for the stage after.
    """
    xp = array_module(grey)
    part = network_of_size(network, psf_size)
    y = (grey - grey.mean())[None]
    latent = None
    for scale in part.scales[:-1]:
        shape = tuple(round(n * scale.psf_size / psf_size) for n in grey.shape)
        latent = latent if latent is None else resample(latent, shape)
        _, latent, _ = scale.forward(resample(y, shape), latent)
    latent = latent if latent is None else resample(latent, grey.shape)
    basis = motion_basis(grey.shape, grid, psf_size, dtype=grey.dtype)
    stages = part.scales[-1].stages
    trained = part.depth - sum(len(scale.stages) for scale in part.scales[:-1])
    psfs = None
    for i, stage in enumerate(stages[:trained]):
        if psfs is not None:
            beta = float(xp.exp(stages[i - 1].image.log_beta.value))
            latent = sharpen_locally(y[0], psfs, beta)[None]
        maps, _ = stage.features.forward(xp.stack([y, latent] if stage.latent else [y], axis=1))
        faded, _ = stage.fade.forward(maps)
        lost = [n - m for n, m in zip(grey.shape, faded.shape[-2:])]  # the filters' border
        faded = xp.pad(faded[0], [(0, 0), *((n // 2, n - n // 2) for n in lost)])
        psfs = local_psfs(faded[: stage.pairs], faded[stage.pairs :], psf_size, grid)
        psfs, _ = project_on_motion(psfs, basis)
    return psfs


def deblur(
    image,
    *,
    model=None,
    psf_size="auto",
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
    model : str, path-like or Layer, optional
        Photo network: a name, the ``model.safetensors`` of a training run, or a loaded network. Not needed with
        ``psf``.
    psf_size : "auto" or int
        Side of the PSF in pixels, one of the model's; see `estimate_psf` for what ``"auto"`` does.
    psf : float array (h, w), optional
        The PSF, if it is known; scaled to sum 1 here.
    nonblind : {"hyper-laplacian", "wiener"}
        Method of the final deconvolution, see `deconvnet.restore.nonblind.deconvolve`.
    noise : float, optional
        Standard deviation of the noise; estimated by default. A larger value forgives errors of the PSF.
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
    network = photo_network(model, device) if psf is None else None
    if network is not None:
        psf_size = checked_psf_size(psf_size, usable_psf_sizes(network))
    pixels, alpha = checked_photo(image)
    height, width = pixels.shape[:2]
    channels = pixels.reshape(height, width, -1)
    with tqdm(total=1 + channels.shape[-1], desc="PSF", disable=not progress) as bar:
        if psf is None:
            grey = to_device(np.ascontiguousarray(luminance(pixels)), device)
            found = estimate_psf(network, grey, psf_size)
            if varying:
                side = found.shape[-1]
                found = estimate_varying_psfs(network, grey, side, choose_grid(grey.shape, side))
        else:
            psf = np.asarray(psf)
            if psf.ndim != 2 or psf.dtype.kind not in "fiu":
                raise DeconvnetError(f"the PSF has the shape {psf.shape}: one channel of numbers (h, w) is wanted")
            if min(height, width) < 2 * max(psf.shape):
                raise DeconvnetError(
                    f"the photo is {width}×{height} pixels, and a PSF of {psf.shape[1]}×{psf.shape[0]} needs twice its "
                    "size: crop the PSF or use a larger photo"
                )
            found = to_device(psf.astype(np.float32), device)
        bar.update()
        bar.set_description("deconvolving")
        result = np.empty_like(channels)
        for channel in range(channels.shape[-1]):
            blurry = to_device(np.ascontiguousarray(channels[..., channel]), device)
            if varying:
                sharp = deconvolve_varying(blurry, found, nonblind, noise=noise)
            else:
                sharp = deconvolve(blurry, found, nonblind, noise=noise)
            result[..., channel] = to_host(sharp)
            bar.update()
    picture = np.clip(result, 0, 1)
    if alpha is not None:
        picture = np.concatenate([picture, alpha[..., None]], axis=-1)
    picture = picture.reshape(np.shape(image))
    found = to_host(found)
    return (picture, found / found.sum(axis=(-2, -1), keepdims=True)) if return_psf else picture
