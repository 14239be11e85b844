"""`python -m train.photo_any`: what it leaves, how it resumes, and its measure that forgives shifts."""

import os
import signal

import numpy as np
import pytest

from deconvnet.networks.io import load_network
from tests.train.commands import assert_complete, run, same_checkpoints, start, steps_done
from train import photo_any
from train.photo_any import move, shifted_errors, unsharp_mask

PROGRAM = "train.photo_any"
SHORT = ["--psf-sizes", "5,9", "--filters", "4", "--filter-size", "3", "--validation-crop", "60", "--batch", "2"]
SHORT += ["--validation", "3", "--validation-sizes", "9", "--validate-every", "3", "--checkpoint-every", "2"]


def test_a_run_leaves_everything_a_user_looks_for(finished):
    out, done = finished
    summary = assert_complete(out, done, steps=8)
    assert set(summary["psf_error"]) == {"PSF error 9 px", "median 9 px"}
    assert "relative PSF error" in done.stdout
    network = load_network(out / "model.safetensors", kind="photo")
    assert network.estimate_psf(np.zeros((1, 80, 80), np.float32), 15)[-1][-1].shape == (1, 15, 15)


def test_a_killed_run_resumes_bit_for_bit(images, finished, tmp_path):
    out = tmp_path / "stopped"
    process = start(PROGRAM, images, out, "--steps", "8", *SHORT)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert steps_done(out) < 8
    run(PROGRAM, images, out, "--resume")
    assert same_checkpoints(out, finished[0])


def test_shifts_are_forgiven_and_nothing_else(rng):
    truth = np.zeros((2, 9, 9))
    truth[:, 3:6, 3:6] = rng.random((2, 3, 3))
    shifts = np.array([[2, -1], [-3, 3]])
    errors, found = shifted_errors(move(truth, shifts), truth)
    assert np.allclose(errors, 0, atol=1e-12)
    assert np.array_equal(found, shifts)
    assert (shifted_errors(move(truth, shifts), truth, 1)[0] > 0.1).all()
    other = rng.random((2, 9, 9))
    plain = ((other - truth) ** 2).sum(axis=(1, 2)) / (truth**2).sum(axis=(1, 2))
    assert np.allclose(shifted_errors(other, truth, 0)[0], plain)
    assert (shifted_errors(other, truth)[0] <= plain).all()


def test_sharpening_keeps_flat_areas_and_steepens_edges():
    frames = np.full((2, 1, 8, 8), 0.3, np.float32)
    frames[..., 4:] = 0.6
    made = unsharp_mask(frames, np.array([0, 1], np.float32))
    assert np.allclose(made[0], frames[0], atol=1e-6)
    assert np.allclose(made[1, 0, :, 0], 0.3, atol=1e-6)
    assert made[1, 0, 0, 3] < 0.25
    assert made[1, 0, 0, 4] > 0.65


def test_the_loss_is_that_of_its_gradient(rng):
    """The gradient of every level's PSF, by central differences; the truth's shift stays where it is best."""
    network = photo_any.build_network("scale-free", {"filters": 3, "filter_size": 3, "iterations": 1}, dtype=np.float64)
    settings = {"level_loss": 0.3, "shifts": 0.1, "psf_sizes": [9]}
    task = photo_any.AnyTask(network, settings, {}, [], "cpu")
    truth = rng.random((2, 9, 9))
    truth /= truth.sum(axis=(1, 2), keepdims=True)
    psfs = [p + 1e-3 for p in network.forward(rng.random((2, 60, 60)), 9)[0]]
    losses, gradients = task.loss(psfs, truth)
    assert len(losses) == len(gradients) == len(psfs)

    def total(parts):
        found = task.loss(parts, truth)[0]
        found = [photo_any.HALF * np.log(1 + errors / photo_any.HALF) for errors in found]
        return sum(weight * errors.mean() for weight, errors in zip([0.3] * (len(found) - 1) + [1.0], found))

    for i, psf in enumerate(psfs):
        direction = 1e-6 * rng.standard_normal(psf.shape)
        up, down = ([*psfs[:i], psf + s * direction, *psfs[i + 1 :]] for s in (1, -1))
        assert (total(up) - total(down)) / 2 == pytest.approx(float((gradients[i] * direction).sum()), rel=1e-5)
