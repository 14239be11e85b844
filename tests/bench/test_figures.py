"""`python bench/figures.py`: what experiments write, what is not done twice, what is refused, and their own layers."""

import json
from itertools import pairwise

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bench import figures
from bench.experiments.camera_path import fragments_of_path, path_psfs, random_path
from bench.experiments.common import Sizes, on_one_side, unseen_photographs
from bench.experiments.stacked_baseline import Stacked, twice
from bench.experiments.text_pages import text_pages
from deconvnet.layers.fba import fba
from deconvnet.networks.burst_filter import FilterBurst
from deconvnet.networks.io import load_network, save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config

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


@pytest.fixture(scope="module")
def shaky_frames(tmp_path_factory):
    """Three files of one picture, the second the sharpest."""
    folder, rng = tmp_path_factory.mktemp("burst"), np.random.default_rng(1)
    picture = rng.random((16, 16)).repeat(8, axis=0).repeat(8, axis=1)
    files = []
    for i, width in enumerate((3.0, 0.3, 2.0)):
        files.append(str(folder / f"frame{i}.png"))
        iio.imwrite(files[-1], (255 * gaussian_filter(picture, width)).astype(np.uint8))
    return files


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


# What must hold of the results of each experiment, whatever the weights: relations that are known beforehand.


def _check_scores_of_a_burst(scores):
    assert scores["best frame"] >= scores["typical frame"]
    assert scores["FBA best p"] >= scores["FBA p=11"]


def _check_growing(results, out):
    means = results["PSNR in dB, mean"]
    assert results["frames"] == [2, 3, 4]
    assert all(a <= b for a, b in pairwise(means["best frame"]))  # the frames are sorted
    assert all(best >= some for best, some in zip(means["FBA best p"], means["FBA p=11"]))
    assert means["network"][-1] > means["mean"][-1] + 2


def _check_no_sharp_frame(results, out):
    scores = results["PSNR in dB, mean"]
    _check_scores_of_a_burst(scores)
    assert scores["network"] > scores["best frame"] + 1
    assert not (out / "burst-no-sharp-frame").exists()  # no training, no folder


def _check_varying_burst(results, out):
    scores = results["PSNR in dB, mean"]
    _check_scores_of_a_burst(scores)
    assert scores["network"] > scores["mean"] + 2


def _check_growing_real(results, out):
    sharpness = results["relative sharpness by frames"]
    assert sharpness["3"]["best frame"] > sharpness["2"]["best frame"]
    assert sharpness["3"]["mean"] == pytest.approx(1)


def _check_stacked(results, out):
    scores = results["PSNR in dB, validation patches"]
    _check_scores_of_a_burst(scores)
    assert scores["network"] > scores["joint"]  # that one has learned for six steps only
    first, stacked, joint = results["training"].values()
    assert first["steps"] == [1, 2, 3] and stacked["steps"] == joint["steps"] == [3, 4, 5, 6]
    assert stacked["PSNR in dB"][0] == joint["PSNR in dB"][0] == first["PSNR in dB"][-1]


def _check_trainings(count):
    def check(results, out):
        trainings = results["trainings"]
        assert len(trainings) == count
        # All are validated on the same photographs, and no two of them learned the same.
        assert len({(t["PSNR in dB"]["blurry"], t["PSNR in dB"]["true PSF"]) for t in trainings.values()}) == 1
        assert len({t["PSF error"] for t in trainings.values()}) == count
        assert 0.05 < results["PSF error of the mean of the true PSFs"] < 1
        for training in trainings.values():
            assert training["PSNR in dB"]["true PSF"] > training["PSNR in dB"]["estimated PSF"] + 1
            assert 0 < training["PSF error"] < 20
        folders = [f for f in out.glob("*/*") if f.is_dir()]
        assert len(folders) == count
        for folder in folders:
            assert load_network(folder / "model.safetensors", kind="photo").depth >= 1

    return check


def _check_kinds(*labels):
    def check(results, out):
        assert results["trained for (rows), tested on (columns)"] == list(labels)
        assert np.shape(results["PSNR in dB"]) == np.shape(results["PSF error"]) == (len(labels), len(labels))
        known, blurry = results["PSNR with the true PSF"], results["PSNR of the blurry photos"]
        assert all(known[label] > blurry[label] + 0.3 for label in labels)
        assert (np.array(list(known.values())) > np.array(results["PSNR in dB"])).all()  # no estimate beats the truth

    return check


def _check_psf_samples(results, out):
    large, small = results["Gaussian process, 33 px"], results["Gaussian process, 17 px"]
    spread = "root mean square distance from the middle, px"
    assert large[spread] > small[spread]
    assert large["brightest pixel's share of the light"] < small["brightest pixel's share of the light"]


