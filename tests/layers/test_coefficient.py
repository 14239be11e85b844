"""Per-coefficient networks across a burst."""

import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.layers.coefficient import CoefficientNet, frame_pools, frame_pools_backward
from deconvnet.testing import gradcheck


def _random_net(frames, residual=True):
    rng = np.random.default_rng(13)
    net = CoefficientNet(frames, 6, rng, residual=residual, dtype=np.float64)
    for p in net.parameters().values():
        p.value[...] = rng.standard_normal(p.value.shape)
    return net


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("frames", [4, None])
def test_gradients(frames, residual):
    gradcheck(_random_net(frames, residual), np.random.default_rng(14).standard_normal((2, 4, 5)), step=1e-6)


def test_gradient_of_the_pools():
    forward = lambda x, train: (frame_pools(x), x)  # noqa: E731
    gradcheck((forward, frame_pools_backward), np.random.default_rng(15).standard_normal((2, 3, 4)))


def test_frames_that_share_the_maximum_share_its_gradient():
    x = np.array([[[2.0], [2.0], [1.0]]])  # (1, 3, 1): two frames attain it
    dfeatures = np.zeros((1, 3, 1, 3))
    dfeatures[..., 2] = 1
    assert np.array_equal(frame_pools_backward(dfeatures, x)[0, :, 0], [1.5, 1.5, 0])


@pytest.mark.parametrize("frames", [4, None])
def test_gradients_of_several_calls_add_up(frames):
    rng = np.random.default_rng(20)
    net, x, dout = _random_net(frames), rng.standard_normal((2, 4, 5)), rng.standard_normal((2, 4, 5))
    _, cache = net.forward(x, train=True)
    net.backward(dout, cache)
    once = {name: p.grad.copy() for name, p in net.parameters().items()}
    net.backward(dout, cache)
    for name, p in net.parameters().items():
        assert np.abs(once[name]).max() > 0 and np.allclose(p.grad, 2 * once[name], rtol=1e-12), name


@pytest.mark.parametrize("frames", [4, None])
def test_starts_as_the_identity(frames):
    x = np.random.default_rng(16).standard_normal((2, 4, 5)).astype(np.float32)
    out, cache = CoefficientNet(frames, 6, np.random.default_rng(0)).forward(x)
    assert cache is None
    assert out.dtype == np.float32
    assert np.array_equal(out, x)


@pytest.mark.parametrize("frames", [4, None])
def test_weights_are_shared_by_the_coefficients(frames):
    x = np.random.default_rng(17).standard_normal((2, 4, 5))
    order = [3, 0, 4, 1, 2]
    net = _random_net(frames)
    assert np.allclose(net.forward(x[..., order])[0], net.forward(x)[0][..., order], atol=1e-12)


@pytest.mark.parametrize("count", [2, 5])
def test_equivariant_net_takes_any_number_of_frames_in_any_order(count):
    rng = np.random.default_rng(18)
    x, order = rng.standard_normal((2, count, 3)), rng.permutation(count)
    net = _random_net(None)
    assert np.allclose(net.forward(x[:, order])[0], net.forward(x)[0][:, order], atol=1e-12)


def test_frames_exchange_information():
    x = np.random.default_rng(19).standard_normal((1, 4, 1))
    for frames in (4, None):
        net = _random_net(frames)
        changed = x.copy()
        changed[0, 2] += 5
        assert abs(net.forward(changed)[0] - net.forward(x)[0])[0, 0, 0] > 1e-3


def test_fixed_net_refuses_another_number_of_frames():
    with pytest.raises(DeconvnetError, match="exactly 4"):
        _random_net(4).forward(np.zeros((1, 3, 2)))
