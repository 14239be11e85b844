"""Non-blind deconvolution: the sharp picture from a blurry one and its known PSF, with a sparse prior on gradients."""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.errors import DeconvnetError
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.differences import differences, differences_adjoint, differences_power
from deconvnet.ops.psf import psf_to_otf

__all__ = [
    "ESTIMATED_PSF",
    "EXACT_PSF",
    "METHODS",
    "REFINED_PSF",
    "Convolution",
    "check_options",
    "conjugate_gradients",
    "deconvolve",
    "deconvolve_with",
    "estimate_noise",
    "shrink_hyper_laplacian",
]

METHODS = ("hyper-laplacian", "wiener")
#: Exponent of the hyper-Laplacian prior.
ALPHA = 0.8
#: Pixels from this value on may have been brighter than they were recorded.
SATURATED = 0.99
#: Weight of the data at saturated pixels where the latent image, blurred, is too dark.
SATURATED_WEIGHT = 0.01
#: Light from places of unknown brightness, relative to the picture's range, that makes a pixel doubtful.
INFLUENCE = 0.002
#: A doubtful pixel is believed when it is explained to within this many times the noise.
TOLERANCE = 6
#: What a PSF leaves unexplained of a picture in [0, 1], as a standard deviation: a measured one; one that was refined
#: (0.005 gives 0.3 dB more on the benchmark of Levin et al. 2009 and as much on noisy photographs, but real photos hold
#: more that no PSF explains); a network's estimate (the best of 0.0075 to 0.03 at a relative squared error of 0.43).
EXACT_PSF = 0.005
REFINED_PSF = 0.0075
ESTIMATED_PSF = 0.0125
#: Weight of the data term times the noise variance.
DATA_WEIGHT = 0.2
#: Weights that draw the auxiliary gradients to those of the picture, one after the other.
CONTINUATION = (4.0, 16.0, 64.0, 256.0)
#: Steps of conjugate gradients before the first of them, and with each. What lies beyond the border is found slowly.
FIRST_STEPS, STEPS = 20, 4
#: Steps of conjugate gradients with the Gaussian prior.
WIENER_STEPS = 10
#: Weight of the squared gradients in the Gaussian prior.
WIENER_WEIGHT = 32.0


def shrink_hyper_laplacian(v, beta, alpha=ALPHA, steps=3):
    """Minimise ``|w|^alpha + beta/2 (w − v)²`` for every element.

    Parameters
    ----------
    v : float array
    beta : float
        Positive weight of the quadratic term.
    alpha : float
        Exponent in (0, 1).
    steps : int
        Newton steps.

    Returns
    -------
    array
        w; same shape and dtype.

    Notes
    -----
    With ``s = beta^(−1/(2 − alpha))``, w/s depends on v/s only. For |v/s| below a threshold the minimum is at 0;
    above, it is the larger root of ``w + alpha w^(alpha − 1) = v`` (in units of s), a convex increasing function
    there, which Newton's steps from ``w = v`` approach from one side. Krishnan & Fergus 2009, Sec. 3.2, use a table.
    """
    xp = array_module(v)
    scale = v.dtype.type(beta ** (-1 / (2 - alpha)))
    smallest = (2 * (1 - alpha)) ** (1 / (2 - alpha))
    threshold = smallest + alpha * smallest ** (alpha - 1)
    w = xp.zeros_like(v)
    kept = xp.abs(v) > threshold * scale
    target = xp.abs(v[kept]) / scale
    root = target.copy()
    for _ in range(steps):
        power = alpha * root ** v.dtype.type(alpha - 1)
        root -= (root + power - target) / (1 + (alpha - 1) * power / root)
    w[kept] = xp.copysign(root * scale, v[kept])
    return w


def estimate_noise(image):
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
    xp = array_module(image)
    across = image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]
    fine = across[:-2] - 2 * across[1:-1] + across[2:]
    return float(xp.median(xp.abs(fine))) / (6 * 0.6745)


def _inner_product(shape):
    """Function ``(a_hat, b_hat) -> H·W·<a, b>`` of half spectra of real images of this shape."""
    once = [0, -1] if shape[1] % 2 == 0 else [0]  # columns that the full spectrum has once; the others come twice

    def inner(a_hat, b_hat):
        xp = array_module(a_hat, b_hat)
        return float(2 * xp.vdot(a_hat, b_hat).real - xp.vdot(a_hat[:, once], b_hat[:, once]).real)

    return inner


