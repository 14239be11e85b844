"""Pictures of what a network has learned: filters, maps of a photo, PSFs, and the regulariser of a burst network."""

import imageio.v3 as iio
import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.files import save_figure
from deconvnet.inspect.figures import burst_beta_figure, filters_figure, maps_figure, psfs_figure
from deconvnet.inspect.model import inspect_model, stage_maps
from deconvnet.networks.io import build_network, save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config


@pytest.fixture(scope="module")
def pyramid():
    scales = [scale_config(size, stages=2, filters=5, filter_size=5, features=[2, 3]) for size in (9, 13)]
    return Pyramid(scales=scales, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def grey(request):
    return np.random.default_rng(1).random((50, 60), dtype=np.float32)


@pytest.fixture(scope="module")
def maps(pyramid, grey):
    return stage_maps(pyramid, grey)


def _pictures(figure):
    """The arrays that a figure shows."""
    return [image.get_array() for ax in figure.axes for image in ax.get_images()]


def _limits(figure):
    return [image.get_clim() for ax in figure.axes for image in ax.get_images()]


def test_maps_are_those_of_the_network_itself(pyramid, grey, maps):
    assert [m.name for m in maps] == pyramid.stage_names
    found = [psfs[0] for scale in pyramid.estimate_psf(grey[None]) for psfs in scale]
    for m, psf in zip(maps, found):
        np.testing.assert_array_equal(m.psf, psf)
    assert [len(m.sharp) for m in maps] == [2, 3, 2, 3]
    assert maps[0].blurry.shape == (35, 42)  # 9/13 of the photo
    assert maps[-1].blurry.shape == maps[-1].latent.shape == grey.shape
    assert maps[0].latent_in is None
    assert maps[2].latent_in.shape == grey.shape
    assert maps[-1].latent.mean() == pytest.approx(grey.mean(), abs=0.02)


def test_stages_that_are_not_run_are_not_shown(pyramid, grey):
    part = Pyramid(scales=pyramid.config["scales"], rng=np.random.default_rng(0))
    part.grow(1)
    found = stage_maps(part, grey)
    assert [m.name for m in found] == ["9 px, stage 1"]
    assert found[0].blurry.shape == grey.shape  # 9 px is the finest scale that is trained


def test_a_photo_that_is_too_small_is_refused(pyramid):
    with pytest.raises(DeconvnetError, match="needs 26 on its shorter side"):
        stage_maps(pyramid, np.zeros((25, 60), np.float32))


def test_every_filter_is_shown_with_one_grey_scale(pyramid):
    stage = pyramid.all_stages()[1]
    figure = filters_figure(stage, "second")
    blocks = _pictures(figure)
    assert len(blocks) == 2  # blurry and latent image
    for channel, block in enumerate(blocks):
        assert (
            np.sort(block.compressed()).tolist()
            == np.sort(stage.features.conv.filters.value[:, channel].ravel()).tolist()
        )
    low, high = _limits(figure)[0]
    assert _limits(figure) == [(low, high)] * 2
    assert high == -low == pytest.approx(np.abs(stage.features.conv.filters.value).max())


def test_feature_images_share_a_grey_scale(grey, maps):
    figure = maps_figure(grey, maps[-1], "last")
    assert len(_pictures(figure)) == 4 + 6
    assert len(set(_limits(figure)[4:])) == 1
    assert len(_pictures(maps_figure(grey, maps[0]))) == 3 + 4  # no latent image comes in


def test_psfs_are_shown_by_scale_beside_the_true_one(maps):
    true = np.zeros((13, 13))
    true[6, 6] = 1
    shown = _pictures(psfs_figure(maps, true))
    assert [len(p) for p in shown] == [9, 9, 13, 13, 13]
    assert len(_pictures(psfs_figure(maps))) == 4
    assert _limits(psfs_figure(maps, true))[-3:] == [(0, 1)] * 3


def test_regulariser_of_a_burst_network_is_symmetric_about_frequency_zero():
    network = build_network("quotient", {"psf_size": 9, "widths": (8, 8, 8, 8, 8), "refinement_width": 8})
    rng = np.random.default_rng(0)
    network.log_beta.value[...] = np.log(10) * rng.standard_normal(network.log_beta.value.shape)
    network.log_beta.value[0] = 7 * np.log(10)
    plane = _pictures(burst_beta_figure(network))[0]
    assert plane.shape == (65, 65)
    assert plane[32, 32] == pytest.approx(7, abs=1e-5)
    np.testing.assert_allclose(plane[:, :32], plane[::-1, ::-1][:, :32], atol=1e-6)


def test_a_network_without_a_regulariser_is_refused():
    with pytest.raises(DeconvnetError, match="nothing to draw"):
        burst_beta_figure(type("Network", (), {"name": "compact"})())


def test_a_figure_that_cannot_be_written_is_told(tmp_path, pyramid):
    figure = filters_figure(pyramid.all_stages()[0])
    with pytest.raises(DeconvnetError, match="cannot be written"):
        save_figure(tmp_path / "nowhere" / "a.png", figure)


def test_a_photo_model_is_drawn_into_a_folder(tmp_path, pyramid, grey):
    small = Pyramid(scales=pyramid.config["scales"], rng=np.random.default_rng(0))
    small.grow(1)
    save_network(tmp_path / "model.safetensors", small)
    drawn = inspect_model(tmp_path / "model.safetensors", tmp_path / "out", grey)
    assert sorted(drawn) == sorted((tmp_path / "out").iterdir())
    assert [f.name for f in drawn] == ["filters_9px_stage_1.png", "maps_9px_stage_1.png", "psfs.png"]
    for file in drawn:
        assert np.ptp(iio.imread(file)) > 100
