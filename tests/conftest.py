"""Fixtures of all tests: a seeded generator, and the devices that every device-agnostic test runs on."""

import numpy as np
import pytest

from deconvnet.backend import gpu_available


def pytest_collection_modifyitems(items):
    if gpu_available():
        return
    skip = pytest.mark.skip(reason="no usable CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def rng():
    return np.random.default_rng(20151)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return request.param
