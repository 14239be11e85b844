"""The restoration tables as commands: what they measure, and what they refuse."""

import json

import numpy as np
import pytest
import skimage.data
from scipy.io import savemat

from bench.quality import main
from bench.scoring.burst_tables import grain
from bench.scoring.data import blurred_photographs, burst_folders, chosen_psfs, sharp_photographs
from bench.scoring.photo_tables import fitting_psf_size
from bench.scoring.protocol import aligned_score
from deconvnet import load_model
from deconvnet.blur.convolve import convolve
from deconvnet.blur.photographs import Photographs, split_photographs
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.io import read_image, write_image
from deconvnet.networks.io import save_network
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from deconvnet.restore.photo.deblur import deblur


@pytest.fixture(scope="module")
def photograph():
    return skimage.data.camera()[60:180, 180:310].astype(np.float32) / 255


@pytest.fixture(scope="module")
def photo_model(tmp_path_factory):
    """A photo network that has learned nothing."""
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    scales = [scale_config(size, stages=1, filters=4, filter_size=5) for size in (9, 13)]
    save_network(path, Pyramid(scales=scales, rng=np.random.default_rng(0)))
    return str(path)


def _results(path):
    return json.loads(path.read_text())["results"]


@pytest.mark.slow
def test_levin_compares_the_estimate_with_the_true_psf(tmp_path, photograph, photo_model, capsys):
    psf = sample_gp_psfs(np.random.default_rng(1), 1, 9)[0]
    blurry = np.pad(convolve(photograph, psf), 4, mode="edge")
    for name in ("im01_flit01", "im02_flit01", "im03_flit01"):
        savemat(tmp_path / f"{name}.mat", {"x": photograph, "y": blurry, "f": np.rot90(psf, 2)})
    out = tmp_path / "scores.json"
    command = [f"levin:{tmp_path}", "--limit", "2", "--photo-model", photo_model, "--psf-size", "true"]
    assert main([*command, "--json", str(out), "--pictures", str(tmp_path / "drawn"), "--peers"]) == 0
    (result,) = _results(out)
    first, second, mean = result["table"]
    assert [first["case"], second["case"], mean["case"]] == ["im01_flit01", "im02_flit01", "mean"]
    assert first["found"] == 9
    assert first["blurry"] == pytest.approx(aligned_score(blurry, photograph).psnr)
    assert first["true PSF"] == pytest.approx(aligned_score(deblur(blurry, psf=psf), photograph).psnr, abs=0.05)
    assert first["true PSF"] > first["blurry"] + 4
    assert first["error ratio"] == pytest.approx(10 ** ((first["true PSF"] - first["ours"]) / 10), rel=1e-6)
    assert first["Richardson-Lucy"] > first["blurry"] and first["Wiener"] > first["blurry"]
    assert result["share with error ratio up to 2"] == float(first["error ratio"] <= 2)
    assert (tmp_path / "drawn" / "levin" / "im02_flit01.png").is_file()
    assert "error ratio" in capsys.readouterr().out


def test_sun_blurs_photographs_and_keeps_cases_whatever_the_limit(photograph):
    photographs = {"a": photograph, "b": photograph.T.copy()}
    psfs = {"still": np.ones((1, 1), np.float32), **chosen_psfs(None, [7], None, 0)}
    cases = blurred_photographs(photographs, psfs, 0.01, seed=3)
    assert len(cases) == len({case.name for case in cases}) == 2 * len(psfs)
    assert [case.name for case in cases[:2]] == ["a, still", "b, 7 px, psf 1"]
    for case, again in zip(cases, blurred_photographs(photographs, psfs, 0.01, seed=3, limit=3)):
        np.testing.assert_array_equal(case.blurry, again.blurry)
    assert np.std(cases[0].blurry - cases[0].sharp) == pytest.approx(0.01, rel=0.1)
    assert cases[1].sharp.shape == cases[1].blurry.shape == (124, 114)


def test_unseen_photographs_are_those_that_training_leaves_out(tmp_path, photograph):
    for i in range(20):
        write_image(tmp_path / f"photo{i}.png", photograph)
    names = [f"photo{i}.png" for i in range(20)]
    _, unseen = split_photographs(Photographs(names, sorted(names)))
    found = sharp_photographs(tmp_path, unseen=True)
    assert list(found) == unseen.names
    assert list(sharp_photographs(tmp_path, unseen=True, limit=1, side=80)) == unseen.names[:1]
    assert sharp_photographs(tmp_path, limit=1, side=80)["photo0.png"].shape == (80, 80)
    with pytest.raises(DeconvnetError, match="at least 500 px"):
        sharp_photographs(tmp_path, least=500)


def test_the_size_that_fits_holds_the_psf():
    assert [fitting_psf_size([17, 25, 33], np.ones((n, 5)), False) for n in (3, 17, 19, 50)] == [17, 17, 25, 33]
    assert [fitting_psf_size([17, 25, 33], np.ones((n, 5)), True) for n in (9, 18, 50)] == [9, 19, 51]


