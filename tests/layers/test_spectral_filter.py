"""Spectral filter: layout of the coefficients, the identity, and gradients."""

import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.layers.spectral_filter import (
    FILTER_REALS,
    SpectralFilter,
    filter_spectrum,
    filter_spectrum_backward,
    identity_filter,
    spectral_filter,
)
from deconvnet.testing import dottest, gradcheck


def _coefficients_of(psf):
    """The independent coefficients of a real 65×65 filter, picked one by one."""
    full = np.fft.fft2(psf)
    order = [(zy, zx) for zy in range(65) for zx in range(1, 33)] + [(zy, 0) for zy in range(1, 33)]
    picked = np.array([full[z] for z in order])
    return np.stack([picked.real, picked.imag], axis=-1).ravel()


def _filter_with_unit_dc():
    psf = np.random.default_rng(20).standard_normal((65, 65))
    return psf + (1 - psf.sum()) / psf.size


def test_there_are_2112_complex_coefficients():
    assert FILTER_REALS == 2 * 2112


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_identity_filter_returns_the_centre(dtype):
    patches = np.random.default_rng(21).random((3, 65, 65)).astype(dtype)
    centres, _ = spectral_filter(np.tile(identity_filter(dtype), (3, 1)), patches)
    assert centres.dtype == dtype
    assert np.allclose(centres, patches[:, 16:49, 16:49], atol=1e-6)


def test_the_layout_rebuilds_the_half_spectrum_of_a_real_filter():
    psf = _filter_with_unit_dc()
    assert np.allclose(filter_spectrum(_coefficients_of(psf)), np.fft.rfft2(psf), atol=1e-10)


def test_filtering_is_circular_convolution():
    psf, patch = _filter_with_unit_dc(), np.random.default_rng(22).random((65, 65))
    expected = np.zeros((65, 65))
    for dy, dx in np.ndindex(65, 65):
        expected += psf[dy, dx] * np.roll(patch, (dy, dx), axis=(0, 1))
    centre, _ = spectral_filter(_coefficients_of(psf), patch)
    assert np.allclose(centre, expected[16:49, 16:49], atol=1e-10)


def test_the_mean_of_a_flat_patch_passes_whatever_the_filter():
    filters = np.random.default_rng(23).standard_normal((1, FILTER_REALS))
    assert np.allclose(spectral_filter(filters, np.full((1, 65, 65), 0.3))[0], 0.3, atol=1e-12)


def test_spectrum_backward_is_the_adjoint():
    rng = np.random.default_rng(24)
    x = rng.standard_normal((2, FILTER_REALS))
    y = rng.standard_normal((2, 65, 33)) + 1j * rng.standard_normal((2, 65, 33))
    dc = filter_spectrum(np.zeros((1, FILTER_REALS)))
    dottest(lambda a: filter_spectrum(a) - dc, filter_spectrum_backward, x, y)


def test_gradients_of_filters_and_patches():
    rng = np.random.default_rng(25)
    gradcheck(SpectralFilter(), rng.standard_normal((2, FILTER_REALS)), rng.random((2, 65, 65)))


def test_refuses_other_sizes():
    with pytest.raises(DeconvnetError, match="65×65"):
        spectral_filter(np.zeros((1, FILTER_REALS)), np.zeros((1, 64, 64)))
    with pytest.raises(DeconvnetError, match="4224"):
        spectral_filter(np.zeros((1, 4225)), np.zeros((1, 65, 65)))
