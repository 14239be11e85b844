"""The single-photo network: gradients of one stage, three stages and the pyramid, growth, and what it refuses."""

import numpy as np
import pytest
import scipy.ndimage

from deconvnet.backend import array_module, to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.networks import photo_stage
from deconvnet.networks.io import load_arrays, load_network, save_arrays, save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.networks.photo_stage import Stage
from deconvnet.testing import gradcheck

TINY = {"filters": 3, "filter_size": 3}


class _Flat(Pyramid):
    """The pyramid with all its PSFs as one array, as `gradcheck` wants it."""

    def forward(self, y, *, train=False):
        psfs, cache = super().forward(y, train=train)
        self.sides = [p.shape[-1] for p in psfs]
        xp = array_module(y)
        return xp.concatenate([p.reshape(len(y), -1) for p in psfs], axis=1), cache

    def backward(self, dout, cache, *, first=0):
        cuts = np.cumsum([0, *(s * s for s in self.sides)])
        parts = [dout[:, a:b].reshape(-1, s, s) for a, b, s in zip(cuts, cuts[1:], self.sides)]
        super().backward(parts, cache, first=first)
        return (None,)


def _images(rng, *shape):
    return scipy.ndimage.gaussian_filter(rng.random(shape), (0, 0.8, 0.8))


