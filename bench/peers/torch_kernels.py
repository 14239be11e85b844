"""The nearest thing that PyTorch has to each of our kernels, in the forms that a careful user would try.

Every function takes the kernel's own arrays (NumPy or CuPy) and a device, and returns ``{form: call}``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from bench.peers.torch_filter_burst import TorchBands, smoothing
from bench.peers.torch_patches import overlap_add as add_patches
from bench.peers.torch_photo import FEATURE_FORMS, TorchFeatures, quotient, tensor
from bench.peers.torch_quotient_burst import TorchQuotientBurst
from deconvnet.backend import to_host
from deconvnet.layers.fba import FLOOR

__all__ = [
    "adam",
    "bands",
    "blur",
    "burst_deconvolution",
    "conv_gradient",
    "features",
    "fourier_accumulation",
    "image_quotient",
    "overlap_add",
    "psf_quotient",
    "relative_spectra",
    "spectral_filter",
    "splatting",
]


def _inference(function, *arguments):
    """The call without autograd."""

    def call():
        with torch.inference_mode():
            return function(*arguments)

    return call


def features(layer, x, device):
    """Filters, tanh and recombinations."""
    module, there = TorchFeatures(layer, device), tensor(x, device)
    return {name: _inference(form, module, there) for name, form in FEATURE_FORMS.items()}


def conv_gradient(x, dy, filters, device):
    """Gradient of a convolution's filters."""
    there, gradient = tensor(x, device), tensor(dy, device)

    def run(images, dout):
        return torch.nn.grad.conv2d_weight(images, filters.shape, dout).flip(-2, -1)

    last = (a.contiguous(memory_format=torch.channels_last) for a in (there, gradient))
    return {"plain": _inference(run, there, gradient), "channels last": _inference(run, *last)}


def image_quotient(x, y, beta, device):
    """Quotient of pairs of images."""
    left, right = tensor(x, device), tensor(y, device)
    both = torch.cat([left, right], dim=1)
    pairs = left.shape[1]

    def run():
        z_hat = quotient(torch.fft.rfft2(left), torch.fft.rfft2(right), beta)
        return torch.fft.irfft2(z_hat, s=left.shape[-2:])

    def stacked():
        spectra = torch.fft.rfft2(both)
        return torch.fft.irfft2(quotient(spectra[:, :pairs], spectra[:, pairs:], beta), s=left.shape[-2:])

    return {"plain": _inference(run), "one transform for all": _inference(stacked)}


def psf_quotient(maps, down, across, grid, beta, side, device):
    """The middle of a quotient of faded images that are continued with zeros."""
    there, pairs, half = tensor(maps, device), maps.shape[1] // 2, side // 2
    window = tensor(down, device)[:, None] * tensor(across, device)

    def run():
        spectra = torch.fft.rfft2(there * window, s=grid)
        raw = torch.fft.irfft2(quotient(spectra[:, :pairs], spectra[:, pairs:], beta), s=grid)
        rows = torch.cat([raw[:, : side - half], raw[:, -half:]], dim=1)
        return torch.cat([rows[..., : side - half], rows[..., -half:]], dim=2)

    return {"plain": _inference(run)}


def bands(patches, device):
    """Frequency bands by FFTs of three windows."""
    return {"three FFTs": _inference(TorchBands(device), tensor(patches, device))}


def burst_deconvolution(network, patches, psfs, adaptation, device):
    """Multi-frame quotient of patches with known PSFs."""
    peer = TorchQuotientBurst(network, device)
    return {"plain": _inference(peer.deconvolve, *(tensor(a, device) for a in (patches, psfs, adaptation)))}


def spectral_filter(filter_hat, patches, device):
    """Filtering in the spectrum; the filters come as spectra."""
    there, frames = tensor(filter_hat, device), tensor(patches, device)

    def run():
        filtered = torch.fft.irfft2(there * torch.fft.rfft2(frames), s=frames.shape[-2:])
        return filtered[..., 16:49, 16:49].contiguous()

    return {"plain": _inference(run)}


def overlap_add(patches, window, stride, device):
    """Windowed patches, added by `fold`."""
    return {"fold": _inference(add_patches, tensor(patches, device), tensor(window, device), stride)}


