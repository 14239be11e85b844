"""Convolution by FFT against direct convolution."""

import numpy as np
import pytest
from scipy import ndimage, signal

from deconvnet.backend import to_device, to_host
from deconvnet.blur.convolve import convolve


@pytest.mark.parametrize("psf_shape", [(5, 5), (4, 6), (1, 1), (3, 8)])
@pytest.mark.parametrize("border", ["valid", "wrap", "reflect"])
def test_convolution_equals_the_direct_sum(rng, device, psf_shape, border):
    image, psf = rng.random((21, 24)), rng.random(psf_shape)
    if border == "valid":
        expected = signal.convolve2d(image, psf, "valid")
    else:
        expected = ndimage.convolve(image, psf, mode={"wrap": "wrap", "reflect": "mirror"}[border])
    found = to_host(convolve(to_device(image, device), to_device(psf, device), border))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_leading_axes_broadcast_and_dtype_is_kept(rng):
    images, psfs = rng.random((2, 1, 20, 20)).astype(np.float32), rng.random((2, 3, 5, 5)).astype(np.float32)
    found = convolve(images, psfs)
    assert found.shape == (2, 3, 16, 16) and found.dtype == np.float32
    np.testing.assert_allclose(found[1, 2], signal.convolve2d(images[1, 0], psfs[1, 2], "valid"), atol=1e-5)


def test_unknown_borders_and_too_large_psfs_are_refused(rng):
    with pytest.raises(ValueError, match="border"):
        convolve(rng.random((9, 9)), rng.random((3, 3)), "zero")
    with pytest.raises(ValueError, match="larger"):
        convolve(rng.random((9, 9)), rng.random((11, 3)))