def conjugate_gradients(x_hat, operator, rhs_hat, preconditioner, inner, steps):
    """Steps of preconditioned conjugate gradients on spectra.

    Parameters
    ----------
    x_hat, rhs_hat : complex array
        Start, and right-hand side.
    operator : callable
        Positive semidefinite, from spectrum to spectrum.
    preconditioner : real array
        About the inverse of the operator, frequency by frequency.
    inner : callable
        Inner product of two spectra.
    steps : int

    Returns
    -------
    complex array
        The improved ``x_hat``; the start is not changed.
    """
    residual = rhs_hat - operator(x_hat)
    direction = preconditioner * residual
    size = first = inner(residual, direction)
    real = preconditioner.dtype.type
    for _ in range(steps):
        if not size > 1e-12 * first:  # solved: the next step would divide zero by zero
            break
        image_of_direction = operator(direction)
        length = real(size / inner(direction, image_of_direction))
        x_hat = x_hat + length * direction
        residual -= length * image_of_direction
        scaled = preconditioner * residual
        size, before = inner(residual, scaled), size
        direction = scaled + real(size / before) * direction
    return x_hat


class Convolution:
    """Blur with one PSF on a periodic grid: what `deconvolve_with` asks of a blur.

    Parameters
    ----------
    psf : float array (k, k)
        Of sum 1, centre at ``k // 2``.
    image_shape : (int, int)
        Size of the blurry image; the grid is larger by the PSF's support at least.

    Attributes
    ----------
    shape : (int, int)
        The grid (H', W'); the image is its top left part.
    power : real array (H', W'//2 + 1)
        Squared magnitude of the transfer function.
    """

    def __init__(self, psf, image_shape):
        self.shape = extended_shape(image_shape, len(psf))
        self.otf = psf_to_otf(psf, self.shape)
        self.power = self.otf.real**2 + self.otf.imag**2

    def forward(self, x_hat):
        """Blurry image on the grid from the half spectrum of a latent one."""
        return irfft2(self.otf * x_hat, self.shape)

    def adjoint(self, y):
        """Half spectrum of an image on the grid correlated with the PSF: adjoint up to the transforms' factor H'·W'."""
        return self.otf.conj() * rfft2(y)


class _Data:
    """Which pixels of one channel the latent image must explain, and how much each, 0 to 1."""

    def __init__(self, image, blur, noise):
        xp = array_module(image)
        self.image, self.blur, self.noise = image, blur, noise
        self.saturated = image >= SATURATED
        #: Whether the mask depends on the latent image.
        self.changes = bool(self.saturated.any())
        if self.changes:
            # Pixels that receive light from where the picture is too bright to tell how bright.
            bright = (irfft2(blur.adjoint(self._on_grid(self.saturated)), blur.shape) > 0.5).astype(image.dtype)
            self.doubtful = self.saturated | (self._inside(blur.forward(rfft2(bright))) > INFLUENCE)
            self.mask = self._on_grid(~self.doubtful)
        else:
            self.mask = self._on_grid(xp.ones_like(image))

    def _on_grid(self, values):
        grid = array_module(values).zeros(self.blur.shape, self.image.dtype)
        self._inside(grid)[...] = values
        return grid

    def _inside(self, grid):
        return grid[: self.image.shape[0], : self.image.shape[1]]

    def update(self, x_hat):
        """Decide anew from the latent image."""
        xp = array_module(self.image)
        predicted = self._inside(self.blur.forward(x_hat))
        explained = xp.abs(predicted - self.image) < TOLERANCE * self.noise
        too_dark = SATURATED_WEIGHT * (predicted < self.image)
        self.mask = self._on_grid(xp.where(self.saturated, too_dark, ~self.doubtful | explained))


