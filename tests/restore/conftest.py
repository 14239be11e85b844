"""A photograph for the tests of restoring."""

import numpy as np
import pytest
import skimage.data


@pytest.fixture(scope="session")
def camera():
    """The cameraman, every second pixel of it: float64 (256, 256) in [0, 1]."""
    return skimage.data.camera()[::2, ::2].astype(np.float64) / 255


@pytest.fixture(scope="session")
def astronaut():
    """A colour photograph: float32 (160, 180, 3) in [0, 1]."""
    return skimage.data.astronaut()[:160, 130:310].astype(np.float32) / 255
