"""Pictures larger than the memory: tiles are parts of the whole picture, and only those asked for are computed."""

import numpy as np
import pytest

from deconvnet import deblur_array
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.parallel import threads
from deconvnet.restore.deconvolve.solvers import deconvolve
from deconvnet.restore.photo import tiles
from deconvnet.restore.photo.psf import FoundPsf
from deconvnet.restore.photo.tiles import deblur_rows, plan_tiles

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
        (da.zeros((50, 50)), {"psf": np.ones((30, 3)), "noise": 0.01}, "needs twice its size"),
    ],
)
def test_what_cannot_be_used_is_refused(picture, options, message):
    with pytest.raises(DeconvnetError, match=message):
        deblur_array(picture, device="cpu", **options)


def test_dask_and_rows_make_the_same_picture(blurred):
    blurry, _, psf = blurred
    lazy = deblur_array(da.from_array(blurry, chunks=90), psf=psf, noise=NOISE, tile=120, device="cpu").compute()
    plan = plan_tiles(blurry, psf=psf, noise=NOISE)
    rows = list(deblur_rows(blurry, plan, tile=120))
    assert len(rows) == 3 and all(band.shape[1:] == blurry.shape[1:] for band in rows)
    np.testing.assert_allclose(np.concatenate(rows), lazy, atol=1e-6)


def test_the_number_of_threads_changes_nothing(blurred):
    blurry, _, psf = blurred
    plan = plan_tiles(blurry, psf=psf, noise=NOISE)
    found = []
    for count in (1, 2, 5):
        with threads(count):
            found.append(np.concatenate(list(deblur_rows(blurry, plan, nonblind="wiener", tile=80))))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_tiles_that_disagree_fade_into_each_other(blurred, monkeypatch):
    """What two tiles differ by is spread over the PSF's side: no step is left."""
    blurry, _, psf = blurred
    plan = plan_tiles(blurry, psf=psf, noise=NOISE)
    which = iter(range(9))
    monkeypatch.setattr(tiles, "deconvolve", lambda image, *_, **__: np.full_like(image, next(which) % 2))
    with threads(1):
        picture = np.concatenate(list(deblur_rows(blurry, plan, tile=120)))
    inside = picture[40:60, :, 0]
    assert {0.0, 1.0} <= set(np.unique(inside)) and abs(np.diff(inside, axis=1)).max() < 1.01 / (2 * (len(psf) // 2))


@pytest.mark.parametrize("varying", [False, True])
def test_windows_without_edges_are_no_candidates(monkeypatch, varying):
    picture = np.full((300, 400), 0.5, np.float32)
    picture[210:280, 110:180] = 0.8
    seen = []

    def uncertain(network, grey, size, **_):
        seen.append(grey.shape)
        return FoundPsf(np.full((3, 3), 1 / 9, np.float32), 0.2)

    monkeypatch.setattr(tiles, "find_psf", uncertain)
    with pytest.warns(UserWarning, match="cannot be told with confidence"):
        plan = plan_tiles(picture, window=100, varying=varying)
    assert seen == [(100, 100)] and plan.confidence == 0.2
    np.testing.assert_array_equal(plan.places, [[249.5, 149.5]])


@pytest.mark.slow  # finds several PSFs
def test_blur_that_varies_gets_the_psf_of_its_place(blurred):
    _, sharp, _ = blurred
    psfs = np.zeros((2, 9, 9), np.float32)
    psfs[0, 4, 1:8], psfs[1, 1:8, 4] = 1 / 7, 1 / 7
    planes = np.ascontiguousarray(sharp.transpose(2, 0, 1))
    halves = [convolve(planes, psf, border="reflect").transpose(1, 2, 0) for psf in psfs]
    noise = np.random.default_rng(1).normal(0, 0.003, (250, 640, 3))
    picture = np.clip(np.concatenate(halves, axis=1) + noise, 0, 1).astype(np.float32)
    found = {
        varying: np.concatenate(
            list(deblur_rows(picture, plan_tiles(picture, varying=varying, window=320, psf_size=9), tile=200))
        )
        for varying in (False, True)
    }
    truth = np.concatenate([sharp, sharp], axis=1)
    # Away from the border between the two, which no blur that changes smoothly explains.
    inside = np.r_[12:220, 420:628]
    errors = {v: np.square(found[v] - truth)[12:-12, inside].mean() for v in found}
    assert errors[True] < 0.6 * errors[False]
