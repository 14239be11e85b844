"""The burst network of Wieschollek et al. 2016: a filter per frame, then a learned Fourier burst accumulation.

Of every 65×65 frame the network sees four frequency bands, in which the frames of the burst exchange what they know;
dense layers, shared by the frames, turn them into the Fourier coefficients of a deconvolution filter (after
Chakrabarti 2016); the sharpened 33×33 centres are fused frequency by frequency. Two sizes: "paper" with the published
widths and its 14 frames, and "compact", narrower, for any number of frames in any order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.layers.bands import BAND_SIZES, BAND_SLICES, WhitenedBands
from deconvnet.layers.base import Layer
from deconvnet.layers.coefficient import CoefficientNet
from deconvnet.layers.dense import Dense
from deconvnet.layers.fba import LearnableFBA
from deconvnet.layers.relu import relu, relu_backward
from deconvnet.layers.spectral_filter import FILTER_REALS, SpectralFilter, identity_filter

__all__ = ["SIZES", "FilterBurst"]

#: The two networks: frames (None: any number), units of the dense layers, number of layers of g units.
SIZES: dict[str, dict[str, Any]] = {
    "paper": {"frames": 14, "w1": 1024, "w2": 2048, "g": 4096, "layers": 5, "hidden": 32},
    "compact": {"frames": None, "w1": 256, "w2": 512, "g": 1024, "layers": 3, "hidden": 8},
}

# Neighbouring bands lie side by side in the row, so each merge reads one slice of it.
_MERGES = tuple(
    slice(BAND_SLICES[low].start, BAND_SLICES[high].stop) for low, high in (("b4", "b3"), ("b3", "b2"), ("b2", "b1"))
)
_GAIN = 0.5**0.5  # standard deviation 1/√(2 fan_in), the published start


class FilterBurst(Layer):
    """Sharp 33×33 patch from a burst of blurry 65×65 patches.

    Parameters
    ----------
    network : {"compact", "paper"}
        Which of `SIZES` gives what the other arguments leave open.
    frames : int or None, optional
        A number: the parts across the frames are tied to it; bursts with fewer frames repeat theirs. None: any number
        of frames of at least 2, in any order. Left out: by the network's size.
    w1, w2, g : int, optional
        Units of the three merges of neighbouring bands, of the two merges of those, and of the layers after them.
    layers : int, optional
        Number of layers with ``g`` units.
    hidden : int, optional
        Units of the small networks across the frames.
    fusion : {"softmax", "eq6"}
        How the frames' weights are learned, see `LearnableFBA`.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Attributes
    ----------
    config : dict
        The arguments that rebuild the network: ``FilterBurst(**config)``.

    Notes
    -----
    Per frame: bands (whitened) → mlp1 across the burst, one per band → merges b4+b3, b3+b2, b2+b1 (w1 each) → two
    merges (w2 each) → g → … → g → 4224 reals, the filter → its product with the frame's DFT → centre 33×33; then the
    learned Fourier burst accumulation of the centres. ReLU between dense layers. A new network is vanilla FBA of the
    centres with p = 11: the last dense layer starts with weights of zero and the identity filter as its bias, the
    networks across the frames start as the identity.
    """

    kind = "burst"
    surround = 65
    patch = 65
    centre = 33

    def __init__(
        self,
        network: str = "compact",
        *,
        frames: int | str | None = "by size",
        w1: int | None = None,
        w2: int | None = None,
        g: int | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        fusion: str = "softmax",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if network not in SIZES:
            raise DeconvnetError(f"unknown network {network!r}: use one of {', '.join(SIZES)}")
        rng = np.random.default_rng(0) if rng is None else rng
        given = {"w1": w1, "w2": w2, "g": g, "layers": layers, "hidden": hidden}
        size = {**SIZES[network], **{key: value for key, value in given.items() if value is not None}}
        if frames != "by size":
            size["frames"] = frames
        self.name = network
        self.config = {"network": network, **size, "fusion": fusion}
        self.frames, hidden = size["frames"], size["hidden"]

        def dense(fan_in, fan_out):
            return Dense(fan_in, fan_out, rng, gain=_GAIN, dtype=dtype)

        self.bands = WhitenedBands(dtype=dtype)
        self.across = [CoefficientNet(self.frames, hidden, rng, dtype=dtype) for _ in BAND_SIZES]
        self.merge1 = [dense(part.stop - part.start, size["w1"]) for part in _MERGES]
        self.merge2 = [dense(2 * size["w1"], size["w2"]) for _ in range(2)]
        fans = [2 * size["w2"], *[size["g"]] * size["layers"]]
        self.trunk = [dense(a, b) for a, b in pairwise(fans)]
        self.output = Dense(size["g"], FILTER_REALS, rng, gain=0.0, dtype=dtype)
        self.output.bias.value[...] = identity_filter(dtype)
        self.filter = SpectralFilter()
        self.fusion = LearnableFBA(self.frames, hidden, rng, fusion=fusion, dtype=dtype)

    def fit(self, frames: Array) -> None:
        """Fit the whitening of the bands to training bursts (B, N, 65, 65) with at least 416 frames in all."""
        self.bands.fit(frames)

    def prepare_frames(self, frames: Array) -> Array:
        """As many frames as the network wants.

        Parameters
        ----------
        frames : real array (B, N, 65, 65)

        Returns
        -------
        array (B, M, 65, 65)
            The input, if the network takes any number. Otherwise fewer frames are repeated in turn, and of more
            frames each burst keeps those with the largest sum of squared differences between neighbouring pixels,
            in their order.
        """
        xp = array_module(frames)
        count = frames.shape[1]
        if self.frames in (None, count):
            return frames
        if count < self.frames:
            return frames[:, xp.arange(self.frames) % count]
        detail = (xp.diff(frames, axis=-1) ** 2).sum(axis=(-2, -1)) + (xp.diff(frames, axis=-2) ** 2).sum(axis=(-2, -1))
        kept = xp.sort(xp.argsort(-detail, axis=1)[:, : self.frames], axis=1)
        return xp.take_along_axis(frames, kept[:, :, None, None], axis=1)

    def _merge(self, layer, x, kept):
        """Dense layer and ReLU; what its backward needs is put at the end of ``kept`` unless that is None."""
        before, cache = layer.forward(x, train=kept is not None)
        if kept is None:
            return array_module(before).maximum(before, 0, out=before)
        y = relu(before)
        kept.append((cache, y))
        return y

    def predict_filters(self, frames: Array, *, train: bool = False) -> tuple[Array, Any]:
        """Filters (B·N, 4224), as in `layers.spectral_filter`, of the frames (B, N, 65, 65)."""
        xp = array_module(frames)
        plain, _ = self.bands.forward(frames)
        mixed, across = xp.empty_like(plain), []
        for layer, band in zip(self.across, BAND_SLICES.values()):
            mixed[..., band], cache = layer.forward(xp.ascontiguousarray(plain[..., band]), train=train)
            across.append(cache)
        rows = mixed.reshape(-1, mixed.shape[-1])  # every frame of every burst: one product per layer
        kept: list | None = [] if train else None
        pairs = [self._merge(layer, rows[:, part], kept) for layer, part in zip(self.merge1, _MERGES)]
        halves = [
            self._merge(layer, xp.concatenate(pairs[i : i + 2], axis=1), kept) for i, layer in enumerate(self.merge2)
        ]
        hidden = xp.concatenate(halves, axis=1)
        for layer in self.trunk:
            hidden = self._merge(layer, hidden, kept)
        filters, output_cache = self.output.forward(hidden, train=train)
        return filters, ((across, kept, output_cache) if train else None)

    def forward(self, frames: Array, *, train: bool = False, sigma: float = 0.0) -> tuple[Array, Any]:
        """Sharp centres of bursts of blurry patches.

        Parameters
        ----------
        frames : real array (B, N, 65, 65)
            Registered luminance patches in [0, 1].
        train : bool
            Keep what `backward` needs; otherwise nothing is kept.
        sigma : float
            Smoothing of the fusion's magnitudes in frequency bins, for deployment only: in training it prevents
            convergence (Wieschollek et al. 2016, Sec. 3.2).

        Returns
        -------
        prediction : real array (B, 33, 33)
        cache : tuple or None

        Raises
        ------
        DeconvnetError
            If there is one frame only, or more than a network with a fixed number of frames takes.
        """
        if frames.shape[1] < 2:
            raise DeconvnetError("a burst needs at least 2 frames: give more frames")
        if self.frames is not None and frames.shape[1] > self.frames:
            raise DeconvnetError(
                f"this network takes at most {self.frames} frames and got {frames.shape[1]}: "
                "choose among them with prepare_frames"
            )
        frames = self.prepare_frames(frames)
        batch, count = frames.shape[:2]
        filters, filters_cache = self.predict_filters(frames, train=train)
        stack, filter_cache = self.filter.forward(filters.reshape(batch, count, -1), frames, train=train)
        prediction, fusion_cache = self.fusion.forward(stack, train=train, sigma=sigma)
        return prediction, ((filters_cache, filter_cache, fusion_cache) if train else None)

    def restore(self, frames: Array) -> Array:
        """Prediction as used on whole pictures: any number of frames, smoothed accumulation weights.

        Parameters
        ----------
        frames : real array (B, N, 65, 65)

        Returns
        -------
        real array (B, 33, 33)
        """
        return self.forward(self.prepare_frames(frames), sigma=self.centre / 50)[0]

    def backward(self, dprediction: Array, cache: Any) -> tuple[None]:
        """Add the gradients of all parameters; the frames themselves get none (None is returned).

        Parameters
        ----------
        dprediction : real array (B, 33, 33)
        cache : tuple
            From `forward` with ``train=True``.
        """
        (across, kept, output_cache), filter_cache, fusion_cache = cache
        dstack = self.fusion.backward(dprediction, fusion_cache)
        batch, count = dstack.shape[:2]
        dfilters, _ = self.filter.backward(dstack, filter_cache, need_dpatches=False)
        dhidden = self.output.backward(dfilters.reshape(batch * count, -1), output_cache)
        kept = list(kept)

        def unmerge(layer, dy):
            x, y = kept.pop()
            return layer.backward(relu_backward(dy, y), x)

        for layer in reversed(self.trunk):
            dhidden = unmerge(layer, dhidden)
        width = dhidden.shape[1] // 2
        dhalves = [dhidden[:, :width], dhidden[:, width:]]
        second = unmerge(self.merge2[1], dhalves[1])
        first = unmerge(self.merge2[0], dhalves[0])
        width = first.shape[1] // 2
        dpairs = [first[:, :width], first[:, width:] + second[:, :width], second[:, width:]]
        drows = array_module(dprediction).zeros((batch * count, _MERGES[-1].stop), dtype=dprediction.dtype)
        for layer, part, dpair in reversed(list(zip(self.merge1, _MERGES, dpairs))):
            drows[:, part] += unmerge(layer, dpair)
        dmixed = drows.reshape(batch, count, -1)
        for layer, band, layer_cache in zip(self.across, BAND_SLICES.values(), across):
            layer.backward(array_module(dmixed).ascontiguousarray(dmixed[..., band]), layer_cache, need_dx=False)
        return (None,)
