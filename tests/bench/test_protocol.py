"""How restored photographs are scored, and the synthetic bursts they are measured on."""

import json

import numpy as np
import pytest
import skimage.data
from scipy.io import savemat
from scipy.ndimage import map_coordinates
from scipy.signal import convolve2d

from bench.scoring.burst_scores import FBA_POWERS, make_burst, restore_burst, without_sharp_frames
from bench.scoring.panels import busiest_window, draw_panels, with_psf
from bench.scoring.protocol import aligned_score, find_shift, load_levin, load_psfs, score
from bench.scoring.report import describe_run, format_table, write_json
from deconvnet.blur.convolve import convolve
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import MOST_DECIBELS


@pytest.fixture(scope="module")
def truth():
    return skimage.data.camera()[100:200, 150:246].astype(np.float64) / 255


def _moved(picture, down, right):
    """The picture at (i + down, j + right), interpolated linearly."""
    rows, columns = (np.arange(n) for n in picture.shape)
    where = np.meshgrid(rows + down, columns + right, indexing="ij")
    return map_coordinates(picture, where, order=1, mode="nearest")


def test_the_shift_found_is_the_best_of_all_on_the_grid(rng, truth):
    picture = truth + 0.2 * rng.standard_normal(truth.shape)
    inside = (slice(15, -15), slice(15, -15))
    steps = np.arange(-3, 3.01, 0.25)
    tried = {(y, x): ((_moved(picture, y, x) - truth)[inside] ** 2).sum() for y in steps for x in steps}
    assert find_shift(picture, truth, border=15, reach=3) == min(tried, key=tried.get)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.25, -2.75), (-5.0, 5.0), (0.5, 0.75)])
def test_a_moved_picture_is_laid_back(truth, shift):
    # A picture that is linear between coarse nodes is moved there and back without loss inside the cells.
    smooth = np.add.outer(np.linspace(0, 1, 100) ** 2, np.linspace(0, 1, 96)) / 2
    moved = _moved(smooth, -shift[0], -shift[1])
    assert find_shift(moved, smooth) == shift
    assert aligned_score(moved, smooth).psnr > 60
    assert aligned_score(moved, smooth).shift == shift


def test_colour_pictures_are_laid_on_each_other_by_their_luminance(truth):
    colour = np.stack([truth, truth**2, np.sqrt(truth)], axis=-1)
    found = aligned_score(np.roll(colour, (2, -3), axis=(0, 1)), colour)
    assert found.shift == (2.0, -3.0)
    assert found.ssim == pytest.approx(1)


def test_a_border_that_leaves_nothing_is_refused(truth):
    with pytest.raises(ValueError, match="border"):
        find_shift(truth[:30], truth[:30])
    with pytest.raises(ValueError, match="reach"):
        find_shift(truth, truth, border=3, reach=5)


def test_scores_agree_with_their_definitions(truth):
    noisy = truth + 0.1 * np.where(np.indices(truth.shape).sum(axis=0) % 2, 1, -1)
    noisy = np.where((noisy < 0) | (noisy > 1), truth, noisy)
    error = ((noisy - truth)[4:-4, 4:-4] ** 2).mean()
    found = score(noisy, truth, border=4)
    assert found.psnr == pytest.approx(-10 * np.log10(error))
    assert found.ssd == pytest.approx(error * (truth.shape[0] - 8) * (truth.shape[1] - 8))
    assert score(3 * truth - 1, truth) == score(np.clip(3 * truth - 1, 0, 1), truth)
    assert score(truth, truth).psnr == MOST_DECIBELS


def test_levins_cases_follow_our_convention(tmp_path, rng, truth):
    psf = rng.random((7, 5))
    psf /= psf.sum()
    blurry = convolve2d(truth, np.rot90(psf, 2), mode="same")
    savemat(tmp_path / "im01_flit01.mat", {"x": truth, "y": blurry, "f": psf})
    (case,) = load_levin(tmp_path)
    assert case.name == "im01_flit01"
    np.testing.assert_allclose(convolve(case.sharp, case.psf), case.blurry[3:-3, 2:-2], atol=1e-5)