CASES = {
    "one stage": [scale_config(5, 1, **TINY)],
    "three stages": [scale_config(5, 3, **TINY)],
    "pyramid": [scale_config(5, 2, **TINY), scale_config(7, 2, **TINY), scale_config(11, 1, **TINY)],
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_end_to_end(name, rng, device, monkeypatch):
    # β so large that central differences are exact to 1e-6; the formula is the same.
    monkeypatch.setattr(photo_stage, "BETA_PSF", 0.03)
    network = _Flat(scales=CASES[name], rng=rng, dtype=np.float64).to(device)
    for stage in network.all_stages():
        stage.image.log_beta.value[...] = np.log(0.3)
    image = to_device(_images(rng, 2, 30, 27), device)
    gradcheck(network, image, rng=rng, differentiable=[False], step=3e-6)


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_constant_stages_get_no_gradient_and_the_others_the_same(first, rng):
    network = _Flat(scales=CASES["pyramid"], rng=rng, dtype=np.float64)
    image = _images(rng, 1, 30, 27)
    out, cache = network.forward(image, train=True)
    # A loss on the last PSF only: what reaches earlier stages has come through the latent images.
    dout = np.zeros_like(out)
    dout[:, -121:] = rng.standard_normal((1, 121))
    network.backward(dout, cache)
    whole = {name: p.grad.copy() for name, p in network.parameters().items()}
    network.zero_grad()
    network.backward(dout, cache, first=first)
    prefixes = network.stage_prefixes()
    for name, p in network.parameters().items():
        stage = next(i for i, prefix in enumerate(prefixes) if name.startswith(prefix))
        assert np.array_equal(p.grad, whole[name] if stage >= first else 0 * p.grad), name
    assert any(whole[name].any() for name in whole if name.startswith(prefixes[0]))


def test_psfs_after_every_stage_for_any_image_size(rng):
    network = Pyramid(scales=[scale_config(9, 2), scale_config(13, 3)], rng=rng)
    for shape in ((40, 61), (97, 53)):
        image = rng.random((2, *shape), dtype=np.float32)
        found = network.estimate_psf(image)
        assert [len(stages) for stages in found] == [2, 3]
        for size, stages in zip((9, 13), found):
            for psf in stages:
                assert psf.shape == (2, size, size)
                assert psf.dtype == np.float32
                assert psf.min() >= 0
                assert np.allclose(psf.sum(axis=(1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize(
    "widths", [{}, {"filters": 40}, {"features": [9, 9]}], ids=["fused", "many filters", "many feature images"]
)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_the_ways_without_training_give_what_training_sees(widths, real, rng):
    scales = [scale_config(7, 2, **widths), scale_config(11, 2, **widths)]
    network = Pyramid(scales=scales, rng=rng, dtype=real)
    image = rng.random((2, 71, 83)).astype(real)
    plain, fused = network.forward(image, train=True)[0], network.forward(image)[0]
    tolerance = 1e-4 if real == np.float32 else 1e-11
    for trained, found in zip(plain, fused, strict=True):
        assert found.dtype == real
        assert abs(found - trained).max() <= tolerance * trained.max()


def test_brightness_does_not_matter(rng):
    network = Pyramid(scales=[scale_config(7, 2, **TINY)], rng=rng, dtype=np.float64)
    image = _images(rng, 1, 40, 40) / 2
    assert np.allclose(network.estimate_psf(image)[-1][-1], network.estimate_psf(image + 0.3)[-1][-1], atol=1e-9)


def test_features_that_are_the_images_themselves_give_the_blur_between_them(rng):
    """With linear features that pick sharp and blurry image, module 2 is plain deconvolution: it must find the PSF."""
    psf = rng.random((5, 5))
    psf /= psf.sum()
    sharp = rng.standard_normal((64, 64))
    blurry = scipy.ndimage.convolve(sharp, psf, mode="wrap")
    stage = Stage(5, latent=True, filters=2, filter_size=1, hidden_layers=0, pairs=1, rng=rng, dtype=np.float64)
    stage.features.conv.filters.value[...] = 1e-4 * np.array([[0, 1], [1, 0]])[:, :, None, None]  # tanh is linear here
    stage.features.conv.bias.value[...] = 0
    stage.features.out.weight.value[...] = 1e4 * np.eye(2)
    stage.quotient.log_beta.value[...] = np.log(1e-6)
    found, _ = stage.forward(blurry[None], sharp[None])
    assert abs(found[0] - psf).max() < 0.01


def test_a_new_stage_starts_where_its_predecessor_stands(rng):
    network = Pyramid(scales=[scale_config(7, 3)], rng=rng)
    network.grow(1)
    image = rng.random((1, 64, 64), dtype=np.float32)
    (before,) = network.estimate_psf(image)[0]
    network.grow(3)
    _, second, third = network.estimate_psf(image)[0]
    fresh = Pyramid(scales=[scale_config(7, 3)], rng=np.random.default_rng(5)).estimate_psf(image)[0][2]
    assert abs(second - before).sum() < 0.5 * abs(fresh - before).sum()
    assert abs(third - before).sum() < abs(fresh - before).sum()


def test_the_number_of_trained_stages_is_saved_with_the_weights(rng, tmp_path):
    network = Pyramid(scales=[scale_config(7, 3, **TINY)], rng=rng)
    network.grow(2)
    save_network(tmp_path / "model.safetensors", network)
    again = load_network(tmp_path / "model.safetensors", kind="photo")
    image = rng.random((1, 30, 30), dtype=np.float32)
    found = again.estimate_psf(image)[0]
    assert len(found) == 2
    assert np.array_equal(found[1], network.estimate_psf(image)[0][1])
    with pytest.raises(DeconvnetError, match="photo"):
        load_network(tmp_path / "model.safetensors", kind="burst")


def test_files_of_the_first_version_keep_that_number_among_the_weights(rng, tmp_path):
    network = Pyramid(scales=[scale_config(7, 3, **TINY)], rng=rng)
    network.grow(2)
    save_network(tmp_path / "model.safetensors", network)
    arrays, record = load_arrays(tmp_path / "model.safetensors")
    assert record["config"].pop("depth") == 2
    save_arrays(tmp_path / "old.safetensors", {**arrays, "active": np.array(2, np.float16)}, record)
    old = load_network(tmp_path / "old.safetensors")
    assert old.depth == 2
    assert set(old.state()) == set(network.state())


def test_the_walk_computes_only_what_is_asked_for_and_takes_another_latent_image(rng, monkeypatch):
    network = Pyramid(scales=[scale_config(7, 2, **TINY), scale_config(9, 1, **TINY)], rng=rng)
    image = rng.random((1, 40, 44), dtype=np.float32)
    calls = []
    monkeypatch.setattr(Stage, "feature_maps", lambda self, *a: calls.append("maps"))
    plain = [run.psf for run in network.walk(image)]
    assert not calls
    runs = []
    for run in network.walk(image):
        runs.append(run)
        if len(runs) == 2:  # the last of the coarser scale
            run.latent = 0 * run.blurry
    assert [run.name for run in runs] == network.stage_names
    assert [run.finest for run in runs] == [False, False, True]
    assert [run.last for run in runs] == [False, False, True]
    assert runs[0].latent_in is None
    assert not runs[2].latent_in.any()
    assert np.array_equal(runs[1].psf, plain[1])
    assert not np.array_equal(runs[2].psf, plain[2])


def test_refusals_say_what_to_do(rng):
    with pytest.raises(DeconvnetError, match="3 stages cannot run 4"):
        Pyramid(scales=[scale_config(7, 3, **TINY)], depth=4)
    with pytest.raises(DeconvnetError, match="odd"):
        scale_config(16)
    with pytest.raises(DeconvnetError, match="coarsest scale first"):
        Pyramid(scales=[scale_config(9, 1), scale_config(7, 1)])
    with pytest.raises(DeconvnetError, match="larger image or a smaller PSF"):
        Pyramid(scales=[scale_config(17, 1)]).estimate_psf(np.zeros((1, 33, 80), np.float32))


def test_a_constant_image_gives_a_psf_without_a_failure():
    found = Pyramid(scales=[scale_config(7, 2)]).estimate_psf(np.full((1, 40, 40), 0.5, np.float32))
    assert all(np.isfinite(to_host(p)).all() for p in found[0])
