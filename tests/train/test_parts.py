"""Batches in parts: the gradient of the whole batch, the same bits for any number of threads."""

import numpy as np
import pytest

from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.layers.losses import log_squared_error
from deconvnet.networks.burst_quotient import QuotientBurst
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.networks.photo_scale_free import ScaleFreePhoto
from deconvnet.parallel import threads
from tests.train.commands import run, same_checkpoints
from train.burst import DEFAULTS as BURST
from train.burst import BurstTask
from train.optimisers import gradient_norm
from train.parts import Parts
from train.photo import DEFAULTS as PHOTO
from train.photo import LOSSES, PhotoTask
from train.photo_any import DEFAULTS as ANY
from train.photo_any import AnyTask


def _photographs(count=3):
    rng = np.random.default_rng(3)
    return [dead_leaves(rng, 220) for _ in range(count)]


def _burst_task(parts):
    network = QuotientBurst(psf_size=7, widths=(24, 24), patch=33, centre=17, step=8, reach=6, refinement_width=16)
    data = BurstSynthesizer(_photographs(), BurstSettings.plain(psf_size=7, crop=network.surround))
    settings = {**BURST, "frames": [2, 4], "batch": 5, "parts": parts}
    return BurstTask(network, settings, {"plain": data}, {}, "cpu")


def _photo_task():
    network = Pyramid(scales=[scale_config(7, stages=2, filters=6)], rng=np.random.default_rng(0))
    data = BurstSynthesizer(_photographs(), BurstSettings.plain(psf_size=7, crop=64))
    return PhotoTask(network, {**PHOTO, "batch": 3, "stage_steps": 1}, data, None, "cpu", learned=2)


def _any_task():
    network = ScaleFreePhoto(filters=4, rng=np.random.default_rng(0))
    data = BurstSynthesizer(_photographs(), BurstSettings.plain(psf_size=9, crop=96))
    settings = {**ANY, "batch": 3, "psf_sizes": [9], "camera": 0.0}
    return AnyTask(network, settings, {(9, False): data}, [], "cpu")


def _gradients(task, running=None):
    task.network.zero_grad()
    loss, _ = task.accumulate(np.random.default_rng(5), 9, running)
    return loss, {name: p.grad.copy() for name, p in task.network.parameters().items()}


@pytest.mark.parametrize("make", [lambda: _burst_task(2), _photo_task, _any_task], ids=["burst", "photo", "any"])
def test_threads_change_no_bit(make):
    task = make()
    with threads(1):
        loss, one = _gradients(task)
        norm = gradient_norm(task.network.parameters())
    for _ in range(3):
        with threads(2):
            again, two = _gradients(task)
            assert (again, gradient_norm(task.network.parameters())) == (loss, norm)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert norm > 0


def test_parts_have_the_gradient_of_the_batch():
    whole, wanted = _gradients(_burst_task(1))
    for parts in (2, 3, 50):
        loss, found = _gradients(_burst_task(parts))
        assert loss == pytest.approx(whole, rel=1e-5)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=2e-4 * np.abs(wanted[name]).max(), err_msg=name)


