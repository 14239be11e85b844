"""The networks in PyTorch, which ours are timed against, compute the same: else the race would be unfair."""

import numpy as np
import pytest

from bench.peers.torch_peer import find_peer
from bench.timing.burst import FRAMES, burst_network, frames_of_burst
from bench.timing.kernels import KERNELS, kernel_table
from bench.timing.measure import Device
from bench.timing.photo import photo_network, photograph
from bench.timing.training import training_table
from deconvnet.restore.burst.patches import restore_frames

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["plain", "channels last", "channels last, strips", "FFT tiles"])
@pytest.mark.parametrize("psf_size", [17, 25])
def test_pyramid_finds_the_same_psf_in_every_form(psf_size, form):
    from bench.peers.torch_photo import TorchPyramid

    network, picture = photo_network(psf_size), photograph(70, 83)
    peer = TorchPyramid(network)
    peer.use(form)
    with torch.inference_mode():
        found = peer(torch.from_numpy(picture)).numpy()
    exact = network.forward(picture)[0][-1]
    assert np.linalg.norm(found - exact) < 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("name", ["quotient", "compact"])
def test_bursts_are_restored_to_the_same_picture(name):
    from bench.peers.torch_patches import restorer

    network, frames = burst_network(name), frames_of_burst(3, 65, 80)
    found = restorer(network, "cpu", 9)(torch.from_numpy(frames), 7).numpy()
    exact, _ = restore_frames(network, frames, stride=9, refine=False)
    assert np.abs(found - exact).max() < 1e-4


@pytest.mark.parametrize("frames", [None, FRAMES], ids=["any number", "fixed number"])
def test_filter_network_predicts_the_same_with_and_without_a_fixed_number_of_frames(frames, rng):
    from bench.peers.torch_filter_burst import TorchFilterBurst
    from deconvnet.networks.burst_filter import FilterBurst

    network = FilterBurst(frames=frames, w1=16, w2=16, g=32, layers=1, hidden=4, rng=rng)
    for parameter in network.parameters().values():
        parameter.value += np.float32(0.01) * rng.standard_normal(parameter.value.shape, dtype=np.float32)
    burst = rng.random((2, FRAMES, 65, 65), dtype=np.float32)
    exact, _ = network.forward(burst)
    assert np.abs(TorchFilterBurst(network)(torch.from_numpy(burst)).detach().numpy() - exact).max() < 1e-4


def test_training_steps_have_equal_gradients():
    table = training_table(Device("cpu"), find_peer("torch", "cpu"), quick=True)
    assert len(table.rows) == 2
    for row in table.rows:
        assert row["difference"] < 1e-4
        assert row["ratio"] > 0


def test_every_kernel_equals_its_reference_and_pytorch():
    table = kernel_table(Device("cpu"), find_peer("torch", "cpu"), quick=True)
    assert {row["kernel"] for row in table.rows} == {kernel.name for kernel in KERNELS}
    for row in table.rows:
        assert row["torch_difference"] < 1e-3
        assert row["ratio"] > 0
