"""The edge taper against SciPy's window, and its adjoint."""

import numpy as np
import pytest
import scipy.signal

from deconvnet.ops.edge_taper import edge_taper, edge_taper_backward
from deconvnet.ops.window import bartlett_hann
from deconvnet.testing import dottest


def test_the_border_is_half_a_bartlett_hann_window():
    found = edge_taper(np.ones((1, 40, 30)), 8)[0]
    # SciPy samples end points that are zero; half-pixel samples are every second one of a window twice as dense.
    dense = scipy.signal.windows.barthann(4 * 8 + 1)[1::2]
    assert np.allclose(found[20, :8], dense[:8])
    assert np.allclose(found[20, -8:], dense[8:])
    assert np.allclose(found[:8, 15], dense[:8])
    assert np.array_equal(found[8:-8, 8:-8], np.ones((24, 14)))


def test_small_images_fade_over_half_their_side():
    found = edge_taper(np.ones((5, 40), np.float32), 17)
    assert found.dtype == np.float32
    rise = bartlett_hann(4)[:2]
    assert np.allclose(found[:, 20], [*rise, 1, *rise[::-1]], atol=1e-6)
    assert np.allclose(found[2], [*rise, *np.ones(36), *rise[::-1]], atol=1e-6)


def test_the_grid_is_zero_beyond_the_image_and_the_scale_a_factor(rng):
    x = rng.standard_normal((2, 11, 12))
    found = edge_taper(x, 3, scale=0.25, grid=(14, 12))
    assert np.allclose(found[:, :11], 0.25 * edge_taper(x, 3), atol=1e-15)
    assert not found[:, 11:].any()


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}])
@pytest.mark.parametrize("grid", [(11, 12), (12, 15)])
def test_backward_is_the_adjoint(rng, options, grid):
    dottest(
        lambda x: edge_taper(x, 4, grid=grid, **options),
        lambda dy: edge_taper_backward(dy, (11, 12), 4, **options),
        rng.standard_normal((2, 3, 11, 12)),
        rng.standard_normal((2, 3, *grid)),
    )
