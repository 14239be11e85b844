"""Pictures larger than the memory: tiles are parts of the whole picture, and only those asked for are computed."""

import numpy as np
import pytest

from deconvnet import deblur_array
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.restore.deconvolve.solvers import deconvolve

da = pytest.importorskip("dask.array")
NOISE = 0.0085


@pytest.fixture(scope="module")
def blurred():
    from skimage import data

    rng = np.random.default_rng(0)
    psf = sample_gp_psfs(rng, 1, np.array([7.0]), 11)[0].astype(np.float32)
    sharp = data.astronaut()[100:350, 100:420].astype(np.float32) / 255
    planes = convolve(np.ascontiguousarray(sharp.transpose(2, 0, 1)), psf, border="reflect")
    noisy = planes.transpose(1, 2, 0) + rng.normal(0, 0.004, sharp.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), sharp, psf


@pytest.mark.parametrize("colours", [0, 3])
def test_seams_are_not_seen(blurred, colours):
    blurry, _, psf = blurred
    blurry = blurry if colours else blurry[..., 1].copy()
    picture = deblur_array(da.from_array(blurry, chunks=90), psf=psf, noise=NOISE, tile=120, device="cpu")
    assert picture.shape == blurry.shape and picture.dtype == np.float32
    assert picture.chunks[:2] == ((83, 83, 84), (106, 107, 107))
    whole, tiles = deconvolve(blurry, psf, noise=NOISE).clip(0, 1), picture.compute()
    difference = abs(tiles - whole) * 255
    assert difference.mean() < 0.1 and np.quantile(difference, 0.98) < 1
    edges = abs(np.diff(tiles, axis=1) - np.diff(whole, axis=1))[:, [105, 212]] * 255
    assert edges.mean() < 0.1 and np.quantile(edges, 0.98) < 1


def test_tiles_are_computed_when_they_are_asked_for(blurred):
    blurry, _, psf = blurred
    seen = []

    def read(block):
        seen.append(block.shape)
        return block

    lazy = da.from_array(blurry, chunks=(50, 50, 3)).map_blocks(read, dtype=np.float32, meta=blurry[:0, :0])
    picture = deblur_array(lazy, psf=psf, noise=NOISE, nonblind="wiener", tile=50, device="cpu")
    assert not seen
    picture[:20, :20].compute()
    assert 0 < len(seen) <= 9


@pytest.mark.slow  # finds a PSF
def test_the_psf_comes_from_the_window_with_most_edges(blurred):
    blurry, sharp, _ = blurred
    wide = np.full((blurry.shape[0], 900, 3), 0.5, np.float32)
    wide[:, 580:] = np.rint(blurry * 255) / 255
    given = da.from_array(np.rint(wide * 255).astype(np.uint8), chunks=200)
    found = deblur_array(given, psf_size=11, tile=250, window=300, device="cpu").compute()[:, 580:]
    inside = (slice(10, -10), slice(10, -10))
    assert np.square(found - sharp)[inside].mean() < 0.7 * np.square(blurry - sharp)[inside].mean()


@pytest.mark.parametrize(
    ("picture", "options", "message"),
    [
        (np.zeros((50, 50)), {}, "no Dask array"),
        (da.zeros((50, 50, 4)), {}, "has the shape"),
        (da.zeros((50, 50)), {"tile": 0}, "the tile must be"),
        (da.zeros((50, 50)), {}, "constant"),
        (da.zeros((50, 50)), {"psf": np.ones((30, 3)), "noise": 0.01}, "at most half"),
    ],
)
def test_what_cannot_be_used_is_refused(picture, options, message):
    with pytest.raises(DeconvnetError, match=message):
        deblur_array(picture, device="cpu", **options)
