"""One stage of the single-photo network (Schuler et al. 2015): learned features, PSF, latent image."""

from __future__ import annotations

import numpy as np
import scipy.fft

from deconvnet.backend import array_module
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
    The feature images fade at their borders and are continued with zeros to a size with a fast DFT, before

        psf = normalise(clip(crop(F⁻¹[ Σ conj(F x̃_i) F ỹ_i / ( Σ |F x̃_i|² + β_k ) ])))     (Eq. (4), Sec. 3.1.2)
        x   = F⁻¹[ conj(F psf) F y / ( |F psf|² + β_x ) ]                                   (Eq. (5))

    β_k is learned, as in Appendix A, where Sec. 3.1.2 sets it to 10⁻⁴: the feature images are divided by the root of
    their number of pixels, so it keeps its meaning at every image size. The spectrum of a few feature images has deep
    random dips, and without a regulariser the quotient there is noise.
    """

    def __init__(
        self, psf_size, *, latent, filters, filter_size, hidden_layers, pairs, rng, targets="learned", dtype=np.float32
    ):
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

    def start_from(self, other):
        """Begin with what another stage has learned, so that a new stage starts where that one stands.

        Filters of other sizes are cut or padded about their centres. What the other stage does not have (the latent
        image's filters, further feature images) keeps its random values at a tenth: it must not disturb at first, and
        must not be zero either, or it would never learn. Stages of other widths or depths are left as they are.
        """
        mine, theirs = self.features, other.features
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

    def forward(self, y, latent=None, *, train=False):
        """PSFs (B, k, k) of blurry images ``y (B, H, W)`` without their mean, and the latent images if there are."""
        xp = array_module(y, latent)
        stacked = xp.stack([y, latent], axis=1) if self.latent else y[:, None]
        shape = [n - self.features.size + 1 for n in y.shape[-2:]]
        grid = [scipy.fft.next_fast_len(max(n, self.psf_size), real=True) for n in shape]
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

    def _raw_psf(self, stacked, shape, grid, scale):
        """The quotient around its origin; feature images are of size ``shape``."""
        window = self.fade.factors(shape, like=stacked, scale=scale)
        return self.features.psf(stacked, window, grid, self.quotient.beta, self.psf_size)

    def backward(self, dpsf, cache, *, need_dlatent=True):
        """Gradient of the latent images, None without them or if it is not needed; the blurry ones get none."""
        features_cache, fade_cache, quotient_cache, support_cache = cache
        xp = array_module(dpsf)
        draw = self.support.backward(dpsf, support_cache)
        dmaps = xp.concatenate(self.quotient.backward(draw, quotient_cache), axis=1)
        dmaps = self.fade.backward(dmaps, fade_cache)
        wanted = slice(1, 2) if self.latent and need_dlatent else None
        dlatent = self.features.backward(dmaps, features_cache, dx_channels=wanted)
        return None if dlatent is None else dlatent[:, 0]
