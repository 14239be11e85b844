"""Programs with their CUDA sources executed on the CPU: what callers pass to the launchers is what these take."""

import contextlib

import numpy as np
import pytest

from deconvnet import deblur, deblur_burst, parallel
from deconvnet.backend import array_module
from deconvnet.kernels.kernel import Kernel
from deconvnet.layers.features import Features
from deconvnet.networks.burst_filter import FilterBurst
from deconvnet.networks.burst_quotient import QuotientBurst
from deconvnet.networks.image_network import ImageNetwork
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.networks.photo_scale_free import ScaleFreePhoto
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample, resample_backward
from deconvnet.restore.burst.refine import refine_burst_psfs
from deconvnet.restore.deconvolve.measured import measure
from deconvnet.restore.deconvolve.solvers import deconvolve
from deconvnet.restore.photo.refine import refine_psf
from tests.kernels.cuda_on_cpu import compiler, executed_on_the_cpu

pytestmark = pytest.mark.skipif(compiler() is None, reason="executing CUDA sources on the CPU needs g++ on Linux")


@contextlib.contextmanager
def _as_on_a_gpu(monkeypatch):
    """Within the block NumPy arrays go to the CUDA bodies, and as there to the reference where there is none."""
    with monkeypatch.context() as patch, executed_on_the_cpu(), parallel.threads(1):
        patch.setattr(Kernel, "__call__", lambda self, *a, **o: (self.cuda or self.reference)(*a, **o))
        yield


def _blurred(camera, psf, side):
    """Part of a photograph blurred with a PSF, valid, noisy."""
    part = camera[60 : 60 + side + len(psf) - 1, 100 : 100 + side + len(psf) - 1]
    windows = np.lib.stride_tricks.sliding_window_view(part, psf.shape)
    blurry = np.einsum("ijkl,kl->ij", windows, psf[::-1, ::-1])
    return (blurry + 0.002 * np.random.default_rng(0).standard_normal(blurry.shape)).astype(np.float32)


def _stroke(side, *turns):
    """PSFs (len(turns), side, side) of straight strokes."""
    place = np.arange(side) - side // 2
    psfs = np.stack([np.exp(-((place[:, None] - turn * place) ** 2)) for turn in turns])
    return (psfs / psfs.sum(axis=(1, 2), keepdims=True)).astype(np.float32)


def _deconvolved(camera):
    psf = _stroke(5, 0.5)[0]
    bright = np.clip(1.3 * _blurred(camera, psf, 40), 0, 1)  # with saturated pixels
    return [deconvolve(np.stack([bright, 0.5 * bright], axis=-1), psf, quick=True)]


def _photo(camera):
    image = _blurred(camera, _stroke(7, 0.5)[0], 56)
    return [refine_psf(image, _stroke(7, 0.2)[0], iterations=1, levels=2)]


def _burst(camera):
    psfs = _stroke(7, -0.5, 0.2, 1.0)
    frames = np.stack([_blurred(camera, psf, 48) for psf in psfs])
    return [refine_burst_psfs(frames, _stroke(7, -0.3, 0.0, 0.8)).psfs]


def _features(camera):
    layer = Features(1, 4, 5, 1, 2, np.random.default_rng(0))
    x = camera[None, None, :40, :37].astype(np.float32)
    y, cache = layer.forward(x, train=True)
    dx = layer.backward(y, cache)
    return [y, dx, *(parameter.grad for parameter in layer.parameters().values())]


def _resampled(camera):
    x = camera[None, :40, :37]
    y = resample(x, (25, 50))
    return [y, resample_backward(y, x.shape[-2:])]


LONGER = [pytest.param(program, marks=pytest.mark.slow) for program in (_photo, _burst)]


@pytest.mark.parametrize("program", [_resampled, _features, _deconvolved, *LONGER])
def test_programs_give_the_same_with_their_cuda_sources(program, camera, monkeypatch):
    expected = program(camera)
    with _as_on_a_gpu(monkeypatch):
        found = program(camera)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and array_module(one) is np
        assert np.linalg.norm(one - other) <= 1e-3 * np.linalg.norm(other)


@pytest.mark.slow
@pytest.mark.parametrize("refine", [False, True])
def test_commands_give_the_same_with_their_cuda_sources(refine, camera, monkeypatch):
    image = _blurred(camera, _stroke(7, 0.5)[0], 72)
    frames = np.stack([_blurred(camera, psf, 66) for psf in _stroke(5, -0.5, 1.0)])

    def programs():
        return deblur(image, psf_size=17, refine=refine), deblur_burst(frames, register="none", refine=refine)

    expected = programs()
    with _as_on_a_gpu(monkeypatch):
        found = programs()
    for one, other in zip(found, expected):  # rounding may turn a decision about an edge
        assert np.linalg.norm(one - other) <= 1e-2 * np.linalg.norm(other)


def _quotient_burst(rng):
    network = QuotientBurst(
        psf_size=5, widths=(6, 7), reach=3, patch=17, centre=9, fade=3, step=8, noise_bands=4, refinements=2,
        refinement_width=5, rng=rng, dtype=np.float64,
    )  # fmt: skip
    frames = rng.random((2, 3, 33, 33))
    network.fit(frames)
    return network, [frames]


def _filter_burst(rng):
    network = FilterBurst("compact", w1=8, w2=6, g=10, layers=2, hidden=4, rng=rng, dtype=np.float64)
    return network, [rng.random((2, 3, 65, 65))]


def _pyramid(rng):
    scales = [scale_config(5, 2, filters=3, filter_size=3), scale_config(7, 2, filters=3, filter_size=3)]
    return Pyramid(scales=scales, rng=rng, dtype=np.float64), [rng.random((2, 30, 27))]


def _scale_free(rng):
    return ScaleFreePhoto(filters=3, filter_size=3, rng=rng, dtype=np.float64), [rng.random((2, 36, 33)), 9]


def _image(rng):
    psf, seen = rng.random((2, 5, 5)), np.zeros((2, 20, 24))
    seen[:, :16, :19] = 1
    otf = psf_to_otf(psf / psf.sum(axis=(1, 2), keepdims=True), (20, 24))
    measured = measure(rng.random((2, 20, 24)), otf, np.array([0.02, 0.05]), seen)
    return ImageNetwork(width=6, depth=3, rng=rng, dtype=np.float64), [measured]


def _training_step(make):
    """What a network gives for some input, and the gradients of its weights for some gradient of that."""
    rng = np.random.default_rng(20151)
    network, given = make(rng)
    for parameter in network.parameters().values():  # away from the start, where some gradients vanish
        parameter.value += 0.1 * rng.standard_normal(parameter.value.shape)
    out, cache = network.forward(*given, train=True)
    given_back = [rng.standard_normal(part.shape) for part in out] if isinstance(out, list) else rng.random(out.shape)
    network.backward(given_back, cache)
    outs = out if isinstance(out, list) else [out]
    return [*outs, *(parameter.grad for parameter in network.parameters().values())]


@pytest.mark.slow
@pytest.mark.parametrize("make", [_quotient_burst, _filter_burst, _pyramid, _scale_free, _image])
def test_training_steps_are_the_same_with_their_cuda_sources(make, monkeypatch):
    expected = _training_step(make)
    with _as_on_a_gpu(monkeypatch):
        found = _training_step(make)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert np.linalg.norm(one - other) <= 1e-6 * max(np.linalg.norm(other), 1e-6)
