"""The softmax that makes PSFs of logits."""

import numpy as np

from deconvnet.backend import to_device, to_host
from deconvnet.layers.psf_softmax import psf_softmax


def test_softmax_psfs_are_non_negative_and_sum_to_one(rng, device):
    psf = to_host(psf_softmax(to_device(50 * rng.standard_normal((3, 4, 49)).astype(np.float32), device), 7))
    assert psf.shape == (3, 4, 7, 7)
    assert psf.dtype == np.float32
    assert (psf >= 0).all()
    assert np.allclose(psf.sum(axis=(-2, -1)), 1, atol=1e-6)


def test_psfs_are_the_exponentials_over_their_sum(rng):
    logits = rng.standard_normal((2, 9))
    for row, psf in zip(logits, psf_softmax(logits, 3)):
        assert np.allclose(psf, np.exp(row.reshape(3, 3)) / np.exp(row).sum(), rtol=1e-13)
        assert np.array_equal(psf, psf_softmax(row, 3))


def test_a_constant_on_all_logits_changes_nothing(rng):
    logits = rng.standard_normal((1, 25))
    assert np.allclose(psf_softmax(logits + 300, 5), psf_softmax(logits, 5), rtol=1e-12)
