"""1×1 recombination of channels."""

import numpy as np
import pytest

from deconvnet.layers.recombine import Recombine, recombine
from deconvnet.testing import gradcheck


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_recombine(bias):
    rng = np.random.default_rng(2)
    layer = Recombine(3, 5, rng, bias=bias, dtype=np.float64)
    assert set(layer.parameters()) == ({"weight", "bias"} if bias else {"weight"})
    gradcheck(layer, rng.standard_normal((2, 3, 4, 7)))


def test_first_weights_keep_the_variance(rng):
    y, _ = Recombine(64, 64, rng, dtype=np.float64).forward(rng.standard_normal((2, 64, 20, 20)))
    assert y.std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_pixel_is_mixed_by_the_same_matrix(dtype):
    rng = np.random.default_rng(3)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in [(2, 3, 4, 5), (6, 3), (6,)])
    y = recombine(x, weight, bias)
    assert y.dtype == dtype
    assert np.allclose(y, np.einsum("mc,bchw->bmhw", weight, x) + bias[:, None, None], atol=1e-5)
