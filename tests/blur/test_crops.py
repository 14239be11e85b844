"""Random crops of photographs."""

import numpy as np
import pytest

from deconvnet.backend import to_host
from deconvnet.blur import crops
from deconvnet.blur.crops import CropCutter
from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.errors import DeconvnetError

LEVELS = np.arange(256, dtype=np.float32) / 255


@pytest.fixture(scope="module")
def photographs():
    return [dead_leaves(np.random.default_rng(seed), size) for seed, size in ((0, 200), (1, 150))]


def _half_textured():
    photo = np.full((400, 60), 128, np.uint8)
    photo[200:] = np.random.default_rng(0).integers(0, 256, (200, 60))
    return photo


def test_flat_crops_are_refused_while_there_are_others():
    photo = _half_textured()
    found = CropCutter([photo], (1.0,), 33, LEVELS).cut(np.random.default_rng(0), 40)
    for axis in (1, 2):
        assert ((abs(np.diff(found, axis=axis)) >= 0.05).mean((1, 2)) >= 0.06).all()
    flat = CropCutter([photo[:200]], (1.0,), 33, LEVELS).cut(np.random.default_rng(0), 2)
    assert (flat == LEVELS[128]).all()  # nothing better to be had


def test_crops_are_the_same_bits_wherever_they_are_cut(photographs, device, monkeypatch):
    cutter = CropCutter([*photographs, _half_textured()], (1.0, 0.5), 29, LEVELS)
    expected = cutter.cut(np.random.default_rng(2), 60)
    if device == "cpu":  # in the way of the GPU: out of one array with all photographs
        monkeypatch.setattr(crops, "to_device", lambda array, device: array)
    rng = np.random.default_rng(2)
    found = [to_host(cutter.cut(rng, count, device="cuda")) for count in (60, 5)]
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(found[0], expected)
    assert len(np.unique(found[1].mean((1, 2)))) == 5


def test_half_size_copies_are_used_only_where_they_are_large_enough(photographs):
    cutter = CropCutter(photographs, (1.0, 0.5), 93, LEVELS)
    assert [len(source.images) for source in cutter.sources] == [2, 1]
    half = cutter.sources[1].images[0]
    assert abs(half.astype(float) - photographs[0].reshape(100, 2, 100, 2).mean((1, 3))).max() <= 0.5


@pytest.mark.parametrize("scale", [0.4, 2.0])
def test_only_whole_reductions_are_taken(photographs, scale):
    with pytest.raises(ValueError, match="not 1/k"):
        CropCutter(photographs, (scale,), 33, LEVELS)


def test_too_small_photographs_are_refused_in_one_line():
    with pytest.raises(DeconvnetError, match="none of the 1 photographs"):
        CropCutter([np.zeros((50, 50), np.uint8)], (1.0,), 51, LEVELS)
