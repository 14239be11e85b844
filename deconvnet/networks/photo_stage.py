"""One stage of the single-photo network (Schuler et al. 2015): learned features, PSF, latent image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer
from deconvnet.layers.edge_taper import EdgeTaper
from deconvnet.layers.features import Features
from deconvnet.layers.gradient_targets import GradientTargets
from deconvnet.layers.image_estimation import ImageEstimation
from deconvnet.layers.psf_support import PsfSupport
from deconvnet.layers.quotient import Quotient

__all__ = ["Stage"]

BETA_PSF = 1e-2  # start of β_k, of power per pixel and frequency


class Stage(Layer):
    """Features, PSF, latent image.

    Parameters
    ----------
    psf_size : int
        Side of the PSF in pixels.
    latent : bool
        Whether a latent image comes in beside the blurry one.
    filters, filter_size, hidden_layers, pairs : int
        See `scale_config`.
    targets : {"learned", "gradients"}
        See `scale_config`.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Notes
    -----
    The feature images fade at their borders and are continued with zeros to a size with a fast DFT, before ::

        psf = normalise(clip(crop(F⁻¹[ Σ conj(F x̃_i) F ỹ_i / ( Σ |F x̃_i|² + β_k ) ])))     (Eq. (4), Sec. 3.1.2)
        x   = F⁻¹[ conj(F psf) F y / ( |F psf|² + β_x ) ]                                   (Eq. (5))

    β_k is learned, as in Appendix A, where Sec. 3.1.2 sets it to 10⁻⁴: the feature images are divided by the root of
    their number of pixels, so it keeps its meaning at every image size. The spectrum of a few feature images has deep
    random dips, and without a regulariser the quotient there is noise.
    """

    def __init__(
        self,
        psf_size: int,
        *,
        latent: bool,
        filters: int,
        filter_size: int,
        hidden_layers: int,
        pairs: int,
        rng: np.random.Generator,
        targets: str = "learned",
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.psf_size, self.pairs, self.latent = psf_size, pairs, latent
        channels = 2 if latent else 1
        self.features: Features
        if targets == "gradients":
            self.features = GradientTargets(channels, filters, filter_size, hidden_layers, rng, dtype=dtype)
        else:
            self.features = Features(channels, filters, filter_size, hidden_layers, 2 * pairs, rng, dtype=dtype)
        self.fade = EdgeTaper(psf_size)
        self.quotient = Quotient(BETA_PSF, learned=True, dtype=dtype)
        self.support = PsfSupport(psf_size)
        self.image = ImageEstimation(2 * psf_size, dtype=dtype)

    def start_from(self, other: Stage) -> None:
        """Begin with what another stage has learned, so that a new stage starts where that one stands.

        Filters of other sizes are cut or padded about their centres. What the other stage does not have (the latent
        image's filters, further feature images) keeps its random values at a tenth: it must not disturb at first, and
        must not be zero either, or it would never learn. Stages of other widths or depths are left as they are.
        """
        mine: Any = self.features
        theirs: Any = other.features
        if len(mine.hidden) != len(theirs.hidden) or mine.conv.bias.value.shape != theirs.conv.bias.value.shape:
            return
        shared = min(mine.channels, theirs.channels)
        filters, source = mine.conv.filters.value, theirs.conv.filters.value
        filters[:, shared:] *= 0.1
        filters[:, :shared] = 0
        side = min(mine.size, theirs.size)
        to, of = mine.size // 2 - side // 2, theirs.size // 2 - side // 2
        filters[:, :shared, to : to + side, to : to + side] = source[:, :shared, of : of + side, of : of + side]
        mine.conv.bias.value[...] = theirs.conv.bias.value
        for layer, learned in zip(mine.hidden, theirs.hidden):
            layer.weight.value[...] = learned.weight.value
            layer.bias.value[...] = learned.bias.value
        for offset, their_offset in ((0, 0), (self.pairs, other.pairs)):  # the x̃_i, then the ỹ_i where they are learned
            for p in ("weight", "bias"):
                rows = getattr(mine.out, p).value[offset : offset + self.pairs]
                known = getattr(theirs.out, p).value[their_offset : their_offset + other.pairs][: len(rows)]
                rows *= 0.1
                rows[: len(known)] = known
        self.image.log_beta.value[...] = other.image.log_beta.value
        self.quotient.log_beta.value[...] = other.quotient.log_beta.value

    def _stacked(self, y: Array, latent: Array | None) -> Array:
        """Input of the features (B, 1 or 2, H, W)."""
        return array_module(y, latent).stack([y, latent], axis=1) if self.latent else y[:, None]

    def _grid(self, shape: Sequence[int]) -> tuple[int, int]:
        """Size with a fast DFT to which feature images of this size are continued."""
        height, width = (scipy.fft.next_fast_len(max(n, self.psf_size), real=True) for n in shape)
        return height, width

    def forward(self, y: Array, latent: Array | None = None, *, train: bool = False) -> tuple[Array, Any]:
        """PSFs of blurry images.

        Parameters
        ----------
        y : float array (B, H, W)
            Without their mean.
        latent : float array (B, H, W), optional
            Latent images, if the stage sees them.

        Returns
        -------
        psfs : float array (B, k, k)
        cache : tuple or None
        """
        stacked = self._stacked(y, latent)
        shape = [n - self.features.size + 1 for n in y.shape[-2:]]
        grid = self._grid(shape)
        # Over √n, n their pixels: the maps' power spectrum, and so β, does not depend on the image's size.
        scale = (shape[0] * shape[1]) ** -0.5
        if not train:
            return self.support.forward(self._raw_psf(stacked, shape, grid, scale))[0], None
        maps, features_cache = self.features.forward(stacked, train=True)
        faded, fade_cache = self.fade.forward(maps, scale=scale, grid=grid, train=True)
        sharp, blurry = faded[:, : self.pairs], faded[:, self.pairs :]
        raw, quotient_cache = self.quotient.forward(sharp, blurry, train=True)
        psf, support_cache = self.support.forward(raw, train=True)
        return psf, (features_cache, fade_cache, quotient_cache, support_cache)

    def feature_maps(self, y: Array, latent: Array | None = None) -> Array:
        """Feature images (B, 2m, h, w) of what `forward` takes: the x̃_i, then the ỹ_i, before their borders fade."""
        return self.features.forward(self._stacked(y, latent))[0]

    def faded(self, maps: Array) -> Array:
        """Feature images (B, 2m, h, w) whose borders fade as in `forward`, at their own scale."""
        return self.fade.forward(maps)[0]

    def windowed_psf(self, maps: Array, down: Array, across: Array) -> Array:
        """PSFs of what a window lets through of the feature images: `forward`'s estimate for a part of the picture.

        Parameters
        ----------
        maps : float array (B, 2m, h, w)
            As of `feature_maps`.
        down, across : float array (h,) and (w,), NumPy
            Factors of the window over the whole feature images, non-negative; only where it is not zero is anything
            computed. A window of ones gives what `forward` does.

        Returns
        -------
        float array (B, k, k)

        Raises
        ------
        DeconvnetError
            If the window is narrower than the PSF.

        Notes
        -----
        ``psf = F⁻¹[ Σ_i conj(F w x̃_i) F w ỹ_i / ( Σ_i |F w x̃_i|² + β_k ) ]``, cropped, clipped and normalised
        (Schuler et al. 2015, Eq. (8)), on top of the fading of the picture's borders. β_k is of power per pixel and
        frequency: the feature images are divided by √Σw², where `forward` divides by √n.
        """
        parts = [slice(int(w.nonzero()[0][0]), int(w.nonzero()[0][-1]) + 1) for w in (down, across)]
        shape = [part.stop - part.start for part in parts]
        if min(shape) < self.psf_size:
            raise DeconvnetError(
                f"windows of {shape[1]}×{shape[0]} pixels are too small for PSFs of {self.psf_size}: use fewer patches"
            )
        scale = float((down**2).sum() * (across**2).sum()) ** -0.5
        xp = array_module(maps)
        fade = self.fade.factors(maps.shape[-2:], like=maps, scale=scale)
        window = tuple(f[part] * xp.asarray(w[part], maps.dtype) for f, w, part in zip(fade, (down, across), parts))
        inside = xp.ascontiguousarray(maps[..., parts[0], parts[1]])
        return self.support.forward(self.quotient.middle(inside, window, self._grid(shape), self.psf_size))[0]

    def _raw_psf(self, stacked, shape, grid, scale):
        """The quotient around its origin; feature images are of size ``shape``."""
        window = self.fade.factors(shape, like=stacked, scale=scale)
        return self.features.psf(stacked, window, grid, self.quotient.beta, self.psf_size)

    def backward(self, dpsf: Array, cache: Any, *, need_dlatent: bool = True) -> Array | None:
        """Gradient of the latent images, None without them or if it is not needed; the blurry ones get none."""
        features_cache, fade_cache, quotient_cache, support_cache = cache
        xp = array_module(dpsf)
        draw = self.support.backward(dpsf, support_cache)
        dmaps = xp.concatenate(self.quotient.backward(draw, quotient_cache), axis=1)
        dmaps = self.fade.backward(dmaps, fade_cache)
        wanted = slice(1, 2) if self.latent and need_dlatent else None
        dlatent = self.features.backward(dmaps, features_cache, dx_channels=wanted)
        return None if dlatent is None else dlatent[:, 0]
