"""The scale-free photo network: gradients through the whole pyramid, shared weights, any size, and what it refuses."""

import numpy as np
import pytest
import scipy.ndimage

from deconvnet.backend import array_module, to_device
from deconvnet.errors import DeconvnetError
from deconvnet.networks import photo_scale_free
from deconvnet.networks.io import load_network, save_network
from deconvnet.networks.photo_scale_free import ScaleFreePhoto, pyramid_sides
from deconvnet.testing import gradcheck

TINY = {"filters": 3, "filter_size": 3, "iterations": 1}


class _Flat(ScaleFreePhoto):
    """The network with all its PSFs as one array, as `gradcheck` wants it."""

    def forward(self, y, *, psf_size, train=False):
        psfs, cache = super().forward(y, psf_size, train=train)
        self.sides = [p.shape[-1] for p in psfs]
        xp = array_module(y)
        return xp.concatenate([p.reshape(len(y), -1) for p in psfs], axis=1), cache

    def backward(self, dout, cache):
        cuts = np.cumsum([0, *(s * s for s in self.sides)])
        super().backward([dout[:, a:b].reshape(-1, s, s) for a, b, s in zip(cuts, cuts[1:], self.sides)], cache)
        return (None,)


def _images(rng, *shape):
    return scipy.ndimage.gaussian_filter(rng.random(shape), (0, 0.8, 0.8))


VARIANTS = {
    "one level": (5, {}),
    "four levels": (13, {}),
    "learned pairs": (9, {"learned_pairs": 1}),
    "two iterations": (7, {"iterations": 2}),
    "one step": (9, {"edge_steps": 1}),
    "two stages": (11, {"bounds": [7]}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_end_to_end(name, rng, device, monkeypatch):
    # β so large that central differences are exact to 1e-6; the formula is the same.
    monkeypatch.setattr(photo_scale_free, "BETA_PSF", 0.3)
    monkeypatch.setattr(photo_scale_free, "STEEP", 1.5)
    for constant, value in {"FIRST": 0.3, "WEIGHT": 0.3, "RATIO": 2.0, "PRICE": 0.03}.items():
        monkeypatch.setattr(photo_scale_free, constant, value)
    monkeypatch.setattr(photo_scale_free, "LEARNED", 1.0)
    size, options = VARIANTS[name]
    network = _Flat(**{**TINY, "edge_steps": 3, "psf_steps": 4, **options}, levels=3, rng=rng, dtype=np.float64).to(
        device
    )
    image = to_device(_images(rng, 2, 36, 33), device)
    gradcheck(network, image, rng=rng, differentiable=[False], step=3e-6, psf_size=size)


def test_levels_lie_a_root_of_two_apart():
    assert pyramid_sides(3) == [3]
    assert pyramid_sides(5) == [3, 5, 5]
    assert pyramid_sides(17) == [3, 5, 5, 7, 9, 13, 17]
    assert pyramid_sides(151) == [3, 5, 5, 7, 11, 15, 19, 27, 39, 55, 77, 107, 151]
    for size in range(3, 152, 2):
        sides = pyramid_sides(size)
        assert sides[-1] == size
        assert sides[0] == 3
        assert all(side % 2 == 1 and side >= size * 2 ** (-i / 2) - 1e-9 for i, side in enumerate(sides[::-1]))


@pytest.mark.parametrize("size", [3, 5, 7, 9, 15, 31, 49, 65, 101, 151])
def test_the_same_weights_serve_every_size(size, rng):
    network = ScaleFreePhoto(filters=4, filter_size=5, iterations=1, rng=rng)
    image = rng.random((2, 310, 333), dtype=np.float32)
    found = network.estimate_psf(image, size)
    sides = pyramid_sides(size)[-len(found) :]
    assert len(found) >= min(len(pyramid_sides(size)), 9)  # the coarsest pictures are smaller than the filters
    assert [psf.shape for (psf,) in found] == [(2, side, side) for side in sides]
    for (psf,) in found:
        assert psf.dtype == np.float32
        assert psf.min() >= 0
        assert np.allclose(psf.sum(axis=(1, 2)), 1, atol=1e-5)


def test_one_set_of_weights_acts_on_every_level(rng, monkeypatch):
    monkeypatch.setattr(photo_scale_free, "LEARNED", 10.0)
    network = ScaleFreePhoto(**TINY, rng=rng, dtype=np.float64)
    image = _images(rng, 1, 60, 60)
    before, cache = network.forward(image, 17, train=True)
    gradients = []
    for level in range(len(before)):  # a loss on this level only, cut off from those before
        network.zero_grad()
        cut = [(stage, entry, kept._replace(resized=None)) for stage, entry, kept in cache]
        network.backward([(i == level) * rng.standard_normal(p.shape) for i, p in enumerate(before)], cut)
        gradients.append(network.stages[0].features.conv.filters.grad.copy())
    assert all(g.any() for g in gradients)
    network.stages[0].features.conv.filters.value[0] *= 1.1
    after, _ = network.forward(image, 17)
    assert len(network.stages) == 1
    assert all(not np.allclose(a, b, atol=1e-6) for a, b in zip(before, after))


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_the_way_without_training_gives_what_training_sees(real, rng):
    network = ScaleFreePhoto(learned_pairs=1, rng=rng, dtype=real)
    image = rng.random((2, 71, 83)).astype(real)
    tolerance = 1e-3 if real == np.float32 else 1e-10
    for trained, found in zip(network.forward(image, 11, train=True)[0], network.forward(image, 11)[0], strict=True):
        assert found.dtype == real
        assert abs(found - trained).max() <= tolerance * trained.max()


def test_brightness_and_contrast_do_not_matter(rng):
    network = ScaleFreePhoto(**TINY, rng=rng, dtype=np.float64)
    image = _images(rng, 1, 40, 40) / 2
    assert np.allclose(network.estimate_psf(image, 7)[-1][-1], network.estimate_psf(0.6 * image + 0.3, 7)[-1][-1])


def test_a_constant_image_gives_a_psf_without_a_failure():
    found = ScaleFreePhoto().estimate_psf(np.full((1, 80, 80), 0.5, np.float32), 9)
    assert all(np.isfinite(psf).all() for level in found for psf in level)


def test_saved_and_loaded_it_is_the_same(rng, tmp_path):
    network = ScaleFreePhoto(**{**TINY, "iterations": 2}, bounds=[9], rng=rng)
    save_network(tmp_path / "model.safetensors", network)
    again = load_network(tmp_path / "model.safetensors", kind="photo")
    image = rng.random((1, 60, 60), dtype=np.float32)
    assert np.array_equal(again.estimate_psf(image, 17)[-1][-1], network.estimate_psf(image, 17)[-1][-1])


def test_refusals_say_what_to_do(rng):
    with pytest.raises(DeconvnetError, match="odd"):
        ScaleFreePhoto().estimate_psf(np.zeros((1, 80, 80), np.float32), 16)
    with pytest.raises(DeconvnetError, match="larger image or a smaller PSF"):
        ScaleFreePhoto().estimate_psf(np.zeros((1, 33, 80), np.float32), 17)
    with pytest.raises(DeconvnetError, match="must grow"):
        ScaleFreePhoto(bounds=[9, 9])
