"""The kernel table: every hot loop against its reference and against PyTorch's nearest equivalent.

One `Kernel` record each; to add one, write what makes its arguments and its calls (and, for a peer, a function in
`bench.peers.torch_kernels`), and put the record into `KERNELS`, or into `bench.timing.refinement.REFINEMENT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench import peers
from bench.timing.burst import burst_network
from bench.timing.measure import check_equal, fastest_form, interleaved, timed
from bench.timing.photo import photograph
from bench.timing.table import Column, Table
from deconvnet.backend import array_module, irfft2, rfft2
from deconvnet.kernels.burst import overlap_add, relative_spectra
from deconvnet.kernels.photo import psf_quotient
from deconvnet.kernels.photo.filter_bank import filter_bank_backward
from deconvnet.kernels.photo.quotient import quotient_spectrum
from deconvnet.kernels.synthesis import burst_synthesis, counter_random, psf_sampling
from deconvnet.kernels.training import optimiser_steps
from deconvnet.layers.bands import bands
from deconvnet.layers.fba import fba
from deconvnet.layers.features import Features
from deconvnet.layers.quotient import quotient
from deconvnet.layers.spectral_filter import FILTER_REALS, filter_spectrum, identity_filter, spectral_filter
from deconvnet.ops.window import hann
from deconvnet.restore.burst.places import window_sum

__all__ = ["KERNELS", "Calls", "Kernel", "kernel_table"]


class Calls(NamedTuple):
    """A kernel's calls on the same arguments.

    Attributes
    ----------
    ours : callable
    reference : callable or None
        Plain array code.
    torch : tuple or None
        Name of a function in `bench.peers.torch_kernels` and its arguments without the device.
    tolerance : float
        Largest relative difference of the results.
    """

    ours: Callable
    reference: Callable | None = None
    torch: tuple | None = None
    tolerance: float = 1e-4


class Kernel(NamedTuple):
    """A row, or several, of the table.

    Attributes
    ----------
    name : str
    sizes, quick : tuple
        Sizes to measure, and those of ``--quick``; anything that ``make`` understands.
    make : callable
        ``make(rng, size, device)`` gives `Calls`.
    """

    name: str
    sizes: tuple
    quick: tuple
    make: Callable


def _normal(rng, device, *shape):
    return device.array(rng.standard_normal(shape, dtype=np.float32))


def _by_layers(layer, x):
    """Features with every hidden image in memory."""
    maps = layer.conv.forward(x)[0]
    for mix in [*layer.hidden, layer.out]:
        maps = mix.forward(array_module(maps).tanh(maps))[0]
    return maps


def _features(rng, size, device):
    side, filter_size = size
    layer = Features(1, 32, filter_size, 1, 4, rng).to(device.name)
    x = device.array(photograph(side)[None] - np.float32(0.5))
    return Calls(lambda: layer.forward(x)[0], lambda: _by_layers(layer, x), ("features", layer, x))


def _conv_gradient(rng, size, device):
    side, filter_size, batch = size
    x, filters = _normal(rng, device, batch, 1, side, side), _normal(rng, device, 32, 1, filter_size, filter_size)
    dy = _normal(rng, device, batch, 32, side - filter_size + 1, side - filter_size + 1)

    def reference():  # the correlation of images and gradients by FFTs, one image after the other
        xp, total = array_module(x), 0
        for image, gradient in zip(x, dy):
            padded = xp.zeros((len(gradient), side, side), dtype=x.dtype)
            padded[:, : gradient.shape[1], : gradient.shape[2]] = gradient
            total = total + rfft2(image) * rfft2(padded).conj()
        found = irfft2(total, (side, side))[:, None, :filter_size, :filter_size]
        return found[..., ::-1, ::-1]

    last = array_module(dy).ascontiguousarray(dy.transpose(0, 2, 3, 1))  # as the network has them
    return Calls(lambda: filter_bank_backward(last, x, filters)[1], reference, ("conv_gradient", x, dy, filters))


def _quotient(rng, size, device):
    side, pairs = size
    x, y = (_normal(rng, device, 1, pairs, side, side) for _ in range(2))
    beta = np.float32(0.1 * side * side)

    def reference():
        flat = (rfft2(a).reshape(1, pairs, -1) for a in (x, y))
        z_hat, _ = quotient_spectrum.reference(*flat, beta)
        return irfft2(z_hat.reshape(1, side, -1), (side, side))

    return Calls(lambda: quotient(x, y, beta)[0], reference, ("image_quotient", x, y, float(beta)))


def _psf_quotient(rng, size, device):
    side, pairs, psf_side = size
    maps = _normal(rng, device, 1, 2 * pairs, side - 8, side - 8)
    profile = device.array(np.hanning(side - 6)[1:-1].astype(np.float32) / np.float32(side))
    arguments = (maps, profile, profile, (side, side), 0.1, psf_side)
    return Calls(
        lambda: psf_quotient.psf_quotient(*arguments),
        lambda: psf_quotient.psf_quotient.reference(*arguments),
        ("psf_quotient", *arguments),
    )


def _bands(rng, size, device):
    patches = device.array(rng.random((size, 65, 65), dtype=np.float32))
    return Calls(lambda: bands(patches), None, ("bands", patches))


def _burst_deconvolution(rng, size, device):
    batch, frames = size
    network = burst_network("quotient").to(device.name)
    patches = device.array(rng.random((batch, frames, 65, 65), dtype=np.float32))
    psfs = rng.random((batch, frames, network.psf_size, network.psf_size), dtype=np.float32)
    psfs = device.array(psfs / psfs.sum(axis=(-2, -1), keepdims=True))
    adaptation = _normal(rng, device, batch, network.noise_bands)
    arguments = (patches, psfs, adaptation)
    return Calls(lambda: network.deconvolve(*arguments), None, ("burst_deconvolution", network, *arguments))


def _spectral_filter(rng, size, device):
    filters = identity_filter() + np.float32(0.1) * rng.standard_normal((size, FILTER_REALS), dtype=np.float32)
    filters, patches = device.array(filters), device.array(rng.random((size, 65, 65), dtype=np.float32))
    peer = ("spectral_filter", filter_spectrum(filters), patches)
    return Calls(lambda: spectral_filter(filters, patches)[0], None, peer)


def _overlap_add(rng, size, device):
    rows, columns = size
    stride, side = 5, 33
    patches = rng.random((rows, columns, side, side), dtype=np.float32)
    profile = hann(side)
    window = np.outer(profile, profile).astype(np.float32)
    shape = (rows - 1) * stride + side, (columns - 1) * stride + side
    sums = [window_sum(stride * np.arange(count), profile, length) for count, length in zip(size, shape)]
    weight = device.array(np.outer(*sums).astype(np.float32))
    there, window_there = device.array(patches), device.array(window)

    def by(add):
        total = device.array(np.zeros(shape, np.float32))
        for i in range(rows):
            add(total, there[i], window_there, stride * i, 0, stride)
        return total / weight

    return Calls(
        lambda: by(overlap_add.overlap_add),
        lambda: by(overlap_add.overlap_add.reference),
        ("overlap_add", patches, window, stride),
    )


def _fba(rng, size, device):
    frames = device.array(rng.random((*size, 33, 33), dtype=np.float32))
    return Calls(lambda: fba(frames, 11.0, sigma=0.66)[0], None, ("fourier_accumulation", frames, 11.0, 0.66), 1e-3)


def _relative_spectra(rng, size, device):
    parts = rng.standard_normal((*size, 9, 544, 2), dtype=np.float32)
    arguments = (device.array(parts.view(np.complex64)[..., 0]), 0.02, 1e-3, 4.0)
    return Calls(
        lambda: relative_spectra.relative_spectra(*arguments),
        lambda: relative_spectra.relative_spectra.reference(*arguments),
        ("relative_spectra", *arguments),
    )


def _splatting(rng, count, device):
    angles = np.cumsum(rng.standard_normal((2000, 3)), axis=0)
    first, step = rng.uniform(0, 1400, count), rng.uniform(0.2, 1, count)
    projection, extent = rng.standard_normal((count, 2, 3)), rng.uniform(4, 20, count)
    arrays = [device.array(a) for a in (angles, first, step, projection, extent, np.zeros((count, 2)))]
    arguments = (*arrays, 25, 500)
    return Calls(
        lambda: psf_sampling.recorded_psfs(*arguments),
        lambda: psf_sampling.recorded_psfs.reference(*arguments),
        ("splatting", *arguments, psf_sampling.SMOOTHING),
        1e-3,
    )


def _blur(rng, size, device):
    batch, frames = size
    psfs = psf_sampling.gp_psfs(
        counter_random.draw_keys(rng, (batch * frames,)),
        np.full(batch * frames, 16.0),
        np.zeros((batch * frames, 2)),
        25,
        1000,
    )
    arguments = [
        device.array(rng.random((batch, 153, 153), dtype=np.float32)),
        device.array(psfs.reshape(batch, frames, 25, 25)),
        device.array(counter_random.draw_keys(rng, (batch, frames))),
    ]
    zero = device.array(np.zeros((batch, frames), np.float32))
    rest = (zero + 1, None, zero, zero, zero, False, False, None, device.array(np.zeros((batch, frames, 2), np.int64)))
    return Calls(
        lambda: burst_synthesis.burst_synthesis(*arguments),
        lambda: burst_synthesis.synthesised_frames.reference(*arguments, *rest),
        ("blur", *arguments[:2]),
    )


def _adam(rng, size, device):
    value, gradient = _normal(rng, device, size), _normal(rng, device, size)

    def stepping(step):
        mine = [value.copy(), gradient, 0 * value, 0 * value]
        after_first = []

        def run():
            step(*mine, 1.0, 1e-3, 0.9, 0.999, 0.1, 1e-3, 1e-8)
            if not after_first:
                after_first.append(mine[0].copy())
            return after_first[0]

        return run

    reference = stepping(optimiser_steps.adam_step.reference)
    return Calls(stepping(optimiser_steps.adam_step), reference, ("adam", value, gradient, 1e-3))


#: The rows of the table.
KERNELS = (
    Kernel(
        "features (photo side, filter side)",
        tuple((side, k) for side in (1024, 2048) for k in (9, 17, 33)),
        ((256, 9), (256, 17)),
        _features,
    ),
    Kernel(
        "filters' gradient (crop, filter side, batch)",
        tuple((256, k, 8) for k in (9, 17, 33)),
        ((128, 9, 2),),
        _conv_gradient,
    ),
    Kernel("quotient (side, pairs)", ((800, 2), (2048, 2)), ((256, 2),), _quotient),
    Kernel(
        "PSF of feature images (side, pairs, PSF side)",
        ((800, 2, 17), (2048, 2, 17), (2048, 4, 33)),
        ((256, 2, 17),),
        _psf_quotient,
    ),
    Kernel("frequency bands (patches)", (4096,), (256,), _bands),
    Kernel("quotient of burst patches (patches, frames)", ((32, 14),), ((4, 14),), _burst_deconvolution),
    Kernel("spectral filter (patches)", (448,), (56,), _spectral_filter),
    Kernel("Fourier accumulation (patches, frames)", ((32, 14),), ((4, 14),), _fba),
    Kernel("overlap-add (rows, columns of patches)", ((120, 200),), ((20, 40),), _overlap_add),
    Kernel("relative spectra (patches, frames)", ((32, 14),), ((4, 14),), _relative_spectra),
    Kernel("PSFs of camera paths (PSFs)", (448,), (56,), _splatting),
    Kernel("blur of training bursts (bursts, frames)", ((32, 14),), ((2, 14),), _blur),
    Kernel("Adam (weights)", (11_000_000,), (500_000,), _adam),
)

COLUMNS = [
    Column("device", "device"),
    Column("kernel", "kernel"),
    Column("size", "size"),
    Column("ours", "deconvnet", "ms"),
    Column("reference", "reference", "ms"),
    Column("faster", "faster", "x"),
    Column("torch", "PyTorch", "ms"),
    Column("ratio", "ratio", "x"),
    Column("form", "PyTorch's form"),
]


def _torch_calls(calls, device, quick):
    """PyTorch's call in its fastest form, the form's name, and the seconds of all forms."""
    name, *arguments = calls.torch
    forms = getattr(peers.load("torch_kernels"), name)(*arguments, device.name)
    forms = {form: call for form, call in forms.items() if not (quick and form.startswith("compiled"))}
    best, seconds = fastest_form(forms, device) if len(forms) > 1 else (next(iter(forms)), {})
    return forms[best], best, seconds


def kernel_table(device, peer, *, quick=False, kernels=KERNELS):
    """Rows of one device.

    Parameters
    ----------
    device : Device
    peer : Peer
    quick : bool
        Small sizes, and PyTorch without compiling.
    kernels : sequence of Kernel

    Returns
    -------
    Table
    """
    table = Table(
        "kernels",
        "Kernels",
        COLUMNS,
        "*Reference* is the same thing in plain array code, *faster* the ratio to it; *ratio* is PyTorch's time over "
        "ours. Results are compared before they are timed.",
    )
    for kernel in kernels:
        for size in kernel.quick if quick else kernel.sizes:
            shown = " × ".join(map(str, size)) if isinstance(size, tuple) else str(size)
            row = {"device": device.name, "kernel": kernel.name, "size": shown}
            with table.attempt(row):
                calls = kernel.make(np.random.default_rng(0), size, device)
                what = f"{kernel.name} {size}"
                first, result = timed(calls.ours, device.sync)
                row["first_call"] = first
                competing = {"ours": calls.ours}
                if calls.reference is not None:
                    row["difference"] = check_equal(f"{what}, reference", result, calls.reference(), calls.tolerance)
                    competing["reference"] = calls.reference
                row["torch"] = peer.absent
                if peer.installed and calls.torch is not None:
                    competing["torch"], row["form"], row["forms"] = _torch_calls(calls, device, quick)
                    row["torch_difference"] = check_equal(
                        f"{what}, PyTorch", competing["torch"](), result, calls.tolerance
                    )
                row["timings"] = interleaved(competing, device, seconds=0.2 if quick else 2.0, least=0 if quick else 1)
                row.update({name: timing["seconds"] for name, timing in row["timings"].items()})
                row["ratio"] = row["torch"] / row["ours"] if "torch" in competing else None
                row["faster"] = row["reference"] / row["ours"] if "reference" in competing else None
    return table
