"""`python bench/figures.py`: what experiments write, what is not done twice, what is refused, and their own layers."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bench import figures
from bench.experiments.camera_path import fragments_of_path, path_psfs, random_path
from bench.experiments.common import Sizes, unseen_photographs
from bench.experiments.stacked_baseline import Stacked, twice
from bench.experiments.training_figures import GradientTargets
from deconvnet.layers.fba import fba
from deconvnet.layers.features import Features
from deconvnet.networks.burst_filter import FilterBurst
from deconvnet.networks.io import save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.testing import gradcheck

EXPERIMENTS = figures.experiments()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of twelve textured pictures of 192×216 pixels."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for i in range(12):
        picture = rng.integers(0, 256, (16, 18, 3)).repeat(12, axis=0).repeat(12, axis=1).astype(np.uint8)
        iio.imwrite(folder / f"picture{i}.png", picture)
    return str(folder)


@pytest.fixture(scope="module")
def photo_model(tmp_path_factory):
    """An untrained photo network for PSFs of 5 px."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_network(path, Pyramid(scales=[scale_config(5, 2, filters=4, filter_size=3)]))
    return str(path)


def run(name, out, *options):
    """Run an experiment quickly; returns its results and its pictures."""
    status = figures.main([name, "--quick", "--quiet", "--out", str(out), *options])
    assert status == 0
    pictures = sorted(out.glob(f"{name}*.png"))
    assert pictures and all(iio.imread(p).std() > 0 for p in pictures)
    assert not list(out.glob(".*"))  # nothing half-written is left
    return json.loads((out / f"{name}.json").read_text())["results"], pictures


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_names_the_figure_and_every_option_with_its_default(name, capsys):
    with pytest.raises(SystemExit) as stop:
        figures.main([name, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "paper, " in shown
    for option, default in EXPERIMENTS[name].defaults.items():
        assert "--" + option.replace("_", "-") in shown
        default = default.full if isinstance(default, Sizes) else default
        if isinstance(default, (int, float, str)):
            assert f"(default {default})" in shown


def test_a_burst_without_sharp_frame_is_restored_above_its_best_frame(tmp_path):
    results, _ = run("burst-no-sharp-frame", tmp_path)
    scores = results["PSNR in dB, mean"]
    assert scores["network"] > scores["best frame"] + 1
    assert scores["best frame"] >= scores["typical frame"]
    assert not (tmp_path / "burst-no-sharp-frame").exists()  # no training, no folder


def test_trainings_that_are_finished_are_not_repeated(images, tmp_path, capsys):
    options = ("--images", images, "--steps", "3", "--filters", "2")
    first, _ = run("photo-stages", tmp_path, *options)
    assert set(first["trainings"]) == {"1 stage", "2 stages", "3 stages"}
    models = sorted((tmp_path / "photo-stages").glob("*/model.safetensors"))
    times = [model.stat().st_mtime_ns for model in models]
    assert len(times) == 3
    second, _ = run("photo-stages", tmp_path, *options)
    assert second == first
    assert [model.stat().st_mtime_ns for model in models] == times
    capsys.readouterr()
    assert figures.main(["photo-stages", "--quick", "--quiet", "--out", str(tmp_path), *options[:-1], "3"]) == 2
    message = capsys.readouterr().err
    assert "filters" in message and message.count("\n") == 1


def test_every_noise_network_is_tested_on_every_noise(images, tmp_path):
    results, _ = run(
        "photo-noise", tmp_path, "--images", images, "--steps", "2", "--filters", "2", "--noises", "0", "0.1"
    )
    assert results["trained for (rows), tested on (columns)"] == ["0 % noise", "10 % noise"]
    assert np.shape(results["PSNR in dB"]) == np.shape(results["PSF error"]) == (2, 2)
    known, blurry = results["PSNR with the true PSF"], results["PSNR of the blurry photos"]
    assert known["0 % noise"] > blurry["0 % noise"] + 3 and known["0 % noise"] > known["10 % noise"]


def test_error_by_psf_size_uses_the_same_photo_for_estimate_and_truth(images, photo_model, tmp_path):
    results, _ = run("photo-psf-size", tmp_path, "--images", images, "--model", photo_model)
    for row in results["photos"]:
        assert row["PSNR, true PSF"] > row["PSNR, blurry"]
        assert row["error ratio"] == pytest.approx(
            10 ** ((row["PSNR, true PSF"] - row["PSNR, network"]) / 10), rel=1e-6
        )
    assert [row["PSF size"] for row in results["photos"]] == [5, 9]


def test_varying_blur_shows_every_step_of_the_estimate(images, photo_model, tmp_path):
    results, _ = run("photo-varying", tmp_path, "--images", images, "--model", photo_model)
    assert set(results["PSF error"]) == {"direct", "projected", "sparse", "fitted", "final", "one PSF"}
    spread = results["pixels of a PSF above a tenth of its maximum"]
    assert spread["sparse"] < spread["projected"]
    assert results["PSNR in dB"]["true PSFs"] > results["PSNR in dB"]["blurry"]


def test_filters_and_maps_are_drawn_for_every_stage(images, photo_model, tmp_path):
    _, pictures = run("photo-filters-and-maps", tmp_path, "--images", images, "--models", photo_model)
    names = {p.stem.removeprefix("photo-filters-and-maps-") for p in pictures}
    assert names == {"filters-1-1", "filters-1-2", "maps-disks", "maps-photo", "layers-disks", "layers-photo", "psfs"}


def test_a_missing_model_is_refused_in_one_line(tmp_path, capsys):
    assert figures.main(["burst-varying", "--model", "nowhere", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message and message.count("\n") == 1


@pytest.mark.parametrize(("name", "option"), [("photo-content", "--categories"), ("burst-growing-real", "--burst")])
def test_experiments_that_need_data_ask_for_it(name, option, tmp_path, capsys):
    assert figures.main([name, "--quick", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert option in message and message.count("\n") == 1


def test_frames_of_a_real_burst_are_sorted_by_sharpness(tmp_path, rng):
    picture = rng.random((16, 16)).repeat(8, axis=0).repeat(8, axis=1)
    files = []
    for i, width in enumerate((3.0, 0.3, 2.0)):
        files.append(str(tmp_path / f"frame{i}.png"))
        iio.imwrite(files[-1], (255 * gaussian_filter(picture, width)).astype(np.uint8))
    results, _ = run("burst-growing-real", tmp_path / "out", "--burst", *files, "--window", "0", "0")
    sharpness = results["relative sharpness by frames"]
    assert sharpness["3"]["best frame"] > sharpness["2"]["best frame"]
    assert sharpness["3"]["mean"] == pytest.approx(1)


def test_only_photographs_that_training_leaves_out_are_used(images):
    from deconvnet.blur.photographs import load_photographs, split_photographs

    seen, unseen = split_photographs(load_photographs(images))
    found = unseen_photographs(images, 2, 100)
    assert set(found) <= set(unseen.names) and not set(found) & set(seen.names)
    assert all(pixels.shape == (100, 100) for pixels in found.values())


def test_a_camera_that_only_moves_blurs_every_place_alike(rng):
    path = random_path(rng)
    path[:, 2] = 0
    psfs = path_psfs(fragments_of_path(path, 8), ([20.0, 60.0], [10.0, 50.0, 90.0]), (80, 100), 17)
    assert psfs.shape == (8, 2, 3, 17, 17)
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, rtol=1e-5)
    np.testing.assert_allclose(psfs, np.broadcast_to(psfs[:, :1, :1], psfs.shape), atol=1e-6)
    # Registered: every part's centre of mass stays in the middle.
    place = np.arange(17) - 8
    np.testing.assert_allclose((psfs.sum(axis=-1) * place).sum(axis=-1), 0, atol=1e-4)


def test_a_camera_that_only_turns_keeps_the_middle_sharp_and_moves_the_border_across_the_radius():
    path = np.zeros((80, 3))
    path[:, 2] = np.linspace(-1, 1, 80)
    psfs = path_psfs([path], ([49.5], [49.5, 99.0]), (100, 100), 9)[0, 0]
    assert psfs[0].max() == pytest.approx(1)
    assert np.count_nonzero(psfs[1].sum(axis=1) > 1e-3) == 9  # right of the middle a turn moves down and up
    assert np.count_nonzero(psfs[1].sum(axis=0) > 1e-3) == 1


def test_gradient_targets_are_the_pictures_gradients_and_the_rest_is_learned(rng):
    layer = GradientTargets(Features(1, 3, 5, 1, 2, rng, dtype=np.float64))
    picture = rng.standard_normal((2, 1, 12, 14))
    maps, _ = layer.forward(picture)
    down, across = np.gradient(picture[:, 0], axis=(1, 2))
    np.testing.assert_allclose(maps[:, 2], across[:, 2:-2, 2:-2])
    np.testing.assert_allclose(maps[:, 3], down[:, 2:-2, 2:-2])
    gradcheck(layer, picture, differentiable=[False])


def test_a_frame_said_twice_or_three_times_is_sharpened_alike(rng):
    network = FilterBurst("compact", w1=4, w2=8, g=16, layers=1, rng=rng)
    frames = rng.random((3, 4, 65, 65), dtype=np.float32)
    network.fit(np.tile(rng.random((30, 14, 65, 65), dtype=np.float32), (1, 1, 1, 1)))
    for p in network.parameters().values():
        p.value[...] += 0.02 * rng.standard_normal(p.value.shape, dtype=np.float32)
    two = network.forward(twice(frames))[0]
    three = network.forward(frames.reshape(12, 1, 65, 65).repeat(3, axis=1))[0]
    np.testing.assert_allclose(two, three, atol=1e-4)


def test_a_fresh_stacked_baseline_is_fourier_burst_accumulation(rng):
    network = FilterBurst("compact", w1=4, w2=8, g=16, layers=1, rng=rng)
    network.output.weight.value[...] = 0  # the identity filter, whatever the frame
    frames = rng.random((2, 5, 65, 65), dtype=np.float32)
    expected, _ = fba(np.ascontiguousarray(frames[..., 16:49, 16:49]), 11.0)
    np.testing.assert_allclose(Stacked(network).forward(frames)[0], expected, atol=1e-4)
