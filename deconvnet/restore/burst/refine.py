"""Better PSFs for a burst: estimates, refined by what all frames of a window say together."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy.fft

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels.burst.latent_gradients import expected_spectra, faded_gradients
from deconvnet.kernels.burst.psf_correlations import psf_correlations
from deconvnet.kernels.burst.spectrum_strips import to_strips
from deconvnet.kernels.photo.edge_gradients import edge_gradients
from deconvnet.kernels.photo.psf_grid import projected_gradient
from deconvnet.ops.edge_taper import edge_taper_factors
from deconvnet.restore.blind_steps import couplings, value_range
from deconvnet.restore.burst.latent import BurstSpectra

__all__ = ["Refined", "refine_burst_psfs", "resized_psfs", "spread"]

#: Iterations of a round with sharp gradients of few edges, then with the expected latent image, then with the most
#: likely one under a sparse prior; and how many with the expected one where there are none with few edges.
EDGE_STEPS, EXPECTATION_STEPS, SPARSE_STEPS = 4, 3, 1
EXPECTATION_STEPS_ALONE = 6
#: By how much the power to which PSFs are raised is above 1, see `refine_burst_psfs`, and the spread in pixels up to
#: which they are as thin as pixels can be; it counts in full from a pixel more on.
THINNING, THIN = 0.07, 0.7
#: Steps of the projected gradient in each; each starts where the one before ended.
GRADIENT_STEPS = 24
#: l0 weight of an edge, see `deconvnet.kernels.photo.edge_gradients`, and the least multiple of the variance of the
#: frames' noise (divided by the root of their number).
L0_WEIGHT, NOISE_L0_WEIGHT = 4e-3, 16.0
#: Weight of the squared distance from the given PSFs; the second is times the noise's variance, for each pixel.
BETA, NOISE_BETA = 1.0, 8.0
#: A PSF may be where, blurred by a Gaussian of this many pixels, it has this share of its maximum.
SUPPORT_BLUR, SUPPORT_SHARE = 1.0, 0.05
#: Share of the maximum below which a PSF's pixels become zero after every iteration.
THRESHOLD = 0.04
#: Radial bands of the latent image's spectrum.
BANDS = 24
#: Weight of the squared gradients beside the data in the first latent image, for each frame.
FIRST_WEIGHT = 1e-3


@functools.lru_cache(maxsize=16)
def _radial_bands(shape: tuple[int, int], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Means over radial bands of a half spectrum, as a matrix (BANDS, F), and the interpolation between them."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])) / 0.5
    position = np.minimum(radius, 1.0).ravel() * (BANDS - 1)
    members = np.round(position) == np.arange(BANDS)[:, None]
    mean = members / np.maximum(members.sum(axis=1, keepdims=True), 1)
    return mean.astype(dtype), np.maximum(0, 1 - abs(position - np.arange(BANDS)[:, None])).astype(dtype)


def _radial_mean(power: Array, shape: tuple[int, int]) -> Array:
    """The half spectrum (H, W//2 + 1) of powers with each replaced by the mean over its radius."""
    xp = array_module(power)
    mean, between = (xp.asarray(matrix) for matrix in _radial_bands(tuple(shape), power.dtype.name))
    return xp.exp(xp.log(xp.maximum(mean @ power.ravel(), 1e-12)) @ between).reshape(power.shape)


@functools.cache
def _gaussian_matrix(side: int, dtype: str) -> np.ndarray:
    """Blur of a line of pixels by the Gaussian of `SUPPORT_BLUR`, nothing beyond its ends: a matrix (side, side)."""
    reach = int(4 * SUPPORT_BLUR + 0.5)
    distance = abs(np.subtract.outer(np.arange(side), np.arange(side)))
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SUPPORT_BLUR) ** 2).sum()
    return (np.exp(-0.5 * (distance / SUPPORT_BLUR) ** 2) / profile * (distance <= reach)).astype(dtype)


def _supports(psfs: Array) -> Array:
    """1 where the PSFs (N, k, k) may be, 0 elsewhere."""
    xp = array_module(psfs)
    blur = xp.asarray(_gaussian_matrix(psfs.shape[-1], psfs.dtype.name))
    blurred = blur @ psfs @ blur
    return (blurred > SUPPORT_SHARE * blurred.max(axis=(1, 2), keepdims=True)).astype(psfs.dtype)


def _offsets(psfs: Array) -> Array:
    """Distance of each pixel of a line from the middle, in the PSFs' dtype and on their device."""
    return array_module(psfs).arange(psfs.shape[-1], dtype=psfs.dtype) - psfs.shape[-1] // 2


