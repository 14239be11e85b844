"""Cases of the kernels that restore bursts: transforms of patches, the quotient of patches, filters, assembly."""

import numpy as np

from deconvnet.kernels.burst.band_transform import band_transform
from deconvnet.kernels.burst.coefficient_net import coefficient_net
from deconvnet.kernels.burst.overlap_add import overlap_add
from deconvnet.kernels.burst.patch_filter import patch_filter
from deconvnet.kernels.burst.patch_quotient import patch_quotient
from deconvnet.kernels.burst.patch_spectra import patch_spectra
from deconvnet.kernels.burst.window_spectra import window_spectra
from deconvnet.ops.window import tukey
from tests.kernels.case import Case

# Bursts, frames, side: one patch, less than one group of sixteen lanes, and more than one.
PATCHES = ((1, 1, 5), (2, 3, 17), (1, 5, 65), (7, 3, 33))


def _fade(side):
    return tuple(tukey(side, side // 4).tolist())


def _patches(rng, real, size):
    batch, frames, side = size
    return rng.random((batch, frames, side, side)).astype(real)


def _overlapping(rng, real, size):
    """The same, as overlapping windows of a picture that do not lie in memory by themselves."""
    batch, frames, side = size
    picture = rng.random((frames, side + 2, side + 3 * batch + 1)).astype(real)
    windows = np.lib.stride_tricks.sliding_window_view(picture[:, 1:], side, axis=2)[:, :side, ::3][:, :, :batch]
    return windows.transpose(2, 0, 1, 3)


def _faded(make):
    return lambda rng, real, size: [make(rng, real, size), _fade(size[2])]


def _windows(rng, real, size):
    side = size[2]
    window = 2 * (side // 4) + 1
    profile = tuple(np.sin(np.pi * (np.arange(window) + 0.5) / window).tolist())
    return [_patches(rng, real, size), profile, (0, (side - window) // 2, side - window), min(window // 2, 16)]


def _quotient(make):
    def arguments(rng, real, size):
        batch, frames, side = size
        psfs = rng.random((batch, frames, 2 * (side // 6) + 1, 2 * (side // 6) + 1))
        psfs /= psfs.sum(axis=(-2, -1), keepdims=True)
        beta = rng.uniform(0.05, 0.2, (batch, side * (side // 2 + 1))).astype(real)
        return [make(rng, real, size), psfs.astype(real), beta, _fade(side), 2 * (side // 4) + 1]

    return arguments


def _filters(rng, real, size):
    batch, frames, side = size
    filters = rng.standard_normal((batch, frames, side * side - 1)).astype(real)
    return [filters, _patches(rng, real, size), 2 * (side // 4) + 1]


def _bands(rng, real, size):
    return [_patches(rng, real, size)]


def _coefficients(residual):
    def arguments(rng, real, size):
        batch, frames, count = size
        shapes = (batch, frames, count), (3, 8), (8,), (8,)
        return [*(rng.standard_normal(shape).astype(real) for shape in shapes), residual]

    return arguments


def _row(rng, real, size):
    count, side, step = size
    picture = rng.random((side + 5, side + count * step + 7)).astype(real)
    return [picture, rng.random((count, side, side)).astype(real), rng.random((side, side)).astype(real), 2, 3, step]


CASES = [
    Case(patch_spectra, _faded(_patches), PATCHES),
    Case(patch_spectra, _faded(_overlapping), PATCHES, "overlapping"),
    Case(window_spectra, _windows, (*PATCHES, (1, 2, 129))),
    Case(patch_quotient, _quotient(_patches), PATCHES),
    Case(patch_quotient, _quotient(_overlapping), PATCHES, "overlapping"),
    Case(patch_filter, _filters, PATCHES),
    Case(band_transform, _bands, ((1, 1, 65), (3, 7, 65))),
    Case(coefficient_net, _coefficients(True), ((1, 2, 1), (2, 14, 705), (17, 3, 33)), "residual"),
    Case(coefficient_net, _coefficients(False), ((1, 2, 1), (2, 14, 705), (17, 3, 33))),
    Case(overlap_add, _row, ((1, 3, 1), (9, 33, 5), (4, 9, 16)), in_place=(0,)),
]