def test_levins_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(DeconvnetError, match=r"no \.mat files"):
        load_levin(tmp_path)
    savemat(tmp_path / "other.mat", {"x": np.ones((4, 4))})
    with pytest.raises(DeconvnetError, match="holds no x, y and f"):
        load_levin(tmp_path)
    (tmp_path / "other.mat").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(DeconvnetError, match="cannot be read"):
        load_levin(tmp_path)


def test_psfs_of_a_mat_file_are_centred(tmp_path):
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.zeros((9, 9)), np.zeros((6, 8))
    cells[0, 0][1, 2] = 5
    cells[0, 1][2, 3:6] = 1
    savemat(tmp_path / "psfs.mat", {"kernels": cells})
    point, line = load_psfs(tmp_path / "psfs.mat")
    np.testing.assert_array_equal(point, [[1]])
    np.testing.assert_allclose(line, np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3, atol=1e-6)
    savemat(tmp_path / "psfs.mat", {"kernel": -np.ones((3, 3))})
    with pytest.raises(DeconvnetError, match="negative"):
        load_psfs(tmp_path / "psfs.mat")


@pytest.mark.parametrize("support", [1, 5, 6])
def test_the_truth_lies_where_the_frames_show_it(rng, support):
    # A blur with its centre of mass in the middle leaves a ramp as it is.
    ramp = np.add.outer(np.arange(40), 2 * np.arange(50)).astype(np.float32) / 140
    frames, truth = make_burst(ramp, 3, support, 0.0, rng)
    assert frames.shape == (3, 41 - support, 51 - support)
    np.testing.assert_allclose(frames, np.repeat(truth[None], 3, axis=0), atol=1e-4)


def test_the_blurrier_half_keeps_its_order(truth):
    frames = np.stack([truth + offset for offset in (0.3, 0.0, 0.1, 0.2)])
    np.testing.assert_array_equal(without_sharp_frames(frames, truth), frames[[0, 3]])


def test_a_burst_is_scored_against_its_best_and_typical_frame_and_the_best_power(rng, truth):
    frames, sharp = make_burst(truth.astype(np.float32), 5, 9, 0.01, rng)
    result = restore_burst(frames, sharp, {})
    each = sorted(score(frame, sharp, 16).psnr for frame in frames)
    assert result.scores["best frame"].psnr == each[-1]
    assert result.scores["typical frame"].psnr == each[2]
    assert set(result.powers) == set(FBA_POWERS)
    assert result.scores["FBA best p"].psnr == max(s.psnr for s in result.powers.values())
    assert result.scores["FBA best p"] == result.powers[result.best_power]
    assert result.scores["FBA p=11"] == result.powers[11]


def test_the_busiest_window_is_where_the_detail_is(rng):
    picture = np.zeros((60, 90))
    picture[30:40, 50:60] = rng.random((10, 10))
    rows, columns = busiest_window(picture, 20)
    assert rows.start <= 30 and rows.stop >= 40 and columns.start <= 50 and columns.stop >= 60
    assert busiest_window(picture, 200) == (slice(0, 60), slice(0, 90))


def test_panels_of_grey_and_colour_are_drawn(tmp_path, truth):
    shown = with_psf(truth, np.eye(5))
    assert shown[0, 0] == 1 and shown[0, 5] == 0 and np.array_equal(shown[50:], truth[50:])
    draw_panels(tmp_path / "panels.png", [[("a", truth), ("b", shown)], [("c", np.stack([truth] * 3, axis=-1))]])
    assert [f.name for f in tmp_path.iterdir()] == ["panels.png"]
    with pytest.raises(DeconvnetError, match="cannot be written"):
        draw_panels(tmp_path / "missing" / "panels.png", [[("a", truth)]])


def test_a_table_is_aligned_and_its_record_says_what_was_run(tmp_path):
    rows = [{"case": "a", "dB": 30.123, "n": 5}, {"case": "mean", "dB": 7.0, "SSIM": 0.5}]
    assert format_table(rows, {"SSIM": 3}).splitlines() == [
        "case     dB  n   SSIM",
        "a     30.12  5",
        "mean   7.00     0.500",
    ]
    write_json(tmp_path / "record.json", describe_run(["levin:x y"], results=rows))
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["results"] == rows
    assert record["command"].endswith("'levin:x y'")
    assert record["versions"]["numpy"] == np.__version__
    with pytest.raises(DeconvnetError, match="cannot be written"):
        write_json(tmp_path / "missing" / "record.json", {})
