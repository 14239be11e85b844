"""Non-blind deconvolution: the sharp picture from a blurry one and its known PSF, with a sparse prior on gradients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError, is_number, one_of, short
from deconvnet.kernels.photo.median_magnitude import median_magnitude
from deconvnet.networks.image_network import ImageNetwork
from deconvnet.networks.io import load_network
from deconvnet.ops.border import extend_periodically
from deconvnet.restore.deconvolve.measured import measure
from deconvnet.restore.deconvolve.operators import SATURATED, Blur, Convolution, PixelWeights
from deconvnet.restore.deconvolve.priors import CONTINUATION, DATA_WEIGHT, sparse_divergence

__all__ = [
    "ESTIMATED_PSF",
    "EXACT_PSF",
    "METHODS",
    "REFINED_PSF",
    "check_options",
    "deconvolve",
    "deconvolve_with",
    "estimate_noise",
]

METHODS = ("hyper-laplacian", "wiener")
#: What a PSF leaves unexplained of a picture in [0, 1], as a standard deviation: a measured one; one that was refined
#: (0.005 gives 0.3 dB more on the benchmark of Levin et al. 2009 and as much on noisy photographs, but real photos hold
#: more that no PSF explains); a network's estimate (the best of 0.0075 to 0.03 at a relative squared error of 0.43).
EXACT_PSF = 0.005
REFINED_PSF = 0.0075
ESTIMATED_PSF = 0.0125
#: The least standard deviation of noise that is taken; float32 holds no less.
LEAST_NOISE = 1e-6
#: Steps of conjugate gradients before the first of them, and with each. What lies beyond the border is found slowly.
FIRST_STEPS, STEPS = 20, 4
#: The same for differences of colours, which count their noise so many times: errors in them are seen less than grain.
#: Errors of the PSF count in full there, though they shrink with the contrast: a camera's mosaic and JPEG leave more in
#: colours that no PSF explains.
COLOUR_FIRST_STEPS, COLOUR_STEPS = 4, 2
COLOUR_NOISE = 2.0
#: Steps where results are only compared with each other.
QUICK_FIRST_STEPS, QUICK_STEPS = 6, 2
#: Steps of conjugate gradients with the Gaussian prior.
WIENER_STEPS = 10
#: Weight of the squared gradients in the Gaussian prior.
WIENER_WEIGHT = 32.0
#: Noise levels that the network of the final image has been trained on, and the weight from which on a pixel is seen.
TRAINED_NOISE, SEEN = (0.002, 0.06), 0.5
#: Channels with at most so many pixels are restored side by side; larger ones one after the other, for their memory,
#: each with all threads.
SIDE_BY_SIDE = 2**22


def estimate_noise(image: Array) -> float:
    """Standard deviation of the noise in a blurry picture.

    Parameters
    ----------
    image : float array (H, W)
        At least 3 px on each side.

    Returns
    -------
    float

    Notes
    -----
    Median magnitude, over the picture, of the second difference across of the second difference down, scaled to the
    standard deviation of white Gaussian noise. Blur leaves little else in this band, and edges do not move a median.
    """
    across = image[:, :-2] + image[:, 2:]
    across -= 2 * image[:, 1:-1]
    fine = across[:-2] + across[2:]
    fine -= 2 * across[1:-1]
    return float(median_magnitude(fine)) / (6 * 0.6745)


def deconvolve_with(
    image: Array,
    blur: Blur,
    method: str = "hyper-laplacian",
    *,
    noise: float | None = None,
    psf_error: float = EXACT_PSF,
    quick: bool = False,
) -> Array:
    """The sharp picture under any linear blur that a convolution resembles.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        Blurry, in [0, 1]; three channels are red, green and blue, others are restored each by itself.
    blur : Blur
    method, noise, psf_error, quick
        As for `deconvolve`.

    Returns
    -------
    array
        Shape and dtype of the image; not clipped.

    Raises
    ------
    DeconvnetError
        If an option cannot be used.

    Notes
    -----
    Minimises ``λ/2 Σ m (Kx − y)² + Σ |∇x|^0.8`` by half-quadratic splitting (Krishnan & Fergus 2009): auxiliary
    gradients w are drawn to ∇x with a weight β that grows, w by `sparse_divergence`, x by a linear system.
    λ = 0.2 / noise². ``"wiener"`` has ``β/2 Σ |∇x|²`` as prior instead, with one linear system. A network
    (`deconvnet.networks.image_network`) goes on from the sparse picture; differences of colours stay without.

    The mask m is 0 outside the image: nothing is claimed about what lies beyond the border, the latent image has a
    margin there that explains the light which came from it, and so no ringing starts at the border. With a mask the
    system is not diagonal in Fourier space; conjugate gradients preconditioned by the diagonal system without mask
    need a handful of steps of two transforms, so the cost stays n log n.

    Colours are restored as their mean, which has less noise than each of them, and as differences from it, at lower
    strength: deconvolution amplifies colour noise, and nobody sees colours as sharply as brightness.

    A light whose brightness nobody recorded would ring through the unsaturated pixels around it, which the latent image
    cannot explain: see `PixelWeights`.
    """
    check_options(method, noise)
    xp = array_module(image)
    learned = method not in METHODS
    if learned and not isinstance(blur, Convolution):
        raise DeconvnetError("the learned final image is for one PSF: take hyper-laplacian for blur that varies")
    network = load_network(Path(method), kind="image", device="cpu" if xp is np else "cuda") if learned else None
    planes = iter([_Plane(image)]) if image.ndim == 2 else _planes(image)

    def restore(plane: _Plane) -> Array:
        times = COLOUR_NOISE if plane.difference else 1.0
        level = float(np.hypot(times * estimate_noise(plane.image), psf_error)) if noise is None else times * noise
        system = _System(plane, blur, level)
        if method == "wiener":
            return _with_gaussian_prior(system)
        steps = (QUICK_FIRST_STEPS, QUICK_STEPS) if quick else (FIRST_STEPS, STEPS)
        x = _with_sparse_prior(system, *((COLOUR_FIRST_STEPS, COLOUR_STEPS) if plane.difference else steps))
        if network is not None and not plane.difference:
            x = _corrected(network, system, x, level)
        return system.pixels.inside(x)

    if xp is np and blur.shape[0] * blur.shape[1] <= SIDE_BY_SIDE and not blur.in_parts:
        found = parallel.ordered_map(restore, list(planes))
    else:
        found = [restore(plane) for plane in planes]
    if image.ndim == 2:
        return found[0]
    if image.shape[-1] == 3:
        mean, red, blue = found
        found = [mean + red, mean - red - blue, mean + blue]
    return xp.stack(found, axis=-1)


class _Plane(NamedTuple):
    """What is restored by itself: a channel, the mean of all, or a colour's difference from it.

    Attributes
    ----------
    image : float array (H, W)
    saturated : bool array (H, W), optional
        Where it is not known, being too bright; by default where the image is.
    difference : bool
        Whether it is a colour's difference.
    """

    image: Array
    saturated: Array | None = None
    difference: bool = False


def _planes(image: Array) -> Iterator[_Plane]:
    """The planes of an image (H, W, C), each made when it is asked for: of a large image they need much memory."""
    xp = array_module(image)
    if image.shape[-1] != 3:
        yield from (_Plane(xp.ascontiguousarray(image[..., c])) for c in range(image.shape[-1]))
        return
    red, green, blue = (image[..., c] for c in range(3))
    mean = (red + green + blue) / 3
    saturated = (red >= SATURATED) | (green >= SATURATED) | (blue >= SATURATED)
    yield _Plane(mean, saturated)
    yield from (_Plane(channel - mean, saturated, difference=True) for channel in (red, blue))


class _System:
    """The linear system for the latent image of one plane (H, W)."""

    def __init__(self, plane: _Plane, blur: Blur, noise: float) -> None:
        self.blur, self.data_weight = blur, DATA_WEIGHT / noise**2
        self.pixels = PixelWeights(plane.image, blur, noise, saturated=plane.saturated, bound=not plane.difference)
        self.extended = extend_periodically(plane.image, blur.shape)
        self.least_squares = blur.least_squares(self.extended, self.pixels.mask, self.data_weight)

    def update(self, x: Array) -> None:
        """Decide anew which pixels count, where that depends on the latent image (H', W')."""
        if self.pixels.changes:
            self.pixels.update(self.least_squares.blurred(x))
            self.least_squares.mask = self.pixels.mask

    def solve(self, x: Array, target: Array | None, beta: float, steps: int) -> Array:
        """Steps from x with the prior ``beta/2 ‖∇x − w‖²``; target is ``∇ᵀw``, None for 0."""
        target = array_module(x).zeros_like(x) if target is None else target
        return self.least_squares.solve(x, target, beta, steps)


def _with_gaussian_prior(system: _System) -> Array:
    x = system.solve(system.extended, None, WIENER_WEIGHT, WIENER_STEPS)
    for _ in range(2 if system.pixels.changes else 0):
        system.update(x)
        x = system.solve(x, None, WIENER_WEIGHT, WIENER_STEPS)
    return system.pixels.inside(x)


def _with_sparse_prior(system: _System, first: int, steps: int) -> Array:
    x = system.solve(system.extended, None, CONTINUATION[0], first)
    for beta in CONTINUATION:
        system.update(x)
        x = system.solve(x, sparse_divergence(x, beta), beta, steps)
    return x


def _corrected(network: ImageNetwork, system: _System, sparse: Array, noise: float) -> Array:
    """What the network makes of a sparse picture (H', W') and the data it came from."""
    xp = array_module(sparse)
    assert isinstance(system.blur, Convolution)
    seen = system.pixels.mask > SEEN
    otf = system.blur.otf[None]
    level = xp.asarray([np.clip(noise, *TRAINED_NOISE)], dtype=sparse.dtype)
    measured = measure(system.extended[None], otf, level, seen[None].astype(sparse.dtype), sparse=sparse[None])
    return network.forward(measured)[0][0]


def _checked_psf(psf: Array, shape: tuple[int, int]) -> Array:
    """The PSF in a square with the same centre, non-negative and of sum 1."""
    xp = array_module(psf)
    if psf.ndim != 2:
        raise DeconvnetError(f"the PSF has the shape {psf.shape}: two axes are wanted")
    if not bool(xp.isfinite(psf).all()) or float(psf.min()) < 0 or not float(psf.sum()) > 0:
        raise DeconvnetError("the PSF must hold finite values from 0 up, and not only zeros")
    if psf.shape[0] > shape[0] or psf.shape[1] > shape[1]:
        raise DeconvnetError(
            f"the PSF of {psf.shape[1]}×{psf.shape[0]} pixels is larger than the image of {shape[1]}×{shape[0]}"
        )
    side = max(psf.shape)
    square = xp.zeros((side, side), psf.dtype)
    top, left = (side // 2 - n // 2 for n in psf.shape)
    square[top : top + psf.shape[0], left : left + psf.shape[1]] = psf
    return square / square.sum()


def check_options(method: str, noise: float | None) -> None:
    """Refuse an unknown method, or a noise level that is none.

    Raises
    ------
    DeconvnetError
    """
    if not (isinstance(method, str) and Path(method).is_file()):  # not a training of the final image
        one_of(method, METHODS, "non-blind method")
    if noise is not None and not is_number(noise, LEAST_NOISE, 1):
        raise DeconvnetError(f"the noise level must be a number from {LEAST_NOISE:g} to 1, not {short(noise)}")


def deconvolve(
    image: Array,
    psf: Array,
    method: str = "hyper-laplacian",
    *,
    noise: float | None = None,
    psf_error: float = EXACT_PSF,
    quick: bool = False,
) -> Array:
    """The sharp picture from a blurry one and its PSF.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        In [0, 1]; three channels are red, green and blue, others are restored each by itself.
    psf : float array (h, w)
        Non-negative, not larger than the image; its centre, ``(h // 2, w // 2)``, is what does not move. Scaled to
        sum 1 here.
    method : {"hyper-laplacian", "wiener"} or str
        Sparse prior on gradients; a Gaussian one, which is a little quicker, softer, and rings more; or the sparse one
        and a network for the final image, the ``model.safetensors`` of `train.image`.
    noise : float, optional
        Standard deviation of all that the blur leaves unexplained; a larger value gives a smoother picture, and
        forgives a PSF that is not quite right. By default the root of the sum of the squares of `estimate_noise` and
        ``psf_error``, for each channel.
    psf_error : float
        What errors of the PSF leave unexplained: `EXACT_PSF` or `ESTIMATED_PSF`, for instance. Not used if the noise
        is given.
    quick : bool
        Fewer steps with the sparse prior: enough to compare PSFs with each other.

    Returns
    -------
    array
        Shape and dtype of the image; not clipped.

    Raises
    ------
    DeconvnetError
        If the image, the PSF or an option cannot be used.

    Notes
    -----
    See `deconvolve_with`. Cost: n log n in the number of pixels, some ninety transforms a channel.
    """
    array_module(image, psf)
    if image.ndim not in (2, 3) or min(image.shape[:2]) < 3:
        raise DeconvnetError(f"the image has the shape {image.shape}: (H, W) or (H, W, C) from 3 px on is wanted")
    square = _checked_psf(psf.astype(image.dtype, copy=False), image.shape)
    blur = Convolution(square, image.shape[:2])
    return deconvolve_with(image, blur, method, noise=noise, psf_error=psf_error, quick=quick)
