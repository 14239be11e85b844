"""The filter burst network of Wieschollek et al. 2016 in PyTorch, with the same weights: `FilterBurst`'s peer."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.peers.torch_photo import tensor
from deconvnet.backend import to_host
from deconvnet.layers.bands import BAND_SIZES, BAND_SLICES
from deconvnet.layers.fba import FLOOR

__all__ = ["TorchBands", "TorchFilterBurst", "smoothing"]

_HALF = 32  # highest frequency of a 65-px patch


def _parameters(device, *values):
    return nn.ParameterList([nn.Parameter(tensor(v, device)) for v in values])


def smoothing(size, sigma, device="cpu"):
    """Circulant matrix of a Gaussian over the frequencies."""
    place = np.arange(size)
    distance = np.minimum(place, size - place)
    profile = np.exp(-0.5 * (distance / sigma) ** 2)
    matrix = (profile / profile.sum())[(place[:, None] - place) % size]
    return torch.tensor(matrix.astype(np.float32), device=device)


class TorchBands(nn.Module):
    """`deconvnet.layers.bands.bands` by FFTs of the three windows of each patch."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.places = {}
        z_y, z_x = np.mgrid[-8:9, 0:9]
        size, first = np.maximum(abs(z_y), z_x), (z_x > 0) | (z_y > 0)
        for side, names in {65: ("b4", "b3"), 33: ("b2",), 17: ("b1",)}.items():
            for name in names:
                wanted = first & (size <= 4 if name == "b4" else size > 4)
                flat = (z_y % side) * (side // 2 + 1) + z_x
                self.places[name] = side, torch.tensor(flat[wanted], device=device)

    def forward(self, patches):
        """Rows (..., 705) of patches (..., 65, 65)."""
        centred = patches.reshape(-1, 65, 65) - 0.5
        spectra, parts = {}, []
        for name in BAND_SIZES:
            side, places = self.places[name]
            if side not in spectra:
                start = (65 - side) // 2
                window = centred[:, start : start + side, start : start + side]
                spectra[side] = torch.fft.rfft2(window).flatten(1)
            found = spectra[side][:, places] * (2**0.5 / side)
            if name == "b4":
                parts.append(spectra[side][:, :1].real / side)
            parts += [found.real, found.imag]
        return torch.cat(parts, dim=1).view(*patches.shape[:-2], -1)


class TorchFilterBurst(nn.Module):
    """`deconvnet.networks.burst_filter.FilterBurst` with the same weights.

    Parameters
    ----------
    network : FilterBurst
    device : str
    """

    def __init__(self, network, device="cpu"):
        super().__init__()
        self.patch, self.centre, self.surround = network.patch, network.centre, network.surround
        self.equivariant = network.frames is None
        self.bands = TorchBands(device)
        self.whitening = {name: tensor(getattr(network.bands, f"whitening_{name}"), device) for name in BAND_SIZES}

        def small(net):
            return _parameters(device, net.first.weight.value, net.first.bias.value, net.last.value)

        def dense(layer):
            return _parameters(device, to_host(layer.weight.value).T.copy(), layer.bias.value)

        self.across = nn.ModuleList([small(net) for net in network.across])
        self.merge1 = nn.ModuleList([dense(layer) for layer in network.merge1])
        self.merge2 = nn.ModuleList([dense(layer) for layer in network.merge2])
        self.trunk = nn.ModuleList([dense(layer) for layer in network.trunk])
        self.output = dense(network.output)
        self.fusion = small(network.fusion.correction)
        self.p = nn.Parameter(tensor(network.fusion.p.value, device))
        self.register_buffer("smooth", smoothing(self.centre, self.centre / 50, device))

    def _small(self, x, parameters):
        """The network across the frames at each coefficient: (B, N, K) -> (B, N, K)."""
        weight, bias, last = parameters
        if self.equivariant:
            pools = x.mean(dim=1, keepdim=True).expand_as(x), x.amax(dim=1, keepdim=True).expand_as(x)
            features = torch.stack([x, *pools], dim=-1)
            return (F.relu(features @ weight + bias) @ last)[..., 0]
        return (F.relu(x.transpose(1, 2) @ weight + bias) @ last).transpose(1, 2)

    def predict_filters(self, frames):
        """Half spectra (B·N, 65, 33) of the filters."""
        rows = self.bands(frames)
        mixed = {}
        for (name, band), parameters in zip(BAND_SLICES.items(), self.across):
            whitened = rows[..., band] @ self.whitening[name]
            mixed[name] = (whitened + self._small(whitened, parameters)).flatten(0, 1)
        pairs = [
            F.relu(F.linear(torch.cat([mixed[low], mixed[high]], dim=1), *layer))
            for layer, (low, high) in zip(self.merge1, (("b4", "b3"), ("b3", "b2"), ("b2", "b1")))
        ]
        halves = [F.relu(F.linear(torch.cat(pairs[i : i + 2], dim=1), *m)) for i, m in enumerate(self.merge2)]
        hidden = torch.cat(halves, dim=1)
        for layer in self.trunk:
            hidden = F.relu(F.linear(hidden, *layer))
        filters = torch.view_as_complex(F.linear(hidden, *self.output).view(len(hidden), -1, 2))
        inner, column = filters[:, : 65 * _HALF].view(-1, 65, _HALF), filters[:, 65 * _HALF :]
        first = torch.cat([torch.ones_like(column[:, :1]), column, column.flip(1).conj()], dim=1)
        return torch.cat([first[..., None], inner], dim=2)

    def forward(self, frames, *, smooth=False):
        """Sharp centres (B, 33, 33) of bursts (B, N, 65, 65)."""
        batch, count = frames.shape[:2]
        filters = self.predict_filters(frames)
        filtered = torch.fft.irfft2(filters * torch.fft.rfft2(frames.flatten(0, 1)), s=(65, 65))
        frames_hat = torch.fft.rfft2(filtered[:, 16:49, 16:49]).view(batch, count, self.centre, -1)
        magnitude = torch.sqrt(frames_hat.real.square() + frames_hat.imag.square() + FLOOR**2)
        if smooth:
            mirrored = magnitude[..., 1:].flip(-1)
            mirrored = torch.cat([mirrored[..., :1, :], mirrored[..., 1:, :].flip(-2)], dim=-2)
            magnitude = self.smooth @ (
                torch.cat([magnitude, mirrored], dim=-1) @ self.smooth[:, : self.centre // 2 + 1]
            )
        logs = torch.log(magnitude)
        logits = self.p * logs + self._small(logs.flatten(2), self.fusion).view_as(logs)
        return torch.fft.irfft2((logits.softmax(dim=1) * frames_hat).sum(dim=1), s=(self.centre, self.centre))

    def restore(self, frames):
        """As used on whole pictures: with smoothed accumulation weights."""
        return self(frames, smooth=True)
