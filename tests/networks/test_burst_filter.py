"""The filter burst network as a whole: gradients, symmetry, its start, and its refusals."""

import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.layers.fba import fba
from deconvnet.networks.burst_filter import FilterBurst
from deconvnet.testing import gradcheck

SMALL = {"w1": 8, "w2": 6, "g": 10, "layers": 2, "hidden": 4}


def _network(network, frames, dtype=np.float64, randomise=True):
    rng = np.random.default_rng(30)
    net = FilterBurst(network, frames=frames, **SMALL, rng=rng, dtype=dtype)
    if randomise:  # so that every path carries a gradient well above rounding
        for name, p in net.parameters().items():
            spread = {"output.weight": 0.7, "output.bias": 0.1}.get(name, 1.0)
            p.value += (spread * rng.standard_normal(p.value.shape) / p.value.shape[0] ** 0.5).astype(dtype)
        net.fusion.p.value[...] = 2.5
        # Contrasts between the frames, so that the units switch; what frames have in common the softmax ignores.
        first = net.fusion.correction.first.weight.value
        first -= first.mean(axis=0)
    return net


def _bursts(batch, count, dtype=np.float64):
    return np.random.default_rng(31).random((batch, count, 65, 65)).astype(dtype)


@pytest.mark.parametrize("network, frames, given", [("compact", None, 3), ("paper", 3, 3), ("paper", 3, 2)])
def test_gradients_of_the_whole_network(network, frames, given):
    net = _network(network, frames)
    gradcheck(net, _bursts(2, given), differentiable=[False], step=3e-6)


@pytest.mark.parametrize("network", ["compact", "paper"])
def test_starts_as_fba_of_the_centres(network):
    net = _network(network, None if network == "compact" else 4, np.float32, randomise=False)
    frames = _bursts(2, 4, np.float32)
    expected, _ = fba(frames[..., 16:49, 16:49].copy(), 11.0)
    assert abs(net.forward(frames)[0] - expected).max() < 1e-5


def test_inference_and_training_agree_and_inference_keeps_nothing():
    net, frames = _network("compact", None, np.float32), _bursts(2, 3, np.float32)
    prediction, cache = net.forward(frames)
    assert cache is None
    assert prediction.shape == (2, 33, 33)
    assert prediction.dtype == np.float32
    assert np.allclose(prediction, net.forward(frames, train=True)[0], atol=1e-5)


@pytest.mark.parametrize("count", [2, 5])
def test_compact_takes_any_number_of_frames_in_any_order(count):
    net, frames = _network("compact", None), _bursts(1, count)
    order = np.random.default_rng(32).permutation(count)
    assert np.allclose(net.forward(frames[:, order])[0], net.forward(frames)[0], atol=1e-10)


def test_fixed_network_repeats_missing_frames_in_turn():
    net, frames = _network("paper", 5), _bursts(1, 2)
    assert np.array_equal(net.forward(frames)[0], net.forward(frames[:, [0, 1, 0, 1, 0]])[0])


def test_prepare_frames_keeps_the_most_detailed_in_their_order():
    frames = 0.5 + (_bursts(1, 4) - 0.5) * np.array([0.5, 0.1, 1.0, 0.2])[:, None, None]
    prepared = _network("paper", 2).prepare_frames(frames)
    assert np.array_equal(prepared, frames[:, [0, 2]])
    assert _network("compact", None).prepare_frames(frames) is frames


def test_one_burst_does_not_depend_on_the_others_in_the_batch():
    net, frames = _network("compact", None), _bursts(3, 2)
    assert np.allclose(net.forward(frames)[0][1:2], net.forward(frames[1:2])[0], atol=1e-10)


def test_config_and_state_rebuild_the_network():
    net, frames = _network("paper", 3, np.float32), _bursts(1, 3, np.float32)
    net.fit(_bursts(150, 3, np.float32))
    copy = FilterBurst(**net.config, rng=np.random.default_rng(99))
    copy.load_state(net.state())
    assert np.array_equal(copy.forward(frames)[0], net.forward(frames)[0])
    assert copy.name == net.name == "paper"


def test_gradient_descent_lowers_the_loss():
    net, frames = _network("compact", None, np.float32), _bursts(4, 3, np.float32)
    truth = frames.mean(axis=1)[:, 16:49, 16:49]
    losses = []
    for _ in range(20):
        net.zero_grad()
        prediction, cache = net.forward(frames, train=True)
        losses.append(((prediction - truth) ** 2).mean())
        net.backward(2 * (prediction - truth) / truth.size, cache)
        for p in net.parameters().values():
            p.value -= 3.0 * p.grad
    assert losses[-1] < 0.9 * losses[0]


def test_compact_has_8_3_million_weights():
    net = FilterBurst("compact")
    assert sum(p.value.size for p in net.parameters().values()) == pytest.approx(8.3e6, rel=0.01)


def test_refusals_say_what_to_do():
    with pytest.raises(DeconvnetError, match="at least 2"):
        _network("compact", None).forward(_bursts(1, 1))
    with pytest.raises(DeconvnetError, match="prepare_frames"):
        _network("paper", 3).forward(_bursts(1, 4))
    with pytest.raises(DeconvnetError, match="compact"):
        FilterBurst("huge")
