"""PSFs are drawn where they belong, each at its own full brightness."""

import numpy as np
import pytest

from deconvnet.inspect.psf_picture import draw_psf_grid, draw_psfs


def _bright(canvas):
    return np.argwhere((canvas == 1).all(axis=-1))


def test_each_psf_is_normalised_and_lies_at_its_place():
    psfs = np.zeros((3, 3, 9, 9), dtype=np.float32)
    psfs[..., 4, 4] = np.linspace(0.1, 0.9, 9).reshape(3, 3)
    picture = np.zeros((200, 300), dtype=np.float32)
    canvas = draw_psfs(picture, psfs)
    assert canvas.shape == (200, 300, 3) and canvas.dtype == np.float32
    bright = _bright(canvas)
    for y, x in [(99.5, 149.5), (0, 0), (199, 299)]:  # middle and corners; those are moved inside
        assert np.abs(bright - (y, x)).max(axis=1).min() < 20
    assert len(bright) % 9 == 0


def test_a_dense_grid_is_thinned_so_that_psfs_do_not_touch():
    psfs = np.ones((60, 80, 25, 25), dtype=np.float32)
    canvas = draw_psfs(np.full((600, 800, 3), 0.5, dtype=np.float32), psfs)
    drawn = (canvas == 1).all(axis=-1).mean()
    assert 0.2 < drawn < 0.6
    assert (np.abs(canvas - 0.35 * 0.5).max(axis=-1) < 1e-3).mean() > 0.3  # the picture stays visible, dim


def test_a_thinned_grid_is_evenly_spaced_and_whole():
    psfs = np.zeros((16, 16, 33, 33), dtype=np.float32)
    psfs[..., 16, 16] = 1
    bright = _bright(draw_psfs(np.zeros((599, 419), dtype=np.float32), psfs))
    for axis, room in enumerate((599, 419)):
        places = np.unique(bright[:, axis])
        assert len(places) > 5 and np.ptp(np.diff(places)) <= 1
        assert places[0] >= 16 and places[-1] < room - 16


def test_a_psf_of_zeros_is_drawn_black():
    canvas = draw_psfs(np.zeros((80, 80)), np.zeros((1, 1, 9, 9)))
    assert np.isfinite(canvas).all() and not len(_bright(canvas))


def test_psfs_larger_than_the_picture_are_refused():
    with pytest.raises(ValueError, match="no room"):
        draw_psfs(np.zeros((65, 65)), np.zeros((2, 2, 71, 71)))


def test_psfs_in_a_grid_are_drawn_each_to_its_own_maximum():
    psfs = np.zeros((2, 3, 5, 5), np.float32)
    psfs[..., 2, 2] = np.arange(1, 7).reshape(2, 3)
    picture = draw_psf_grid(psfs, zoom=2)
    assert picture.shape == (2 * 11 + 1, 3 * 11 + 1)
    assert (picture == 1).sum() == 6 * 4
