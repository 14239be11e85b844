"""The quotient burst network as a whole: gradients, order, any number of frames, known PSFs."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from deconvnet.backend import to_device, to_host
from deconvnet.layers.losses import relative_psf_error
from deconvnet.networks.burst_quotient import QuotientBurst
from deconvnet.testing import gradcheck

SMALL = {
    "psf_size": 5,
    "widths": (6, 7),
    "reach": 3,
    "patch": 17,
    "centre": 9,
    "fade": 3,
    "step": 8,
    "noise_bands": 4,
    "refinements": 2,
    "refinement_width": 5,
}


@pytest.fixture
def small(rng):
    network = QuotientBurst(**SMALL, rng=rng, dtype=np.float64)
    for p in network.parameters().values():  # away from the start, where some gradients vanish
        p.value += 0.1 * rng.standard_normal(p.value.shape)
    network.fit(rng.random((4, 3, 33, 33)))
    return network


@pytest.mark.parametrize("frames", [2, 3])
def test_gradients_of_the_whole_network(small, rng, device, frames):
    network = small.to(device)
    burst = to_device(rng.random((2, frames, 33, 33)), device)
    gradcheck(network, burst, rng=rng, differentiable=[False], checks=3, step=1e-6)  # small: ReLUs have kinks


def test_gradients_of_a_loss_on_the_psfs(small, rng):
    burst, truth = rng.random((2, 3, 33, 33)), rng.random((2, 3, 5, 5))

    def forward(frames, train=False):
        prediction, cache = small.forward(frames, train=True)
        return relative_psf_error(cache.psfs, truth)[0], (prediction, cache)

    def backward(dloss, kept):
        prediction, cache = kept
        dpsfs = relative_psf_error(cache.psfs, truth)[1]
        return small.backward(np.zeros_like(prediction), cache, dpsfs=dloss * dpsfs)

    class Checked(QuotientBurst):
        def __init__(self):
            vars(self).update(vars(small))

    checked = Checked()
    checked.forward, checked.backward = forward, backward
    gradcheck(checked, burst, rng=rng, differentiable=[False], step=3e-6)


def test_order_of_the_frames_does_not_matter(small, rng):
    burst = rng.random((2, 6, 33, 33))
    prediction, _ = small.forward(burst)
    psfs, _, _ = small.estimate_psfs(burst)
    order = rng.permutation(6)
    again, _ = small.forward(burst[:, order])
    psfs_again, _, _ = small.estimate_psfs(burst[:, order])
    assert np.allclose(prediction, again, atol=1e-10)
    assert np.allclose(psfs[:, order], psfs_again, atol=1e-10)


@pytest.mark.parametrize("frames", [2, 5, 30])
def test_any_number_of_frames_and_finite_results(rng, frames):
    network = QuotientBurst(**SMALL, rng=rng)
    prediction, cache = network.forward(rng.random((1, frames, 33, 33), dtype=np.float32))
    assert prediction.shape == (1, 9, 9)
    assert prediction.dtype == np.float32
    assert np.isfinite(prediction).all()
    assert cache is None


def test_brightness_passes_through(small, rng):
    burst = rng.random((1, 3, 33, 33))
    prediction, _ = small.forward(burst)
    brighter, _ = small.forward(burst + 0.25)
    assert np.allclose(brighter, prediction + 0.25, atol=1e-9)


def test_deconvolution_with_the_true_psfs_restores_the_sharp_patch(rng):
    network = QuotientBurst(psf_size=7, widths=(4,), rng=rng, dtype=np.float64)
    sharp = np.cumsum(np.cumsum(rng.standard_normal((71, 71)), 0), 1)
    sharp = (sharp - sharp.min()) / np.ptp(sharp)
    psfs = rng.random((1, 6, 7, 7)) ** 4
    psfs /= psfs.sum(axis=(-2, -1), keepdims=True)
    frames = np.stack([convolve2d(sharp, psf, mode="valid") for psf in psfs[0]])[None]
    restored = network.deconvolve(frames, psfs, np.full((1, 8), -4.0))
    truth = sharp[3:-3, 3:-3][16:49, 16:49]
    blurred = np.abs(frames[0, :, 16:49, 16:49] - truth).mean()
    assert np.abs(restored[0] - truth).mean() < 0.2 * blurred


def test_saved_network_gives_the_same_prediction(small, rng, tmp_path):
    from deconvnet.networks.io import load_network, save_network

    network = small.astype(np.float32)
    save_network(tmp_path / "model.safetensors", network, training={"steps": 3})
    loaded = load_network(tmp_path / "model.safetensors", kind="burst")
    burst = rng.random((1, 3, 33, 33), dtype=np.float32)
    assert np.array_equal(to_host(network.forward(burst)[0]), loaded.forward(burst)[0])
    assert loaded.training == {"steps": 3}