def fourier_accumulation(frames, p, sigma, device):
    """Fourier burst accumulation of patches with smoothed magnitudes."""
    there, side = tensor(frames, device), frames.shape[-1]
    gaussian = smoothing(side, sigma, device)

    def run():
        frames_hat = torch.fft.rfft2(there)
        magnitude = torch.sqrt(frames_hat.real.square() + frames_hat.imag.square() + FLOOR**2)
        mirrored = magnitude[..., 1:].flip(-1)
        mirrored = torch.cat([mirrored[..., :1, :], mirrored[..., 1:, :].flip(-2)], dim=-2)
        smooth = gaussian @ (torch.cat([magnitude, mirrored], dim=-1) @ gaussian[:, : side // 2 + 1])
        weights = (p * smooth.log()).softmax(dim=1)
        return torch.fft.irfft2((weights * frames_hat).sum(dim=1), s=(side, side))

    return {"plain": _inference(run)}


def relative_spectra(windows_hat, relative_floor, absolute_floor, bound, device):
    """Ratios to the burst mean and log powers, element-wise."""
    spectra = tensor(windows_hat, device)

    def run():
        mean = spectra.mean(dim=1)
        mean_power = (mean.real.square() + mean.imag.square()).sum(dim=1)
        power = (spectra.real.square() + spectra.imag.square()).sum(dim=2)
        floor = relative_floor * mean_power.mean(dim=-1, keepdim=True) + absolute_floor
        cross = (spectra * mean.conj()[:, None]).sum(dim=2) / (mean_power + floor)[:, None]
        ratio = torch.stack([cross.real, cross.imag], dim=2).clamp(-bound, bound)
        return ratio, torch.log(power + absolute_floor), torch.log(mean_power + absolute_floor)

    return {"plain": _inference(run)}


def splatting(angles, first, step, projection, extent, shift, size, time_samples, smoothing_width, device):
    """PSFs of recorded camera paths: interpolation, projection, bilinear scattering, smoothing."""
    taps = np.exp(-0.5 * (np.arange(-1, 2) / smoothing_width) ** 2)
    taps /= taps.sum()
    arrays = [tensor(to_host(a).astype(np.float64), device) for a in (angles, first, step, projection, extent, shift)]
    smoothing_taps = torch.tensor(np.outer(taps, taps)[None, None], dtype=torch.float32, device=device)
    middle = size // 2

    def run():
        readings, start, stride, view, reach, moved = arrays
        position = start[:, None] + stride[:, None] * torch.arange(time_samples, device=device)
        row = position.long().clamp(max=len(readings) - 2)
        path = torch.lerp(readings[row], readings[row + 1], (position - row)[..., None]) @ view.transpose(1, 2)
        path = path - path.mean(dim=1, keepdim=True)
        room = torch.minimum(moved + middle, size - 1 - middle - moved).amin(dim=1) * (1 - 1e-6)
        scale = torch.minimum(reach / 2, room) / path.abs().amax(dim=(1, 2)).clamp(min=1e-12)
        place = (path * scale[:, None, None] + moved[:, None] + middle).float()
        corner = place.long()
        share = place - corner
        psfs = torch.zeros(len(place), size * size, device=device)
        for down in (0, 1):
            for right in (0, 1):
                y, x = (corner[..., 0] + down).clamp(max=size - 1), (corner[..., 1] + right).clamp(max=size - 1)
                weight = (share[..., 0] if down else 1 - share[..., 0]) * (
                    share[..., 1] if right else 1 - share[..., 1]
                )
                psfs.scatter_add_(1, y * size + x, weight)
        psfs = F.conv2d(psfs.view(-1, 1, size, size), smoothing_taps, padding=1)[:, 0]
        psfs = psfs / psfs.sum(dim=(1, 2), keepdim=True)
        psfs = torch.where(psfs < 1e-4, 0, psfs)  # as ours: taps with hardly any light are dropped
        return psfs / psfs.sum(dim=(1, 2), keepdim=True)

    return {"scatter_add": _inference(run)}


def blur(sharp, psfs, device):
    """Valid convolution of every crop with the PSFs of its frames, as one grouped convolution or by FFTs."""
    crops, kernels = tensor(sharp, device), tensor(psfs, device)
    batch, frames, side, _ = psfs.shape
    flipped = kernels.flip(-2, -1).reshape(batch * frames, 1, side, side).contiguous()
    size = sharp.shape[-1]

    def grouped():
        return F.conv2d(crops[None], flipped, groups=batch)[0].view(batch, frames, size - side + 1, -1)

    def by_ffts():
        spectra = torch.fft.rfft2(crops)[:, None] * torch.fft.rfft2(kernels, s=(size, size))
        return torch.fft.irfft2(spectra, s=(size, size))[:, :, side - 1 :, side - 1 :].contiguous()

    return {"grouped convolution": _inference(grouped), "FFTs": _inference(by_ffts)}


def adam(value, gradient, rate, device):
    """One step of Adam from zero moments, and more of them at every call; the weights after the first."""
    parameter = torch.nn.Parameter(tensor(value, device))
    parameter.grad = tensor(gradient, device)
    optimiser = torch.optim.Adam([parameter], lr=rate, fused=True)
    after_first = []

    def run():
        optimiser.step()
        if not after_first:
            after_first.append(parameter.detach().clone())
        return after_first[0]

    return {"fused": run}
