"""Crop, clip and normalisation of raw PSF estimates."""

import numpy as np
import pytest

from deconvnet.backend import to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.layers.psf_support import PsfSupport, psf_support
from deconvnet.testing import gradcheck


def test_the_support_lies_around_the_periodic_origin(rng):
    psf = rng.random((2, 5, 5))
    psf /= psf.sum(axis=(1, 2), keepdims=True)
    z = np.zeros((2, 9, 8))
    z[:, :5, :5] = 3 * psf
    found, _ = psf_support(np.roll(z, (-2, -2), axis=(1, 2)), 5)
    assert np.allclose(found, psf)


def test_what_is_negative_or_outside_is_cut_and_the_rest_sums_to_one(rng):
    z = rng.standard_normal((3, 12, 11)).astype(np.float32)
    psf, _ = psf_support(z, 7)
    assert psf.dtype == np.float32
    assert psf.min() == 0
    assert np.allclose(psf.sum(axis=(1, 2)), 1, atol=1e-6)
    z[:, 4:8] = 1e6  # rows that no support of 7 around row 0 contains
    assert np.array_equal(psf_support(z, 7)[0], psf)


def test_an_estimate_without_anything_positive_is_no_blur_and_has_no_gradient(rng):
    z = -rng.random((2, 8, 8))
    layer = PsfSupport(5)
    psf, cache = layer.forward(z, train=True)
    delta = np.zeros((5, 5))
    delta[2, 2] = 1
    assert np.array_equal(psf, [delta, delta])
    assert not layer.backward(rng.standard_normal((2, 5, 5)), cache).any()


def test_gradient_through_clip_and_normalisation(rng, device):
    z = rng.standard_normal((2, 9, 10))
    z += 0.1 * np.sign(z)  # away from the kink of the clip
    gradcheck(PsfSupport(5), to_device(z, device), rng=rng)
    assert to_host(PsfSupport(5).forward(to_device(z, device))[0]).shape == (2, 5, 5)


def test_a_grid_smaller_than_the_support_is_refused(rng):
    with pytest.raises(DeconvnetError, match="larger image"):
        psf_support(rng.random((1, 6, 20)), 7)
