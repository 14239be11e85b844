"""The single-photo network in PyTorch, with the same weights: the peer that `Pyramid` is timed against.

Written the way PyTorch is fastest at it: the feature images come from one of several `FEATURE_FORMS`, whichever is the
fastest at a size, and everything else takes the shortest way through its FFTs and sparse products.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.fft
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import nn

from deconvnet.backend import to_host
from deconvnet.ops.border import extended_shape
from deconvnet.ops.edge_taper import edge_taper
from deconvnet.ops.resample import resample

__all__ = [
    "FEATURE_FORMS",
    "TorchFeatures",
    "TorchPyramid",
    "feature_calls",
    "photo_call",
    "quotient",
    "tensor",
]

STRIP_ROWS = 32
TILE = {True: 64, False: 128}  # side of an FFT tile, for filters up to 17 px and larger ones
TILES_AT_ONCE = 64


def tensor(a, device="cpu"):
    """A NumPy or CuPy array as a tensor of its own; from GPU to GPU without a detour."""
    if device == "cuda" and not isinstance(a, np.ndarray):
        return torch.as_tensor(a, device=device).clone(memory_format=torch.contiguous_format)
    return torch.tensor(to_host(a), device=device)


def quotient(x_hat, y_hat, beta):
    """``Σ conj(x) y / (Σ |x|² + β)`` over the second axis."""
    power = (x_hat.real.square() + x_hat.imag.square()).sum(dim=1)
    return (x_hat.conj() * y_hat).sum(dim=1) / (power + beta)


def _chain(x, filters, bias, mixes):
    """Filters, tanh, and recombinations with a tanh between; ``mixes`` are (weight (M, C, 1, 1), bias)."""
    x = F.conv2d(x, filters, bias)
    for weight, shift in mixes:
        x = F.conv2d(torch.tanh(x), weight, shift)
    return x


_compiled: dict = {}  # one compiled chain per device: its code is reused for every stage of the same widths


def _compiled_chain(device):
    if device not in _compiled:
        torch._dynamo.config.recompile_limit = 64
        _compiled[device] = torch.compile(_chain, dynamic=True)
    return _compiled[device]


def _plain(features, x):
    return _chain(x, *features.weights())


def _channels_last(features, x):
    filters, bias, mixes = features.weights()
    filters = filters.to(memory_format=torch.channels_last)
    return _chain(x.to(memory_format=torch.channels_last), filters, bias, mixes).contiguous()


def _in_strips(features, x, chain):
    """The chain on a few rows at a time, so that the hidden images stay in the cache."""
    weights = features.weights()
    filters = weights[0].to(memory_format=torch.channels_last)
    height = x.shape[2] - features.size + 1
    parts = []
    for top in range(0, height, STRIP_ROWS):
        part = x[:, :, top : min(top + STRIP_ROWS, height) + features.size - 1]
        parts.append(chain(part.contiguous(memory_format=torch.channels_last), filters, *weights[1:]))
    return torch.cat(parts, dim=2)


def _strips(features, x):
    return _in_strips(features, x, _chain)


def _compiled_whole(features, x):
    return _compiled_chain(x.device.type)(x, *features.weights())


def _compiled_strips(features, x):
    return _in_strips(features, x, _compiled_chain(x.device.type))


def _fft_tiles(features, x):
    """Overlap-save: the filters by FFTs of overlapping tiles, a batch of tiles at a time, mixes tile by tile."""
    filters, bias, mixes = features.weights()
    size = features.size
    side = TILE[size <= 17]
    step = side - size + 1
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    down, across = -(-height // step), -(-width // step)
    padded = F.pad(x, (0, across * step + size - 1 - x.shape[3], 0, down * step + size - 1 - x.shape[2]))
    tiles = padded.unfold(2, side, step).unfold(3, side, step)  # (B, C, down, across, side, side)
    tiles = tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], side, side)
    spectra = torch.fft.rfft2(filters, s=(side, side)).conj()  # correlation with the flipped filters
    images = mixes[-1][0].shape[0]
    out = torch.empty((len(tiles), images, step, step), dtype=x.dtype, device=x.device)
    for first in range(0, len(tiles), TILES_AT_ONCE):
        tile_hat = torch.fft.rfft2(tiles[first : first + TILES_AT_ONCE])
        maps = torch.fft.irfft2(torch.einsum("tcyx,mcyx->tmyx", tile_hat, spectra), s=(side, side))
        maps = maps[:, :, :step, :step] + bias[:, None, None]
        for weight, shift in mixes:
            maps = F.conv2d(torch.tanh(maps), weight, shift)
        out[first : first + TILES_AT_ONCE] = maps
    out = out.reshape(len(x), down, across, images, step, step).permute(0, 3, 1, 4, 2, 5)
    return out.reshape(len(x), images, down * step, across * step)[:, :, :height, :width].contiguous()


#: Ways to compute the feature images; those that compile are left out where compiling takes too long.
FEATURE_FORMS = {
    "plain": _plain,
    "channels last": _channels_last,
    "channels last, strips": _strips,
    "FFT tiles": _fft_tiles,
    "compiled": _compiled_whole,
    "compiled, channels last, strips": _compiled_strips,
}


class TorchFeatures(nn.Module):
    """`deconvnet.layers.features.Features` with the same weights.

    Parameters
    ----------
    features : Features
    device : str
    """

    def __init__(self, features, device="cpu"):
        super().__init__()
        self.size, self.form = features.size, "channels last, strips"
        flipped = np.ascontiguousarray(to_host(features.conv.filters.value)[:, :, ::-1, ::-1])
        self.filters = nn.Parameter(tensor(flipped, device))
        self.bias = nn.Parameter(tensor(features.conv.bias.value, device))
        layers = [*features.hidden, features.out]
        self.mix = nn.ParameterList([nn.Parameter(tensor(m.weight.value, device)[:, :, None, None]) for m in layers])
        self.shift = nn.ParameterList([nn.Parameter(tensor(m.bias.value, device)) for m in layers])

    def weights(self):
        """Filters (flipped, for `conv2d` correlates), their bias, and the recombinations."""
        return self.filters, self.bias, list(zip(self.mix, self.shift))

    def forward(self, x):
        """Feature images (B, images, H − size + 1, W − size + 1) of ``x (B, channels, H, W)``."""
        return FEATURE_FORMS[self.form](self, x)


class _TorchStage(nn.Module):
    """One stage: feature images to PSF; and the latent image with it."""

    def __init__(self, stage, device):
        super().__init__()
        self.psf_size, self.pairs, self.latent = stage.psf_size, stage.pairs, stage.latent
        self.margin = stage.image.margin
        self.features = TorchFeatures(stage.features, device)
        self.log_beta = nn.Parameter(tensor(stage.quotient.log_beta.value, device))
        self.log_image_beta = nn.Parameter(tensor(stage.image.log_beta.value, device))
        self.windows = {}

    def window(self, shape, like):
        """The border window over the root of the number of pixels."""
        if shape not in self.windows:
            faded = edge_taper(np.ones(shape), self.psf_size) / (shape[0] * shape[1]) ** 0.5
            self.windows[shape] = torch.tensor(faded, dtype=like.dtype, device=like.device)
        return self.windows[shape]

    def forward(self, y, latent=None):
        """PSFs (B, k, k)."""
        maps = self.features(torch.stack([y, latent], dim=1) if self.latent else y[:, None])
        faded = maps * self.window(tuple(maps.shape[-2:]), maps)
        grid = tuple(scipy.fft.next_fast_len(max(n, self.psf_size), real=True) for n in maps.shape[-2:])
        spectra = torch.fft.rfft2(faded, s=grid)  # pads with zeros
        z_hat = quotient(spectra[:, : self.pairs], spectra[:, self.pairs :], self.log_beta.exp())
        raw = torch.fft.irfft2(z_hat, s=grid)
        half = self.psf_size // 2
        rows = torch.cat([raw[:, -half:], raw[:, : self.psf_size - half]], dim=1)
        positive = F.relu(torch.cat([rows[..., -half:], rows[..., : self.psf_size - half]], dim=2))
        return positive / positive.sum(dim=(-2, -1), keepdim=True)

    def sharpen(self, y_hat, grid, psf, shape):
        """Latent images from the spectra of the extended blurry ones."""
        half = psf.shape[-1] // 2
        padded = F.pad(psf, (0, grid[1] - psf.shape[-1], 0, grid[0] - psf.shape[-2]))
        otf = torch.fft.rfft2(torch.roll(padded, (-half, -half), dims=(-2, -1)))
        x_hat = quotient(otf[:, None], y_hat[:, None], self.log_image_beta.exp())
        return torch.fft.irfft2(x_hat, s=grid)[:, : shape[0], : shape[1]]


def _extend(x, grid):
    """`deconvnet.ops.border.extend_periodically`."""
    for _ in range(2):
        gap = grid[1] - x.shape[-1]
        weight = torch.cos(0.5 * torch.pi * (torch.arange(gap, device=x.device) + 0.5) / gap) ** 2
        filling = weight * x[..., -gap:].flip(-1) + (1 - weight) * x[..., :gap].flip(-1)
        x = torch.cat([x, filling], dim=-1).transpose(-2, -1)
        grid = grid[::-1]
    return x.contiguous()


class TorchPyramid(nn.Module):
    """`deconvnet.networks.photo_pyramid.Pyramid` with the same weights.

    Parameters
    ----------
    network : Pyramid
    device : str
    """

    def __init__(self, network, device="cpu"):
        super().__init__()
        self.psf_sizes = network.psf_sizes
        self.scales = nn.ModuleList(
            [nn.ModuleList([_TorchStage(stage, device) for stage in scale.stages]) for scale in network.scales]
        )
        self.device = device
        self.matrices = {}

    def use(self, form):
        """Compute all feature images in one of `FEATURE_FORMS`."""
        for scale in self.scales:
            for stage in scale:
                stage.features.form = form

    def _resample(self, x, shape):
        """`deconvnet.ops.resample.resample` as two sparse products; one image."""
        found = x[0]
        for length in shape:
            key = found.shape[0], length
            if key not in self.matrices:
                dense = resample(np.eye(key[0], dtype=np.float32)[None], (length, key[0]))[0]
                csr = scipy.sparse.csr_array(np.where(abs(dense) > 1e-12, dense, 0))
                parts = (torch.tensor(a.astype(np.int64), device=self.device) for a in (csr.indptr, csr.indices))
                values = torch.tensor(csr.data, device=self.device)
                with warnings.catch_warnings():  # that sparse tensors are new in PyTorch
                    warnings.simplefilter("ignore")
                    self.matrices[key] = torch.sparse_csr_tensor(*parts, values, size=csr.shape)
            found = torch.sparse.mm(self.matrices[key], found).T.contiguous()
        return found[None]

    def forward(self, luminance):
        """The PSF (B, k, k) of the last stage."""
        y = luminance - luminance.mean(dim=(-2, -1), keepdim=True)
        shape = tuple(luminance.shape[-2:])
        latent, psf = None, None
        for size, stages in zip(self.psf_sizes, self.scales):
            here = tuple(round(n * size / self.psf_sizes[-1]) for n in shape)
            finest = size == self.psf_sizes[-1]
            image = y if finest else self._resample(y, here)
            latent = None if latent is None else self._resample(latent, here)
            grid = extended_shape(here, stages[0].margin)
            y_hat = None
            for i, stage in enumerate(stages):
                psf = stage(image, latent)
                if i + 1 < len(stages) or not finest:
                    y_hat = torch.fft.rfft2(_extend(image, grid)) if y_hat is None else y_hat
                    latent = stage.sharpen(y_hat, grid, psf, here)
        return psf


def photo_call(network, picture, form, device="cpu"):
    """A call that estimates the PSF of ``picture`` (1, H, W) with the weights of a `Pyramid`.

    Parameters
    ----------
    network : Pyramid
    picture : float32 array (1, H, W)
    form : str
        One of `FEATURE_FORMS`.
    device : {"cpu", "cuda"}

    Returns
    -------
    callable
        Without arguments; returns a tensor (1, k, k).
    """
    peer, there = TorchPyramid(network, device), tensor(picture, device)
    peer.use(form)

    def call():
        with torch.inference_mode():
            return peer(there)

    return call


def feature_calls(network, picture, device="cpu", *, quick=False):
    """Calls of the last stage's features in every form that suits the device, by the name of the form.

    Parameters
    ----------
    network : Pyramid
    picture : float32 array (1, H, W)
    device : {"cpu", "cuda"}
    quick : bool
        Without those that are compiled.

    Returns
    -------
    dict of callable
    """
    there = tensor(picture, device)
    stage = TorchPyramid(network, device).scales[-1][-1]
    pair = torch.stack([there, there], dim=1)

    def in_form(name):
        def run():
            with torch.inference_mode():
                return FEATURE_FORMS[name](stage.features, pair)

        return run

    forms = [name for name in FEATURE_FORMS if not (quick and name.startswith("compiled"))]
    if device == "cuda":
        forms = [name for name in forms if not name.endswith("strips")]  # those are for the caches of a CPU
    return {name: in_form(name) for name in forms}
