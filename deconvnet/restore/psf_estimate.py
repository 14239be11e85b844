"""The PSF of a photo: what the network estimates, made fit for the deconvolution, and the choice of its size."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module, irfft2, rfft2, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.resample import resample
from deconvnet.restore.nonblind import ALPHA, ESTIMATED_PSF, deconvolve
from deconvnet.restore.varying import local_psfs, motion_basis, project_on_motion, sharpen_locally

__all__ = [
    "THRESHOLD",
    "check_psf_options",
    "clean_psf",
    "estimate_psf",
    "estimate_varying_psfs",
    "sharpen_psf",
    "unlikeliness",
]

#: Share of a PSF's maximum below which its pixels are taken for errors of the estimate.
THRESHOLD = 0.05
#: Share of the heaviest connected part's light that another part must have to be kept.
LEAST_PART = 0.1
#: Side of the middle part of the picture that candidates for the PSF are judged on.
JUDGED = 512
#: Regulariser of the deconvolution that sharpens a PSF.
BETA_SHARPEN = 0.01


def clean_psf(psf, threshold=THRESHOLD, least_part=LEAST_PART):
    """An estimated PSF without its speckle.

    Parameters
    ----------
    psf : float array (k, k)
        Non-negative.
    threshold : float
        In [0, 1). Pixels below this share of the maximum become zero.
    least_part : float
        In [0, 1]. Of what is left, connected parts (with their corners) that have less than this share of the
        heaviest part's light become zero. 0 keeps all of them.

    Returns
    -------
    array (k, k)
        Of sum 1, dtype of the PSF.

    Notes
    -----
    The path of a camera is connected, the errors of an estimate are specks. With true PSFs disturbed by white noise of
    0.2, 0.4 and 0.7 of their norm and clipped, cleaning takes the relative squared error from 0.06, 0.15 and 0.30 to
    0.01, 0.04 and 0.15 and gains 2.7, 6.0 and 5.5 dB in the restored picture; with the true PSFs it costs 0.1 dB
    (eight cases of the benchmark of Levin et al. 2009). Estimates of a trained network have less speckle: there it
    changes the picture by less than 0.05 dB.
    """
    from scipy.ndimage import label

    xp = array_module(psf)
    host = to_host(psf)
    kept = host >= threshold * host.max()
    parts, _ = label(kept, np.ones((3, 3)))
    light = np.bincount(parts.ravel(), host.ravel() * kept.ravel())
    kept &= light[parts] >= least_part * light.max()
    clean = psf * xp.asarray(kept)
    return clean / clean.sum()


def sharpen_psf(psf, sigma):
    """A PSF deconvolved with a Gaussian.

    Parameters
    ----------
    psf : float array (k, k)
        Of sum 1.
    sigma : float
        Standard deviation of the Gaussian in pixels; with 0 the PSF is returned as it is.

    Returns
    -------
    array (k, k)
        Non-negative, of sum 1.

    Notes
    -----
    ``F⁻¹[ G F psf / ( G² + β ) ]`` with β = 0.01, cropped, clipped and normalised. Schuler et al. 2015 sharpen their
    PSFs of 33 px so, with σ = 0.5: estimates of large PSFs come out a little soft.
    """
    if sigma == 0:
        return psf
    xp = array_module(psf)
    side = len(psf)
    room = xp.pad(psf, side // 2)
    rows, columns = np.fft.fftfreq(len(room))[:, None], np.fft.rfftfreq(len(room))
    gauss = xp.asarray(np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2)), dtype=psf.dtype)
    sharp = irfft2(rfft2(room) * (gauss / (gauss**2 + BETA_SHARPEN)), room.shape)
    start = side // 2
    sharp = xp.maximum(sharp[start : start + side, start : start + side], 0)
    return sharp / sharp.sum()


def unlikeliness(image, border=0):
    """How little a picture looks like a sharp and clean photograph; for comparing pictures of one scene.

    Parameters
    ----------
    image : float array (H, W)
    border : int
        Pixels left out on each side.

    Returns
    -------
    float
        ``R · S²``, where R is the mean of |d|^0.8 and S the mean of |d| over the root mean square of d, over all
        differences d between neighbours down and across.

    Notes
    -----
    R is the prior of the deconvolution. It grows with ringing, and also with the contrast of the edges, so that alone
    it prefers what is still a little blurry. S, the normalised sparsity of Krishnan, Tay & Fergus 2011, does not depend
    on the contrast; alone it prefers what is sharpened too much. A picture without differences has 0.
    """
    xp = array_module(image)
    inside = image[border : image.shape[0] - border, border : image.shape[1] - border]
    size = xp.abs(xp.concatenate([xp.diff(inside, axis=axis).ravel() for axis in (0, 1)]))
    power = float((size**2).mean())
    return float((size**ALPHA).mean()) * float(size.mean()) ** 2 / power if power > 0 else 0.0


def check_psf_options(network, psf_size, sharpen, threshold):
    """The PSF size that is asked for, ``"auto"`` or an int, after a check of what belongs to it.

    Parameters
    ----------
    network : Pyramid
    psf_size : "auto", int, or str of digits
    sharpen, threshold : float
        As for `estimate_psf`.

    Raises
    ------
    DeconvnetError
        If the network has no such size, or a number is out of its range.
    """
    if not (np.isfinite(sharpen) and 0 <= sharpen <= 2):
        raise DeconvnetError(f"a PSF is sharpened by 0 to 2 pixels (psf_sharpen, --psf-sharpen), not {sharpen}")
    if not 0 <= threshold < 1:
        raise DeconvnetError(
            f"a PSF's threshold (psf_threshold, --psf-threshold) is from 0 to below 1, not {threshold}"
        )
    if psf_size == "auto":
        return psf_size
    if isinstance(psf_size, str) and psf_size.isdigit():
        psf_size = int(psf_size)
    sizes = network.trained_sizes()
    if psf_size not in sizes:
        raise DeconvnetError(
            f"the model has no PSF size {psf_size}: use {', '.join(map(str, sizes))} or auto, or another model"
        )
    return int(psf_size)


def _middle(image, side):
    """The middle part of an image, at most ``side`` pixels each way."""
    xp = array_module(image)
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return xp.ascontiguousarray(image[top : top + side, left : left + side])


def _usable_sizes(network, shape, psf_size):
    """PSF sizes that are asked for and that a photo of this shape has room for."""
    sizes = network.trained_sizes() if psf_size == "auto" else [psf_size]
    usable = [size for size in sizes if min(shape) >= 2 * size]
    if not usable:
        raise DeconvnetError(
            f"the photo is {shape[1]}×{shape[0]} pixels, and a PSF of {sizes[0]} needs {2 * sizes[0]} on the shorter "
            "side: use a smaller PSF size or a larger photo"
        )
    return usable


def estimate_psf(network, grey, psf_size="auto", *, sharpen=0.0, threshold=THRESHOLD):
    """The PSF of a photo.

    Parameters
    ----------
    network : Pyramid
        On the device of ``grey``.
    grey : float array (H, W)
        Luminance in [0, 1].
    psf_size : "auto" or int
        One of the network's `trained_sizes`.
    sharpen : float
        Standard deviation, in pixels, of the Gaussian that `sharpen_psf` takes out of the estimate.
    threshold : float
        Of `clean_psf`, which comes after that.

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
    `unlikeliness`: a PSF that is cut off or wrong makes the picture ring, and ringing is not sparse. The misfit of
    the re-blurred picture tells less: the deconvolution can explain a photo with nearly any PSF.

    Tried on 14 photographs with noise of 0.002 to 0.02, blurred by PSFs that fill 7 to 33 px, and candidates of 17, 25
    and 33 px in nine kinds of imperfection: the true PSF cropped or padded, then disturbed by noise of up to 0.6 of its
    norm, softened, or without its tails, and quotients of degraded gradients. On the six photographs that were not
    looked at when the rule was made, the choice is 0.08 dB below the best of the three on average (2.4 at worst), where
    always 17, 25 or 33 px are 1.14, 0.43 and 0.32 dB below it, the smallest R alone 0.18, and the smallest misfit 0.27.
    """
    usable = _usable_sizes(network, grey.shape, psf_size)
    candidates = []
    for size in usable:
        raw = network.up_to(size).estimate_psf(grey[None])[-1][-1][0]
        candidates.append(clean_psf(sharpen_psf(raw, sharpen), threshold))
    if len(candidates) == 1:
        return candidates[0]
    part, border = _middle(grey, JUDGED), usable[-1] // 2
    costs = [unlikeliness(deconvolve(part, psf, psf_error=ESTIMATED_PSF), border) for psf in candidates]
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
        One of the network's `trained_sizes`.
    grid : (int, int)
        Patches (rows, columns).

    Returns
    -------
    array (rows, columns, k, k)

    Raises
    ------
    DeconvnetError
        If the photo is smaller than twice the PSF.

    Notes
    -----
    Schuler et al. 2015, Sec. 5.3, in every stage of the finest scale: the quotient of windowed features, the
    projection on camera motions, and a latent image by local quotients for the stage after.
    """
    xp = array_module(grey)
    _usable_sizes(network, grey.shape, psf_size)
    part = network.up_to(psf_size)
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
