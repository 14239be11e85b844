"""Efficient filter flow: windows, agreement with plain convolution, adjoint."""

import numpy as np
import pytest

from deconvnet.blur.convolve import convolve
from deconvnet.blur.filter_flow import FilterFlow, filter_flow, patch_grid
from deconvnet.testing import dottest


def _psfs(rng, rows, columns, k):
    psfs = rng.random((rows, columns, k, k))
    return psfs / psfs.sum(axis=(-2, -1), keepdims=True)


@pytest.mark.parametrize(("length", "count"), [(64, 1), (64, 3), (61, 4), (200, 7), (33, 5)])
def test_windows_sum_to_one_at_every_pixel(length, count):
    patches = patch_grid(length, count)
    total = np.zeros(length)
    for first, window in zip(patches.first, patches.windows):
        total[first : first + patches.side] += window
    assert len(patches.first) == count
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_neighbouring_patches_overlap_by_half():
    patches = patch_grid(120, 5)
    assert patches.side == 40
    assert np.diff(patches.first).tolist() == [20, 20, 20, 20]


def test_an_axis_without_room_for_the_patches_is_refused():
    with pytest.raises(ValueError, match="9 patches do not fit on 8 pixels"):
        patch_grid(8, 9)


@pytest.mark.parametrize("k", [5, 6])
def test_equal_psfs_are_a_plain_convolution(k):
    rng = np.random.default_rng(1)
    image = rng.random((47, 58))
    psf = _psfs(rng, 1, 1, k)[0, 0]
    blurry = filter_flow(image, np.broadcast_to(psf, (3, 4, k, k)))
    np.testing.assert_allclose(blurry, convolve(image, psf, "valid"), atol=1e-12)


def test_each_patch_is_masked_first_and_then_convolved():
    rng = np.random.default_rng(2)
    image, psfs = rng.random((40, 50)), _psfs(rng, 2, 3, 5)
    rows, columns = patch_grid(40, 2), patch_grid(50, 3)
    expected = 0
    for i, j in np.ndindex(2, 3):
        masked = np.zeros_like(image)
        window = np.outer(rows.windows[i], columns.windows[j])
        part = np.s_[rows.first[i] : rows.first[i] + rows.side, columns.first[j] : columns.first[j] + columns.side]
        masked[part] = image[part] * window
        expected = expected + convolve(masked, psfs[i, j], "valid")
    np.testing.assert_allclose(filter_flow(image, psfs), expected, atol=1e-12)


def test_mass_is_kept_away_from_the_border():
    psfs = _psfs(np.random.default_rng(3), 3, 3, 7).astype(np.float32)
    blurry = filter_flow(np.ones((60, 60), np.float32), psfs)
    assert blurry.dtype == np.float32
    assert 0.9 < blurry.min() < blurry.max() < 1.1  # near one: it changes only as fast as the PSFs do


@pytest.mark.parametrize("margins", [((0, 0), (0, 0)), ((3, 5), (4, 2))])
@pytest.mark.parametrize("k", [4, 7])
def test_adjoint_passes_the_dot_product_test(margins, k):
    rng = np.random.default_rng(4)
    flow = FilterFlow(_psfs(rng, 2, 3, k), (37, 44), margins)
    assert flow.shape == (37 + sum(margins[0]), 44 + sum(margins[1]))
    dottest(flow.forward, flow.adjoint, rng.standard_normal(flow.shape), rng.standard_normal(flow.shape))


def test_margin_continues_the_outermost_psfs():
    rng = np.random.default_rng(5)
    psf = _psfs(rng, 1, 1, 5)[0, 0]
    flow = FilterFlow(np.broadcast_to(psf, (2, 2, 5, 5)), (30, 30), ((4, 6), (5, 3)))
    x = rng.random(flow.shape)
    np.testing.assert_allclose(flow.forward(x)[2:-2, 2:-2], convolve(x, psf, "valid"), atol=1e-12)
