"""The edge taper as a layer: its gradient, and the factors that it hands to a kernel."""

import numpy as np
import pytest

from deconvnet.layers.edge_taper import EdgeTaper
from deconvnet.testing import gradcheck


@pytest.mark.parametrize("options", [{}, {"scale": 0.5, "grid": (12, 15)}])
def test_gradient(rng, options):
    gradcheck(EdgeTaper(4), rng.standard_normal((2, 3, 11, 12)), rng=rng, **options)


def test_the_factors_multiply_to_the_window(rng):
    x = rng.random((9, 14)).astype(np.float32)
    down, across = EdgeTaper(4).factors(x.shape, like=x, scale=0.5)
    assert down.dtype == across.dtype == np.float32
    faded, cache = EdgeTaper(4).forward(x, scale=0.5)
    assert cache is None
    assert np.allclose(faded, x * np.outer(down, across), atol=1e-7)