def test_a_photo_stage_learns_the_mean_of_the_examples_that_are_kept(monkeypatch):
    """One that is far off is left out, and the others' mean is over their own number."""
    task = _photo_task()
    limit = {}

    def errors(psfs, truth):
        found = ((psfs - truth) ** 2).sum(axis=(-2, -1)) / (truth**2).sum(axis=(-2, -1))
        limit.setdefault("each", []).append(found)
        return found

    monkeypatch.setitem(LOSSES, "relative", (errors, _relative))
    with threads(1):
        _gradients(task)
    each = np.concatenate(limit["each"])
    between = np.sort(each)[-2:].mean() / 10  # the worst example is above ten times this one
    loss, found = _gradients(task, running=between)
    kept = each < 10 * between
    assert kept.sum() == 2
    assert loss == pytest.approx(each[kept].mean(), rel=1e-5)
    batch = task.training.batch(np.random.default_rng(5), 3, 1)
    task.network.zero_grad()
    psfs, cache = task.network.forward(batch.frames[:, 0][kept], train=True)
    dpsfs = [0.3 * _relative(psfs[0], batch.psfs[:, 0][kept])[1], _relative(psfs[1], batch.psfs[:, 0][kept])[1]]
    task.network.backward(dpsfs, cache)
    for name, p in task.network.parameters().items():
        np.testing.assert_allclose(found[name], p.grad, atol=1e-4 * np.abs(p.grad).max(), err_msg=name)
    nothing, left = _gradients(task, running=1e-6)
    assert nothing == 1e-6 and not any(g.any() for g in left.values())


@pytest.mark.slow  # trains
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("train.burst", ["--network", "quotient", "--psf-size", "5", "--frames", "2-4"]),
        ("train.burst", ["--network", "compact", "--psf-size", "5", "--frames", "2-4", "--parts", "2"]),
        (
            "train.photo",
            ["--psf-size", "7", "--crop", "64", "--validation-crop", "64", "--stages", "1", "--optimizer", "adadelta"],
        ),
    ],
    ids=["quotient", "compact", "photo"],
)
def test_a_training_is_the_same_bits_for_any_number_of_threads(program, options, images, tmp_path, monkeypatch):
    short = ["--steps", "10", "--batch", "3", "--validation", "4", "--validate-every", "10", "--device", "cpu"]
    for name in ("OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):  # the suite's, which are one
        monkeypatch.delenv(name, raising=False)
    for count in "12":
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        run(program, images, tmp_path / count, *options, *short)
    assert same_checkpoints(tmp_path / "1", tmp_path / "2")


def _relative(psfs, truth):
    energy = (truth**2).sum(axis=(-2, -1), keepdims=True)
    residual = psfs - truth
    loss = ((residual**2).sum(axis=(-2, -1)) / energy[:, 0, 0]).mean()
    return loss, 2 * residual / (energy * len(psfs))


def test_a_copy_with_gradients_of_its_own_leaves_the_network_as_it_is():
    network = QuotientBurst(psf_size=5, widths=(8,), patch=33, centre=17, step=8, reach=4, refinement_width=8)
    own = {name: np.zeros_like(p.value) for name, p in network.parameters().items()}
    copy = network.with_gradients(own)
    assert {n: p.value is network.parameters()[n].value for n, p in copy.parameters().items()} == dict.fromkeys(
        own, True
    )
    assert all(p.grad is own[n] for n, p in copy.parameters().items())
    rng = np.random.default_rng(0)
    frames = rng.random((2, 3, network.surround, network.surround), dtype=np.float32)
    prediction, cache = copy.forward(frames, train=True)
    copy.backward(log_squared_error(prediction, 0 * prediction)[1], cache)
    assert all(np.abs(g).max() > 0 for n, g in own.items() if "correction" in n or "log_beta" in n)
    assert not any(p.grad.any() for p in network.parameters().values())


def test_the_mean_is_weighted_and_added():
    from deconvnet.layers.dense import Dense

    layer = Dense(1, 1, np.random.default_rng(0), dtype=np.float64)
    layer.weight.grad[...] = 100

    def learn(part_of, part):
        part_of.weight.grad += part.start
        return float(part.start), (0.0 if part.start == 0 else part.stop - part.start)

    loss, weight = Parts(layer).learn(learn, 7, 3, scale=0.5)  # parts 0-1, 2-3, 4-6
    assert weight == 5 and loss == pytest.approx((2 * 2 + 3 * 4) / 5)
    assert layer.weight.grad == pytest.approx(100 + 0.5 * loss)
    assert Parts(layer).learn(lambda *_: (9.0, 0.0), 4, 2) == (0.0, 0.0)