def _check_psf_size(results, out):
    assert [row["PSF size"] for row in results["photos"]] == [5, 9]
    for row in results["photos"]:
        assert row["PSNR, true PSF"] > row["PSNR, blurry"]
        # One photo for estimate and truth: else the ratio of the errors were not that of the PSNRs.
        ratio = 10 ** ((row["PSNR, true PSF"] - row["PSNR, network"]) / 10)
        assert row["error ratio"] == pytest.approx(ratio, rel=1e-6)


def _check_crop_size(results, out):
    sides = results["sides"]
    assert len(sides) == 6 and all(a < b for a, b in pairwise(sides))
    every = np.array(list(results["PSF error"].values()))
    assert every.shape == (3, 6) and (every[:, -1].mean() < every[:, 0].mean())  # more of the photo, less error


def _check_filters_and_maps(results, out):
    names = {p.stem.removeprefix("photo-filters-and-maps-") for p in out.glob("*.png")}
    assert names == {"filters-1-1", "filters-1-2", "maps-disks", "maps-photo", "layers-disks", "layers-photo", "psfs"}
    assert all(-1 <= s <= 1 for s in results["symmetry of the filters"].values())


def _check_varying_photo(results, out):
    assert set(results["PSF error"]) == {"direct", "projected", "sparse", "fitted", "every stage", "refined", "one PSF"}
    spread = results["pixels of a PSF above a tenth of its maximum"]
    assert spread["sparse"] < spread["projected"]
    assert results["PSNR in dB"]["true PSFs"] > results["PSNR in dB"]["blurry"]


#: Every experiment: options beside --quick, and what must hold. IMAGES, MODEL and FRAMES stand for files made here.
CHECKS = {
    "burst-growing": ([], _check_growing),
    "burst-growing-real": (["--burst", "FRAMES", "--window", "0", "0"], _check_growing_real),
    "burst-no-sharp-frame": ([], _check_no_sharp_frame),
    "burst-varying": ([], _check_varying_burst),
    "burst-stacked-baseline": ([], _check_stacked),
    "photo-stages": ([], _check_trainings(3)),
    "photo-filters": (["--images", "IMAGES"], _check_trainings(5)),
    "photo-features": (["--images", "IMAGES"], _check_trainings(5)),
    "photo-optimizer": (["--images", "IMAGES"], _check_trainings(7)),
    "photo-content": ([], _check_kinds("all kinds", "photographs", "text")),
    "photo-noise": (["--images", "IMAGES", "--noises", "0", "0.1"], _check_kinds("0 % noise", "10 % noise")),
    "photo-psf-samples": ([], _check_psf_samples),
    "photo-psf-size": (["--images", "IMAGES", "--model", "MODEL"], _check_psf_size),
    "photo-crop-size": ([], _check_crop_size),
    "photo-filters-and-maps": (["--images", "IMAGES", "--models", "MODEL"], _check_filters_and_maps),
    "photo-varying": ([], _check_varying_photo),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_finds_what_is_known(name, images, photo_model, shaky_frames, tmp_path):
    options, check = CHECKS[name]
    given = {"IMAGES": [images], "MODEL": [photo_model], "FRAMES": shaky_frames}
    options = [word for option in options for word in given.get(option, [option])]
    results, _ = run(name, tmp_path, *options)
    check(results, tmp_path)


@pytest.mark.slow
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


def test_a_missing_model_is_refused_in_one_line(tmp_path, capsys):
    assert figures.main(["burst-varying", "--model", "nowhere", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message and message.count("\n") == 1


def test_the_experiment_that_needs_data_asks_for_it(tmp_path, capsys):
    assert figures.main(["burst-growing-real", "--quick", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "--burst" in message and message.count("\n") == 1


def test_only_photographs_that_training_leaves_out_are_used(images):
    from deconvnet.blur.photographs import load_photographs, split_photographs

    seen, unseen = split_photographs(load_photographs(images))
    found = unseen_photographs(images, 2, 100)
    assert set(found) <= set(unseen.names) and not set(found) & set(seen.names)
    assert all(pixels.shape == (100, 100) for pixels in found.values())


def test_pages_of_text_are_dark_lines_on_light_paper_and_always_the_same():
    pages = text_pages(3, side=120, seed=5)
    assert [p.shape for p in pages] == [(120, 120)] * 3 and pages[0].dtype == np.uint8
    for page, again in zip(pages, text_pages(3, side=120, seed=5)):
        np.testing.assert_array_equal(page, again)
        paper = np.median(page)
        assert paper >= 200 and page.min() < 100
        assert 0.02 < np.mean(page < paper - 60) < 0.4  # ink


def test_psfs_of_any_size_get_one_side_and_keep_their_centre():
    small, large = np.zeros((1, 1)), np.zeros((2, 5, 3))
    small[0, 0], large[:, 2, 1] = 1, 1
    a, b = on_one_side(small, large)
    assert a.shape == (5, 5) and b.shape == (2, 5, 5)
    assert a[2, 2] == 1 and (b[:, 2, 2] == 1).all() and a.sum() + b.sum() == 3


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