def _centre_of_mass(psfs: Array, weights: Array) -> Array:
    """Mean over the PSFs (N, k, k) of sum 1, by weights (N,), of their centres of mass, down and across from the
    middle: (2,)."""
    xp = array_module(psfs)
    profiles = xp.stack([psfs.sum(axis=2), psfs.sum(axis=1)])
    return (profiles @ _offsets(psfs)) @ weights / weights.sum()


def _moved_to_middle(psfs: Array, weights: Array) -> Array:
    """PSFs (N, k, k) moved, linearly between pixels, to a common centre of mass in the middle; what leaves is lost."""
    xp = array_module(psfs)
    way, pixel = -_centre_of_mass(psfs, weights), _offsets(psfs)
    down, across = (xp.maximum(1 - abs(pixel[:, None] - pixel - d), 0) for d in way)  # where pixels come from
    return down @ psfs @ across.T


def _spreads(psfs: Array) -> Array:
    """Root mean squared distance of the mass of each PSF (N, k, k) from its centre, in pixels: (N,)."""
    xp = array_module(psfs)
    offset = _offsets(psfs)
    profiles = xp.stack([psfs.sum(axis=2), psfs.sum(axis=1)])
    return xp.sqrt(xp.maximum((profiles @ offset**2 - (profiles @ offset) ** 2).sum(axis=0), 0))


def spread(psfs: Array) -> float:
    """Median over the PSFs (N, k, k) of the root mean squared distance of their mass from its centre, in pixels."""
    return float(array_module(psfs).median(_spreads(psfs)))


def _thinned(psfs: Array) -> Array:
    """PSFs (N, k, k) of sum 1 raised to a power above 1, wide ones to a higher one, and normalised."""
    power = 1 + THINNING * (_spreads(psfs) - THIN).clip(0, 1)
    return _normalised((psfs / psfs.max(axis=(1, 2), keepdims=True)) ** power[:, None, None], psfs)


@functools.lru_cache(maxsize=64)
def _lanczos_matrix(reach: int, factor: float, dtype: str) -> np.ndarray:
    """Interpolation from the pixels −reach … reach to as many times finer ones, middle on middle: (k', k)."""
    finer = int(np.ceil((reach + 0.5) * factor - 0.5))
    distance = np.arange(-finer, finer + 1)[:, None] / factor - np.arange(-reach, reach + 1)
    return np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0).astype(dtype)