@pytest.mark.slow
def test_burst_lifts_a_photograph_above_its_frames(tmp_path, photograph):
    write_image(tmp_path / "photo.png", photograph)
    out = tmp_path / "scores.json"
    command = [f"burst:{tmp_path}", "--frames", "2", "4", "--support", "7", "--size", "80", "--stride", "9"]
    assert main([*command, "--json", str(out), "--pictures", str(tmp_path / "drawn")]) == 0
    (result,) = _results(out)
    two, four = result["table"]
    assert (two["frames"], four["frames"], four["bursts"]) == (2, 4, 1)
    assert four["network"] > two["network"] > two["best frame"]
    assert four["above FBA"] == pytest.approx(four["network"] - four["FBA best p"])
    assert set(result["cases"][0]["FBA psnr"]) == {"3", "5", "7", "11", "15", "20", "30", "50"}
    record = json.loads(out.read_text())
    assert record["models"]["burst"]["training"]["steps"] == load_model("burst").training["steps"]
    drawn = [f"{what}_7px_{frames}.png" for what in ("gain", "photo") for frames in (2, 4)]
    assert sorted(f.name for f in (tmp_path / "drawn" / "burst").iterdir()) == drawn


@pytest.mark.slow
def test_real_bursts_are_drawn_beside_what_others_made(tmp_path, rng, photograph):
    burst = tmp_path / "bursts" / "one"
    burst.mkdir(parents=True)
    psfs = sample_gp_psfs(rng, 3, 5)
    for i, psf in enumerate(psfs):
        frame = np.pad(convolve(photograph, psf), 2, mode="edge")
        write_image(burst / f"frame{i}.png", np.repeat(frame[..., None], 3, axis=-1))
    write_image(burst / "tripod.png", photograph)
    write_image(burst / "theirs.png", np.full((40, 40), 0.5))  # of another size: named, not drawn
    out = tmp_path / "scores.json"
    command = [f"real-burst:{tmp_path / 'bursts'}", "--reference", "tripod.png", "--beside", "theirs.png"]
    assert main([*command, "--stride", "9", "--json", str(out), "--pictures", str(tmp_path / "drawn")]) == 0
    (result,) = _results(out)
    rows = {row["picture"]: row for row in result["table"]}
    assert list(rows) == ["typical frame", "mean", "FBA p=11", "network", "theirs.png"]
    assert all(row["frames"] == 3 for row in rows.values())
    assert rows["mean"]["sharpness"] == 1
    assert rows["network"]["dB"] > rows["mean"]["dB"]
    assert "dB" not in rows["theirs.png"]
    whole = read_image(tmp_path / "drawn" / "real-burst" / "one_network.png").pixels
    assert whole.shape == (*photograph.shape, 3)
    assert burst_folders(burst) == [burst] == burst_folders(tmp_path / "bursts")


def test_grain_is_the_noise_of_flat_parts(rng):
    clean = np.tile(np.linspace(0.2, 0.8, 128), (128, 1))
    clean[40:90, 40:90] += 0.1 * np.sign(np.sin(np.arange(50)))
    noise = rng.standard_normal(clean.shape)
    assert grain(clean + 0.02 * noise, clean) == pytest.approx(0.02, rel=0.1)
    assert grain(clean, clean) < 1e-6


@pytest.mark.slow
def test_pairs_tell_what_is_gained(tmp_path, photograph, photo_model):
    for name, picture in (("blurry", np.clip(photograph * 0.9, 0, 1)), ("sharp", photograph)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "one.png", picture)
        write_image(tmp_path / name / f"only_{name}.png", picture)
    out = tmp_path / "scores.json"
    sets = f"pairs:{tmp_path / 'blurry'}:{tmp_path / 'sharp'}"
    assert main([sets, "--photo-model", photo_model, "--psf-size", "9", "--json", str(out)]) == 0
    (result,) = _results(out)
    row, mean = result["table"]
    assert (row["pair"], mean["pair"], result["pairs"]) == ("one", "mean", 1)
    assert row["above blurry"] == pytest.approx(row["ours"] - row["blurry"])
    assert result["worse than the blurry input"] == int(row["above blurry"] < 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["levin:{here}"], "no .mat files"),
        (["burst:{here}"], "no photographs"),
        (["real-burst:{here}"], "no pictures"),
        (["pairs:{here}:{here}"], "no pictures"),
        (["sun", "--photo-model", "missing.safetensors"], "there is no model missing.safetensors"),
        (["sun", "--psf-size", "11", "--no-refine"], "use 9, 13"),
        (["burst", "--burst-model", "{model}"], "a burst needs one of its own kind"),
        (["burst", "--json", "{here}/missing/scores.json"], "there is no folder"),
        (["burst", "--shake", "{here}/missing.txt"], "no recorded shake"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(tmp_path, photo_model, capsys, arguments, message):
    arguments = [a.format(here=tmp_path, model=photo_model) for a in arguments]
    if "--photo-model" not in arguments:
        arguments += ["--photo-model", photo_model]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("quality: ") and "\n" not in error


@pytest.mark.parametrize("text", ["kohler:.", "levin", "pairs:.", "burst:a:b", "levin:/not/there", "levin:"])
def test_a_set_that_is_no_set_is_refused(text, capsys):
    with pytest.raises(SystemExit) as refusal:
        main([text])
    assert refusal.value.code == 2
    assert text.partition(":")[0] in capsys.readouterr().err.splitlines()[-1]
