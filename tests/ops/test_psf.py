"""The transform of a small PSF on a larger grid against the padded FFT."""

import numpy as np
import pytest

from deconvnet.backend import rfft2, to_device, to_host
from deconvnet.ops.psf import psf_to_otf, psf_to_otf_backward
from deconvnet.testing import dottest


@pytest.mark.parametrize(("side", "shape"), [(7, (16, 17)), (5, (9, 8)), (4, (8, 8)), (65, (65, 65))])
def test_otf_equals_the_fft_of_the_padded_and_centred_psf(rng, device, side, shape):
    psf = rng.random((2, 3, side, side))
    padded = np.zeros((2, 3, *shape))
    padded[..., :side, :side] = psf
    padded = np.roll(padded, (-(side // 2), -(side // 2)), axis=(-2, -1))
    assert np.allclose(to_host(psf_to_otf(to_device(psf, device), shape)), rfft2(padded), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("side", "shape"), [(7, (16, 17)), (5, (9, 8))])
def test_otf_backward_is_the_adjoint(rng, device, side, shape):
    psf = to_device(rng.standard_normal((2, 3, side, side)), device)
    half = (2, 3, shape[0], shape[1] // 2 + 1)
    otf = to_device(rng.standard_normal(half) + 1j * rng.standard_normal(half), device)
    dottest(lambda a: psf_to_otf(a, shape), lambda b: psf_to_otf_backward(b, side, shape), psf, otf)