def resized_psfs(psfs: Array, factor: float, size: int | None = None) -> Array:
    """PSFs (N, k, k) on a grid with ``factor`` pixels for one: (N, size, size), non-negative, of sum 1.

    Parameters
    ----------
    psfs : real array (N, k, k)
        k is odd.
    factor : float
        At least 1.
    size : int, optional
        Odd; what does not fit is cut off. By default all that there is fits.

    Returns
    -------
    real array (N, size, size)

    Notes
    -----
    Interpolated by Lanczos' windowed sinc of three lobes, which hardly blurs, and what is negative then is cut off. A
    blur that all PSFs got here would stay: the frames do not tell it.
    """
    xp = array_module(psfs)
    if factor != 1:
        across = xp.asarray(_lanczos_matrix(psfs.shape[-1] // 2, factor, psfs.dtype.name))
        psfs = xp.maximum(across @ psfs @ across.T, 0)
    side = psfs.shape[-1]
    size = side if size is None else size
    room, start = max(0, size - side) // 2, max(0, side - size) // 2
    psfs = xp.pad(psfs, ((0, 0), (room, room), (room, room)))[:, start : start + size, start : start + size]
    return psfs / psfs.sum(axis=(1, 2), keepdims=True)


class Refined(NamedTuple):
    """What `refine_burst_psfs` finds.

    Attributes
    ----------
    psfs : real array (N, k, k)
        Non-negative, of sum 1.
    weights : real array (N,)
        How much each frame is to be believed beside the median one.
    misfit : float
        Standard deviation of what the median frame's PSF leaves unexplained, in units of the frames' range.
    """

    psfs: Array
    weights: Array
    misfit: float = 0.0


class _Window(BurstSpectra):
    """What all iterations on one window share: the frames' spectra and those of their gradients, and the noise."""

    def __init__(self, frames: Array, size: int) -> None:
        super().__init__(frames, size)
        xp = array_module(frames)
        height, width = frames.shape[1:]
        self.pixels = height * width
        self.shape = (height - 1, width - 1)  # of the differences that do not reach over the border
        self.faded = tuple(scipy.fft.next_fast_len(n, real=True) for n in self.shape)  # their grid
        self.size = size
        self.grid_pixels = self.dtype(np.prod(self.grid))
        self.taper = edge_taper_factors(self.shape, max(size, 8), like=frames)
        self.gradients = to_strips(rfft2(faded_gradients(frames, *self.taper, self.faded)))
        self.area = float((self.taper[0] ** 2).sum() * (self.taper[1] ** 2).sum())  # px, those of the faded border less
        lags = xp.arange(1 - size, size)
        self.lags = [((lags % n)[:, None], lags % m) for n, m in (self.grid, self.faded)]
        self.circulant = scipy.fft.next_fast_len(2 * size - 1, real=True)

    def sharp_edges(self, data: Array, power: Array, l0_weight: float) -> Array:
        """Half spectra of the gradients of the latent image with few edges."""
        xp = array_module(data)
        weight = self.dtype(FIRST_WEIGHT) * self.weights.sum()
        start = irfft2(data / (power + weight * self.gradient_power + self.dtype(1e-6)), self.grid)
        edges = edge_gradients(data, power, l0_weight, start, couplings(l0_weight))
        window = self.taper[0][:, None] * self.taper[1]
        faded = xp.zeros((2, *self.faded), self.dtype)
        faded[:, : self.shape[0], : self.shape[1]] = edges[:, : self.shape[0], : self.shape[1]] * window
        return rfft2(faded)

    def gradient_powers(self, data: Array, power: Array) -> Array:
        """S: at each radius, the mean power of the latent image's gradients, if white ones are expected."""
        observed = ((self.y_hat.real**2 + self.y_hat.imag**2) * self.roots**2).sum(axis=0) / self.grid_pixels
        white = 2 * (self.gradient_power * observed).mean() / self.weights.sum()
        return _radial_mean(self._expected_powers(data, power, white), self.grid)

    def expected(self, data: Array, power: Array, powers: Array) -> tuple[Array, Array]:
        """Half spectra of the gradients of the expected latent image, and the autocorrelation of what is uncertain."""
        sharp_hat, uncertain_hat = expected_spectra(data, power, self.gradient_power, powers, self.noise**2)
        uncertain = irfft2(uncertain_hat, self.grid)[self.lags[0]] * self.dtype(self.area)
        return self.gradients_of(irfft2(sharp_hat, self.grid)), uncertain

    def gradients_of(self, latent: Array) -> Array:
        """Half spectra of the gradients of a latent image, faded as the frames' are."""
        return rfft2(faded_gradients(latent[None], *self.taper, self.faded)[0])

    def psfs(self, sharp_hat: Array, uncertain: Array | None, start: Array, given: Array, beta: float) -> Array:
        """The PSFs that take sharp gradients to the frames' best, not normalised; see `refine_burst_psfs`."""
        xp = array_module(sharp_hat)
        own = irfft2((sharp_hat.real**2 + sharp_hat.imag**2).sum(axis=0), self.faded)[self.lags[1]]
        if uncertain is not None:
            own += uncertain
        target = psf_correlations(sharp_hat, self.gradients, self.faded, self.size)
        target += self.dtype(beta) * given
        room = xp.zeros((self.circulant, self.circulant), self.dtype)
        room[: len(own), : len(own)] = own
        steepest = float(abs(rfft2(room)).max()) + beta  # of the convolution with `own`, wherever its origin is
        support = _supports(start)
        return projected_gradient(own, target, start * support, support, beta, steepest, GRADIENT_STEPS)

    def _expected_powers(self, data: Array, power: Array, prior: Array) -> Array:
        """Expected powers of the latent image's gradients, if they are `prior` before anything is seen."""
        denominator = power + self.noise**2 * self.gradient_power / prior
        found = (data.real**2 + data.imag**2) / (self.grid_pixels * denominator**2)
        return self.gradient_power * (found + self.noise**2 / denominator)


def refine_burst_psfs(
    frames: Array, psfs: Array, *, weights: Array | None = None, rounds: int = 1, edges: bool = True
) -> Refined:
    """Better PSFs of the registered frames of a burst, from estimates.

    Parameters
    ----------
    frames : real array (N, H, W)
        Luminance in [0, 1]; at least twice the PSFs on each side, better ten times. The blur of each frame is taken as
        one for all of it.
    psfs : real array (N, k, k)
        The estimates, non-negative, of sum 1; k is odd. The refined ones can grow within these k×k px.
    weights : real array (N,), optional
        How much each frame is to be believed at first, 0 to 1; all fully by default.
    rounds : int
        How often all steps are taken, each time from where the last round ended.
    edges : bool
        Begin with a latent image that has few edges. It finds PSFs from poor estimates, and makes good ones too broad
        where the scene itself is soft, as enlarged pictures are.

    Returns
    -------
    Refined
        Of the frames' dtype. What was given if the frames show nothing.

    Notes
    -----
    Latent image and PSFs in turn. The latent image first has few edges (`EDGE_STEPS` times); then, X being its
    spectrum under a Gaussian prior whose gradients have the power S at each radius, its expectation and variance are
    known in closed form, the former by the multi-frame quotient (Schuler et al. 2015, Eq. (5),
    doi:10.1109/TPAMI.2015.2481418, over frames)::

        E X = Σ_i conj(K_i) Y_i / D,    var X = σ² / D,    D = Σ_i |K_i|² + σ² |F∇|² / S

    and the PSFs that are then most likely solve, for every frame alone, with ∇ the two differences, ::

        min ‖psf * ∇E x − ∇y_i‖² + ⟨psf, A psf⟩ + β ‖psf − given‖²,  psf ≥ 0,

    where A has the spectrum ``|F∇|² var X`` (expectation maximisation,
    Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x). The variance
    keeps the PSFs from explaining noise; S, taken from the first such image, and the given PSFs keep the latent image
    from becoming ever sharper, which the frames alone do not forbid: they do not tell a blur that all PSFs share. Of
    all PSFs that explain the frames alike the thinnest are wanted, so each is raised to a power a little above 1 and
    normalised after these steps; where light is missing then, the next step brings it back. In the last step the latent
    image is that of `deconvnet.restore.burst.latent.sparse_latent`. Nor do the frames tell where the latent image is:
    after each step but the last, all PSFs are moved so that their common centre of mass is in the middle.

    What was tried, and what refining is worth: ``train/LOG.md``.
    """
    weights = array_module(frames).ones(len(frames), frames.dtype) if weights is None else weights
    extent = value_range(frames.mean(axis=0))
    if not extent > 0:
        return Refined(psfs, weights)
    window = _Window(frames / frames.dtype.type(extent), psfs.shape[-1])
    window.weigh(weights)
    psfs = _moved_to_middle(psfs.astype(frames.dtype), window.weights)
    for _ in range(rounds):
        psfs = _refine(window, psfs, edges)
    return Refined(psfs, window.weights, float(window.noise))


def _refine(window: _Window, psfs: Array, edges: bool) -> Array:
    """One round of all steps."""
    xp = array_module(psfs)
    variance = float(window.noise) ** 2
    l0_weight = max(L0_WEIGHT, NOISE_L0_WEIGHT * variance / np.sqrt(window.count))
    beta = BETA + NOISE_BETA * variance * window.pixels
    given, powers, uncertain = psfs, None, None
    expected_from = EDGE_STEPS if edges else 0
    sparse_from = expected_from + (EXPECTATION_STEPS if edges else EXPECTATION_STEPS_ALONE)
    steps = sparse_from + SPARSE_STEPS
    for step in range(steps):
        if step == expected_from:
            window.trust(psfs, window.sparse(psfs))
            beta = BETA + NOISE_BETA * float(window.noise) ** 2 * window.pixels
        sums = window.sums(psfs)
        if step < expected_from:
            sharp_hat = window.sharp_edges(*sums, l0_weight)
        else:
            # Those of the first estimate stay: a latent image whose spectrum may follow its own becomes ever whiter.
            powers = window.gradient_powers(*sums) if powers is None else powers
            sharp_hat, uncertain = window.expected(*sums, powers)
            if step >= sparse_from:
                sharp_hat = window.gradients_of(window.sparse(psfs))
        found = window.psfs(sharp_hat, uncertain, psfs, given, beta)
        largest = xp.maximum(found.max(axis=(1, 2), keepdims=True), 1e-12)
        found = found * (found > THRESHOLD * largest)
        if step < steps - 1:  # the next step sharpens what moving blurs
            psfs = _moved_to_middle(_normalised(found, psfs), window.weights)
            if step >= expected_from:
                psfs = _thinned(psfs)
        else:
            psfs = _normalised(found, psfs)
    return psfs


def _normalised(found: Array, psfs: Array) -> Array:
    """Non-negative PSFs (N, k, k) of sum 1, those before where nothing was found, in their dtype."""
    xp = array_module(psfs)
    mass = found.sum(axis=(1, 2), keepdims=True)
    return xp.where(mass > 0, found / xp.maximum(mass, 1e-12), psfs).astype(psfs.dtype)
