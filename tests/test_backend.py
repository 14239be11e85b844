"""The one file that knows about devices: transforms and their adjoints, what is picked for an array, refusals."""

import numpy as np
import pytest
import scipy.ndimage

import deconvnet.backend
from deconvnet.backend import (
    array_module,
    gpu_available,
    irfft2,
    irfft2_backward,
    ndimage,
    resolve_device,
    rfft2,
    rfft2_backward,
    to_device,
    to_host,
)
from deconvnet.errors import DeconvnetError
from deconvnet.testing import TOLERANCE, dottest


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (6, 9), (1, 5)])
def test_backwards_of_the_transforms_are_their_adjoints(rng, shape, device):
    x = to_device(rng.standard_normal((2, *shape)), device)
    half = (2, shape[0], shape[1] // 2 + 1)
    y = to_device(rng.standard_normal(half) + 1j * rng.standard_normal(half), device)
    dottest(rfft2, lambda y: rfft2_backward(y, shape), x, y)
    dottest(lambda y: irfft2(y, shape), irfft2_backward, y, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transforms_keep_the_precision_and_invert_each_other(rng, dtype, device):
    x = to_device(rng.standard_normal((3, 5, 7)).astype(dtype), device)
    back = irfft2(rfft2(x), (5, 7))
    assert back.dtype == x.dtype and rfft2(x).dtype == np.result_type(dtype, np.complex64)
    np.testing.assert_allclose(to_host(back), to_host(x), atol=10 * TOLERANCE[dtype])
    np.testing.assert_allclose(to_host(rfft2(x)), np.fft.rfft2(to_host(x)), atol=50 * TOLERANCE[dtype])


def test_ndimage_filters_on_the_device_of_the_array(rng, device):
    x = rng.standard_normal((9, 8))
    found = ndimage(to_device(x, device)).gaussian_filter(to_device(x, device), 1.5, mode="nearest")
    assert array_module(found) is array_module(to_device(x, device))
    np.testing.assert_allclose(to_host(found), scipy.ndimage.gaussian_filter(x, 1.5, mode="nearest"), atol=1e-12)


def test_on_the_cpu_everything_is_numpy_and_scipy():
    assert array_module(np.ones(1), None) is np and ndimage(np.ones(1)) is scipy.ndimage


@pytest.mark.gpu
def test_mixed_arrays_are_refused():
    with pytest.raises(TypeError, match="mixed"):
        array_module(np.ones(1), to_device(np.ones(1), "cuda"))


def test_devices_that_cannot_be_used_are_refused(monkeypatch):
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if gpu_available() else "cpu")
    with pytest.raises(DeconvnetError, match="use one of auto, cpu, cuda"):
        resolve_device("gpu")
    monkeypatch.setattr(deconvnet.backend, "cupy", None)
    with pytest.raises(DeconvnetError, match="install the extra"):
        resolve_device("cuda")
