"""The quotient burst network in PyTorch, with the same weights: the peer that `QuotientBurst` is timed against."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.peers.torch_photo import quotient, tensor
from deconvnet.ops.window import hann, tukey

__all__ = ["TorchQuotientBurst"]


def _dense(layer, device):
    """A `Dense` layer's weight and bias as parameters."""
    return nn.ParameterList(
        [nn.Parameter(tensor(layer.weight.value, device)), nn.Parameter(tensor(layer.bias.value, device))]
    )


def _burst_dense(layer, device):
    parts = (layer.own.value, layer.pooled.value, layer.bias.value)
    return nn.ParameterList([nn.Parameter(tensor(p, device)) for p in parts])


def _across(x, own, pooled, bias):
    """Own row times one matrix, the burst's mean row times another: (B, N, C) -> (B, N, C')."""
    batch, frames, width = x.shape
    shared = torch.addmm(bias, x.mean(dim=1), pooled)
    return (x.reshape(-1, width) @ own).view(batch, frames, -1) + shared[:, None]


class TorchQuotientBurst(nn.Module):
    """`deconvnet.networks.burst_quotient.QuotientBurst` with the same weights.

    Parameters
    ----------
    network : QuotientBurst
    device : str
    """

    def __init__(self, network, device="cpu"):
        super().__init__()
        self.patch, self.centre, self.surround = network.patch, network.centre, network.surround
        self.psf_size = network.psf_size
        features = network.features
        self.reach, self.bound = features.reach, features.bound
        self.floors = features.relative_floor, features.absolute_floor
        self.register_buffer("shift", tensor(features.shift, device))
        self.register_buffer("scale", tensor(features.scale, device))
        self.dense = nn.ModuleList([_burst_dense(layer, device) for layer in network.dense])
        self.logits = _dense(network.logits, device)
        self.refinements = nn.ModuleList(
            [nn.ModuleList([_burst_dense(r.dense, device), _dense(r.correction, device)]) for r in network.refinements]
        )
        self.head = _dense(network.head, device)
        self.log_beta = nn.Parameter(tensor(network.log_beta.value, device))
        self.register_buffer("basis", tensor(network._basis(network.log_beta.value), device))
        profile = tukey(network.patch, network.fade).astype(np.float32)
        self.register_buffer("fade", torch.tensor(np.outer(profile, profile), device=device))
        rows, columns, places = self._windowed_dft(network.patch, features.steps, network.surround)
        self.register_buffer("rows", torch.tensor(rows, device=device))
        self.register_buffer("columns", torch.tensor(columns, device=device))
        self.steps = features.steps
        self.register_buffer("kept", torch.tensor(places, device=device))

    def _windowed_dft(self, window, steps, surround):
        """Factors of the pruned DFT of Hann windows, rows (S, 2·steps·(reach+1)) real, columns complex; kept places."""
        profile, place = hann(window), np.arange(window)
        z_y, z_x = np.mgrid[-self.reach : self.reach + 1, 0 : self.reach + 1]
        across = profile[:, None] * np.exp(-2j * np.pi * np.outer(place, z_x[0]) / window)
        rows = np.zeros((surround, len(steps), self.reach + 1), dtype=np.complex64)
        for i, step in enumerate(steps):
            rows[step : step + window, i] = across
        columns = (profile * np.exp(-2j * np.pi * np.outer(z_y[:, 0], place) / window)).astype(np.complex64)
        kept = np.flatnonzero(((z_x > 0) | (z_y > 0)).ravel())
        return rows.reshape(surround, -1).view(np.float32), columns, kept

    def _features(self, frames):
        """The ratios (B, N, F) and the rows that go into the dense layers."""
        batch, count, side, _ = frames.shape
        centred = frames - frames.mean(dim=(-2, -1), keepdim=True)
        by_rows = torch.view_as_complex((centred.reshape(-1, side) @ self.rows).view(-1, self.rows.shape[1] // 2, 2))
        by_rows = by_rows.view(batch * count, side, -1)
        steps = len(self.steps)
        parts = [self.columns @ by_rows[:, step : step + self.patch] for step in self.steps]
        spectra = torch.stack(parts, dim=1).view(batch * count, steps, len(self.columns), steps, -1)
        spectra = spectra.transpose(2, 3).reshape(batch, count, steps * steps, -1)[..., self.kept]
        mean = spectra.mean(dim=1)
        mean_power = (mean.real.square() + mean.imag.square()).sum(dim=1)
        power = (spectra.real.square() + spectra.imag.square()).sum(dim=2)
        relative, absolute = self.floors
        floor = relative * mean_power.mean(dim=-1, keepdim=True) + absolute
        cross = (spectra * mean.conj()[:, None]).sum(dim=2) / (mean_power + floor)[:, None]
        real, imaginary = (part.clamp(-self.bound, self.bound) for part in (cross.real, cross.imag))
        log_power = (torch.log(power + absolute) - self.shift) / self.scale
        log_mean = ((torch.log(mean_power + absolute) - self.shift) / self.scale)[:, None].expand_as(log_power)
        return torch.complex(real, imaginary), torch.cat([real, imaginary, log_power, log_mean], dim=-1)

    def _otf(self, psfs):
        """Half spectra (B, N, patch, patch//2 + 1) of centred PSFs."""
        gap, half = self.patch - self.psf_size, self.psf_size // 2
        return torch.fft.rfft2(torch.roll(F.pad(psfs, (0, gap, 0, gap)), (-half, -half), dims=(-2, -1)))

    def _softmax(self, logits):
        return logits.softmax(dim=-1).view(*logits.shape[:-1], self.psf_size, self.psf_size)

    def _spectra(self, patches):
        mean = patches.mean(dim=(-2, -1), keepdim=True)
        return torch.fft.rfft2((patches - mean) * self.fade).flatten(2), mean.mean(dim=1)

    def _middle(self, images, side):
        start = (images.shape[-1] - side) // 2
        return images[..., start : start + side, start : start + side]

    def _estimate(self, surrounds, frames_hat):
        with torch.no_grad():  # nothing learned lies below
            ratio, hidden = self._features(surrounds)
        for layer in self.dense:
            hidden = F.relu(_across(hidden, *layer))
        logits = hidden @ self.logits[0] + self.logits[1]
        psfs = self._softmax(logits)
        for dense, (weight, bias) in self.refinements:
            otf = self._otf(psfs)
            low = torch.cat([otf[:, :, -self.reach :], otf[:, :, : self.reach + 1]], dim=2)[..., : self.reach + 1]
            low = low.flatten(2)[..., self.kept]
            error = ratio * low.mean(dim=1, keepdim=True) - low
            x = F.relu(_across(torch.cat([hidden, error.real, error.imag], dim=-1), *dense))
            logits = logits + x @ weight + bias
            psfs = self._softmax(logits)
        with torch.no_grad():
            mean = frames_hat.mean(dim=1)
            own = (frames_hat.real.square() + frames_hat.imag.square()).mean(dim=1)
            both = torch.stack([own, mean.real.square() + mean.imag.square()], dim=1)
            bands = both @ (self.basis / self.basis.sum(dim=1, keepdim=True)).T
            powers = 0.25 * torch.log(bands.flatten(1) + 1e-2)
        adaptation = torch.cat([hidden.mean(dim=1), powers], dim=-1) @ self.head[0] + self.head[1]
        return psfs, adaptation

    def estimate_psfs(self, surrounds):
        """PSFs (B, N, k, k) and the correction of log β (B, bands)."""
        return self._estimate(surrounds, self._spectra(self._middle(surrounds, self.patch))[0])

    def _sharpen(self, frames_hat, mean, psfs, adaptation):
        beta = (self.log_beta + adaptation @ self.basis).exp()
        z_hat = quotient(self._otf(psfs).flatten(2), frames_hat, beta)
        sharp = torch.fft.irfft2(z_hat.view(len(psfs), self.patch, -1), s=(self.patch, self.patch))
        return self._middle(sharp, self.centre) + mean

    def deconvolve(self, patches, psfs, adaptation):
        """Sharp centres (B, centre, centre) of patches (B, N, patch, patch) with known PSFs."""
        return self._sharpen(*self._spectra(patches), psfs, adaptation)

    def forward(self, surrounds):
        """Sharp centres (B, centre, centre) and PSFs (B, N, k, k)."""
        frames_hat, mean = self._spectra(self._middle(surrounds, self.patch))
        psfs, adaptation = self._estimate(surrounds, frames_hat)
        return self._sharpen(frames_hat, mean, psfs, adaptation), psfs