def deconvolve_with(image, blur, method="hyper-laplacian", *, noise=None, psf_error=EXACT_PSF):
    """The sharp picture under any linear blur that a convolution resembles.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        Blurry, in [0, 1]; channels are restored one by one.
    blur : Convolution, or an object with the same attributes and methods
        Only ``power`` may be approximate.
    method, noise, psf_error
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
    gradients w are drawn to ∇x with a weight β that grows, w by `shrink_hyper_laplacian`, x by a linear system.
    λ = 0.2 / noise². ``"wiener"`` has ``β/2 Σ |∇x|²`` as prior instead, with one linear system.

    The mask m is 0 outside the image: nothing is claimed about what lies beyond the border, the latent image has a
    margin there that explains the light which came from it, and so no ringing starts at the border. With a mask the
    system is not diagonal in Fourier space; conjugate gradients preconditioned by the diagonal system without mask
    need a handful of steps of two transforms, so the cost stays n log n.

    A saturated pixel says only "at least this bright": m is 0 there where the latent image, blurred, is brighter, and
    small where it is darker. A light whose brightness nobody recorded would still ring through the unsaturated
    pixels around it, which the latent image cannot explain. So all pixels that receive light from where most of the
    light arrived at saturated pixels are left out at first, and taken in again where they turn out to be explained
    (about as the outliers of Cho, Wang & Lee 2011): the borders of a bright sky are, those of lamps are not.
    """
    check_options(method, noise)
    xp = array_module(image)
    if image.ndim == 3:
        result = xp.empty_like(image)
        for channel in range(image.shape[-1]):
            single = xp.ascontiguousarray(image[..., channel])
            result[..., channel] = deconvolve_with(single, blur, method, noise=noise, psf_error=psf_error)
        return result
    noise = float(np.hypot(estimate_noise(image), psf_error)) if noise is None else noise
    shape, dtype = blur.shape, image.dtype.type
    gradient_power = differences_power(xp, shape, image.dtype)
    inner = _inner_product(shape)
    data_weight = dtype(DATA_WEIGHT / noise**2)
    data = _Data(image, blur, noise)
    extended = extend_periodically(image, shape)

    def solve(x_hat, beta, target_hat, steps):
        """Minimise ``λ/2 |m (Kx − y)|² + β/2 |∇x − w|²`` from x; the transform of ∇ᵀw is target_hat."""
        beta = dtype(beta)

        def normal(z_hat):
            return data_weight * blur.adjoint(data.mask * blur.forward(z_hat)) + beta * gradient_power * z_hat

        rhs_hat = measured_hat + beta * target_hat
        scaled = data_weight * blur.power + beta * gradient_power
        preconditioner = 1 / xp.maximum(scaled, dtype(1e-6) * scaled.max())
        return conjugate_gradients(x_hat, normal, rhs_hat, preconditioner, inner, steps)

    def measured():
        return data_weight * blur.adjoint(data.mask * extended)

    x_hat, measured_hat = rfft2(extended), measured()
    if method == "wiener":
        x_hat = solve(x_hat, WIENER_WEIGHT, 0, WIENER_STEPS)
        for _ in range(2 if data.changes else 0):
            data.update(x_hat)
            measured_hat = measured()
            x_hat = solve(x_hat, WIENER_WEIGHT, 0, WIENER_STEPS)
    else:
        x_hat = solve(x_hat, CONTINUATION[0], 0, FIRST_STEPS)
        for beta in CONTINUATION:
            if data.changes:
                data.update(x_hat)
                measured_hat = measured()
            w = (shrink_hyper_laplacian(d, beta) for d in differences(irfft2(x_hat, shape)))
            x_hat = solve(x_hat, beta, rfft2(differences_adjoint(*w)), STEPS)
    return xp.ascontiguousarray(data._inside(irfft2(x_hat, shape)))


def _checked_psf(psf, shape):
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


def check_options(method, noise):
    """Refuse an unknown method, or a noise level that is none.

    Raises
    ------
    DeconvnetError
    """
    if method not in METHODS:
        raise DeconvnetError(f"unknown non-blind method {method!r}: use one of {', '.join(METHODS)}")
    if noise is not None and not (np.isfinite(noise) and noise > 0):
        raise DeconvnetError(f"the noise level must be a finite number above 0, not {noise}")


def deconvolve(image, psf, method="hyper-laplacian", *, noise=None, psf_error=EXACT_PSF):
    """The sharp picture from a blurry one and its PSF.

    Parameters
    ----------
    image : float array (H, W) or (H, W, C)
        In [0, 1]; channels are restored one by one.
    psf : float array (h, w)
        Non-negative, not larger than the image; its centre, ``(h // 2, w // 2)``, is what does not move. Scaled to
        sum 1 here.
    method : {"hyper-laplacian", "wiener"}
        Sparse prior on gradients, or a Gaussian one, which is a little quicker, softer, and rings more.
    noise : float, optional
        Standard deviation of all that the blur leaves unexplained; a larger value gives a smoother picture, and
        forgives a PSF that is not quite right. By default √(`estimate_noise`² + ``psf_error``²) of each channel.
    psf_error : float
        What errors of the PSF leave unexplained: `EXACT_PSF` or `ESTIMATED_PSF`, for instance. Not used if the noise
        is given.

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
    return deconvolve_with(image, blur, method, noise=noise, psf_error=psf_error)
