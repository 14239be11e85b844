"""Fixtures of all tests: a seeded generator, photographs, and the devices that device-agnostic tests run on."""

import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, settings

from deconvnet.backend import gpu_available

# Property tests: quick in everyday runs; `--hypothesis-profile=long` looks for ten minutes or so.
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("long", settings.get_profile("quick"), max_examples=2000, print_blob=True)
settings.load_profile("quick")


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


@pytest.fixture(scope="session")
def camera():
    """The cameraman, every second pixel of it: float64 (256, 256) in [0, 1]."""
    return skimage.data.camera()[::2, ::2].astype(np.float64) / 255


@pytest.fixture(scope="session")
def astronaut():
    """A colour photograph: float32 (160, 180, 3) in [0, 1]."""
    return skimage.data.astronaut()[:160, 130:310].astype(np.float32) / 255
