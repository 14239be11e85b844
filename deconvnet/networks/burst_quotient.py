"""The quotient burst network: two quotient layers with a dense network between them.

The first takes the ratio of every frame's spectrum to the burst mean's, which cancels the scene
(Schuler et al. 2015's PSF estimation, across a burst). A dense network, shared by the frames and
equivariant to their order, turns the ratios into one PSF per frame. The second is the closed-form
estimate of the sharp patch from all frames and their PSFs. Any number of frames, no lucky frame
needed, and the PSFs are there to look at.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, irfft2, irfft2_backward
from deconvnet.kernels.burst.patch_quotient import patch_quotient
from deconvnet.kernels.burst.patch_spectra import patch_spectra
from deconvnet.kernels.photo.quotient import quotient_spectrum, quotient_spectrum_backward
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.dense import BurstDense, Dense
from deconvnet.layers.psf_softmax import PsfSoftmax
from deconvnet.layers.relative_spectra import PsfConsistency, RelativeSpectra
from deconvnet.layers.relu import Relu
from deconvnet.ops.psf import psf_to_otf, psf_to_otf_backward
from deconvnet.ops.window import tukey

__all__ = ["QuotientBurst"]


class _Cache(NamedTuple):
    """What `QuotientBurst.backward` needs of one call."""

    dense: list  # caches of the dense layers and their ReLUs, in forward order
    logits: object
    softmax: object
    refinements: list  # caches of the refinements, in forward order
    head: object
    psfs: object
    otf: object  # (B, N, F)
    frames_hat: object  # (B, N, F)
    z_hat: object  # (B, F)
    denominator: object
    beta: object  # (B, F)


@functools.cache
def _radial_basis(shape, count, dtype):
    """Triangular bumps in radial frequency, (count, F), that add up to one."""
    height, width = shape
    zy = np.minimum(np.arange(height), height - np.arange(height))[:, None] / height
    zx = np.arange(width // 2 + 1)[None] / width
    position = np.minimum(np.hypot(zy, zx) / 0.5, 1) * (count - 1)
    return np.maximum(0, 1 - abs(position[None] - np.arange(count)[:, None, None])).reshape(count, -1).astype(dtype)


class _Refinement(Layer):
    """Correction of the logits from the hidden units and from what the PSFs leave unexplained."""

    def __init__(self, fan_in: int, width: int, psf_size: int, rng: np.random.Generator, dtype: Any) -> None:
        self.dense = BurstDense(fan_in, width, rng, dtype=dtype)
        self.relu = Relu()
        self.correction = Dense(width, psf_size * psf_size, rng, gain=0.0, dtype=dtype)

    def forward(self, hidden: Array, error: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        xp = array_module(hidden, error)
        x, dense_cache = self.dense.forward(xp.concatenate([hidden, error], axis=-1), train=train)
        x, active = self.relu.forward(x, train=train)
        correction, correction_cache = self.correction.forward(x, train=train)
        return correction, ((dense_cache, active, correction_cache, hidden.shape[-1]) if train else None)

    def backward(self, dcorrection: Array, cache: tuple) -> tuple[Array, Array]:
        dense_cache, active, correction_cache, split = cache
        dx = self.relu.backward(self.correction.backward(dcorrection, correction_cache), active)
        dx = self.dense.backward(dx, dense_cache)
        return dx[..., :split], dx[..., split:]


class QuotientBurst(Layer):
    """Sharp patch from a burst of blurry ones, for any number of frames.

    Parameters
    ----------
    psf_size : int
        Side of the PSFs that the network can express (odd).
    widths : sequence of int
        Units of the dense layers between the two quotients.
    reach : int
        Highest frequency of the relative spectra, in cycles per 65-px window.
    patch, centre, fade : int
        Side of the deconvolved patch, of its predicted centre, and the border over which it fades.
    step : int
        Distance of the nine windows; the surround is ``patch + 2·step`` px wide.
    noise_bands : int
        Radial bands in which the network adapts the regulariser to the patch.
    refinements : int
        How often the PSFs are corrected by what they leave unexplained.
    refinement_width : int
        Units of a refinement's hidden layer.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Notes
    -----
    With R_i the relative spectra and power spectra of the frames (`RelativeSpectra`), K_i the softmax
    PSFs of the dense network, Y_i the patches (mean removed, borders faded)::

        x̂ = F⁻¹[ Σ conj(K_i) Y_i / (Σ |K_i|² + β) ],    log β(f) = ν(f) + Σ_r h_r b_r(|f|)

    ν is learned per frequency; h is predicted from the burst (its hidden units, and the power of the
    frames and of their mean in radial bands) and starts at zero, so that the regulariser can follow the
    noise and the texture of the patch. A refinement looks at
    ``R_i · mean_j(K_j) − K_i``, which is zero for PSFs that explain the measured ratios, and corrects the
    logits; it starts at zero too. Multi-frame quotient: Schuler et al.
    2015, Eq. (5) and Appendix A, with the PSFs for x̃ and the frames for ỹ.
    """

    kind = "burst"
    name = "quotient"

    def __init__(
        self,
        *,
        psf_size: int = 25,
        widths: Sequence[int] = (512, 512, 1024, 1024, 1024),
        reach: int = 16,
        patch: int = 65,
        centre: int = 33,
        fade: int = 10,
        step: int = 32,
        noise_bands: int = 8,
        refinements: int = 1,
        refinement_width: int = 512,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        self.config = {
            "psf_size": psf_size,
            "widths": list(widths),
            "reach": reach,
            "patch": patch,
            "centre": centre,
            "fade": fade,
            "step": step,
            "noise_bands": noise_bands,
            "refinements": refinements,
            "refinement_width": refinement_width,
        }
        self.psf_size, self.patch, self.centre, self.step = psf_size, patch, centre, step
        self.fade, self.noise_bands = fade, noise_bands
        self.surround = patch + 2 * step
        self.features = RelativeSpectra(patch, (0, step, 2 * step), reach, dtype=dtype)
        fans = [self.features.size, *widths]
        self.dense = [BurstDense(a, b, rng, dtype=dtype) for a, b in itertools.pairwise(fans)]
        self.relu = Relu()
        self.logits = Dense(fans[-1], psf_size * psf_size, rng, gain=0.1, dtype=dtype)
        self.softmax = PsfSoftmax(psf_size)
        self.consistency = PsfConsistency(patch, reach)
        self.refinements = [
            _Refinement(fans[-1] + 2 * self.features.frequencies, refinement_width, psf_size, rng, dtype)
            for _ in range(refinements)
        ]
        self.head = Dense(fans[-1] + 2 * noise_bands, noise_bands, rng, gain=0.0, dtype=dtype)
        half = patch * (patch // 2 + 1)
        self.log_beta = Parameter(np.full(half, -5.0, dtype=dtype))
        # Start from the belief that a PSF is a blob.
        offset = np.arange(psf_size) - psf_size // 2
        radius = offset[:, None] ** 2 + offset[None] ** 2
        self.logits.bias.value[...] = (-radius / (2 * 2.5**2)).ravel()

    def fit(self, frames: Array) -> None:
        """Set the fixed normalisation of the features from training frames (B, N, surround, surround)."""
        self.features.fit(frames)

    def estimate_psfs(self, surrounds: Array, *, train: bool = False) -> tuple[Array, Array, Any]:
        """PSFs of every frame and the patch's log β correction.

        Parameters
        ----------
        surrounds : array (B, N, surround, surround)
            Luminance in [0, 1].

        Returns
        -------
        psfs : array (B, N, k, k)
        adaptation : array (B, noise_bands)
            h_r above.
        caches : tuple or None
        """
        frames_hat, _ = patch_spectra(self._central(surrounds, self.patch), self._fade)
        return self._estimate(surrounds, frames_hat, train)

    def _estimate(self, surrounds, frames_hat, train):
        """`estimate_psfs` with the spectra of the patches, which `forward` has at hand."""
        xp = array_module(surrounds)
        hidden, _ = self.features.forward(surrounds)
        ratio = self.features.ratio(hidden)
        kept = []
        for layer in self.dense:
            hidden, cache = layer.forward(hidden, train=train)
            hidden, active = self.relu.forward(hidden, train=train)
            kept.append((cache, active))
        logits, logits_cache = self.logits.forward(hidden, train=train)
        psfs, softmax_cache = self.softmax.forward(logits, train=train)
        refined = []
        for refinement in self.refinements:
            error, error_cache = self.consistency.forward(psfs, ratio, train=train)
            correction, correction_cache = refinement.forward(hidden, error, train=train)
            logits = logits + correction
            psfs, psf_cache = self.softmax.forward(logits, train=train)
            refined.append((error_cache, correction_cache, psf_cache))
        pooled = xp.concatenate([hidden.mean(axis=1), self._band_powers(frames_hat)], axis=-1)
        adaptation, head_cache = self.head.forward(pooled, train=train)
        caches = (kept, logits_cache, softmax_cache, refined, head_cache)
        return psfs, adaptation, (caches if train else None)

    def _basis(self, like):
        xp = array_module(like)
        return xp.asarray(_radial_basis((self.patch, self.patch), self.noise_bands, like.dtype.name))

    def _band_powers(self, frames_hat):
        """Log powers in radial bands up to the highest frequencies, of the frames and of their mean: (B, 2·bands).

        Their difference at high frequencies tells the noise, which the regulariser must follow.
        """
        xp = array_module(frames_hat)
        basis = self._basis(frames_hat.real)
        basis = basis / basis.sum(axis=1, keepdims=True)
        mean = frames_hat.mean(axis=1)
        own = (frames_hat.real**2 + frames_hat.imag**2).mean(axis=1)
        both = xp.stack([own, mean.real**2 + mean.imag**2], axis=1) @ basis.T
        return 0.25 * xp.log(both.reshape(len(frames_hat), -1) + 1e-2)  # of order one for photographs

    @property
    def _fade(self):
        """Profile of the window that fades the patches' borders."""
        return tuple(tukey(self.patch, self.fade).tolist())

    def _beta(self, adaptation):
        """The regulariser of each patch at each frequency, (B, F)."""
        return array_module(adaptation).exp(self.log_beta.value + adaptation @ self._basis(adaptation))

    def _quotient(self, frames_hat, psfs, adaptation):
        """Deconvolved patches without their mean, and what the backward pass needs."""
        batch, frames, _ = frames_hat.shape
        side = self.patch
        otf = psf_to_otf(psfs, (side, side)).reshape(batch, frames, -1)
        beta = self._beta(adaptation)
        z_hat, denominator = quotient_spectrum(otf, frames_hat, beta)
        sharp = irfft2(z_hat.reshape(batch, side, side // 2 + 1), (side, side))
        return sharp, (otf, frames_hat, z_hat, denominator, beta)

    def _central(self, patches, side):
        start = (patches.shape[-1] - side) // 2
        return patches[..., start : start + side, start : start + side]

    def deconvolve(self, patches: Array, psfs: Array, adaptation: Array) -> Array:
        """Sharp centres (B, centre, centre) of patches (B, N, patch, patch) with known PSFs."""
        return patch_quotient(patches, psfs, self._beta(adaptation), self._fade, self.centre)

    def forward(self, surrounds: Array, *, train: bool = False) -> tuple[Array, Any]:
        """Sharp centres (B, centre, centre) of a burst (B, N, surround, surround)."""
        patches = self._central(surrounds, self.patch)
        frames_hat, means = patch_spectra(patches, self._fade)
        psfs, adaptation, kept = self._estimate(surrounds, frames_hat, train)
        if not train:
            return self.deconvolve(patches, psfs, adaptation), None
        sharp, parts = self._quotient(frames_hat, psfs, adaptation)
        prediction = self._central(sharp, self.centre) + means.mean(axis=1)[:, None, None]
        return prediction, _Cache._make((*kept, psfs, *parts))

    def backward(self, dprediction: Array, cache: Any, *, dpsfs: Array | None = None) -> tuple[None]:
        """Accumulate the gradients of all parameters; the frames themselves get none (None is returned).

        Parameters
        ----------
        dprediction : array (B, centre, centre)
        cache : tuple
        dpsfs : array (B, N, k, k), optional
            Gradient of a loss on the PSFs themselves, added to that through the picture.
        """
        xp = array_module(dprediction)
        batch, frames = cache.psfs.shape[:2]
        side = self.patch
        start = (side - self.centre) // 2
        dsharp = xp.zeros((batch, side, side), dtype=dprediction.dtype)
        dsharp[:, start : start + self.centre, start : start + self.centre] = dprediction
        dz_hat = irfft2_backward(dsharp).reshape(batch, -1)
        dotf, _, dbeta = quotient_spectrum_backward(
            dz_hat, cache.otf, cache.frames_hat, cache.z_hat, cache.denominator, need_dy=False
        )
        dlog_beta = dbeta * cache.beta
        self.log_beta.grad += dlog_beta.sum(axis=0)
        dadaptation = dlog_beta @ self._basis(dprediction).T
        dpsf = psf_to_otf_backward(dotf.reshape(batch, frames, side, -1), self.psf_size, (side, side))
        if dpsfs is not None:
            dpsf += dpsfs
        dpooled = self.head.backward(dadaptation, cache.head)
        dhidden = dpooled[:, None, : -2 * self.noise_bands] / frames
        # Every refinement adds to the logits of the one before: their gradient is summed on the way up.
        dlogits: Array = 0
        for refinement, (error_cache, correction_cache, psf_cache) in zip(
            self.refinements[::-1], cache.refinements[::-1]
        ):
            dlogits = dlogits + self.softmax.backward(dpsf, psf_cache)
            dhere, derror = refinement.backward(dlogits, correction_cache)
            dhidden = dhidden + dhere
            dpsf, _ = self.consistency.backward(derror, error_cache)
        dlogits = dlogits + self.softmax.backward(dpsf, cache.softmax)
        dhidden = dhidden + self.logits.backward(dlogits, cache.logits)
        for i in range(len(self.dense) - 1, -1, -1):
            inputs, active = cache.dense[i]
            dhidden = self.dense[i].backward(self.relu.backward(dhidden, active), inputs, need_dx=i > 0)
        return (None,)
