"""The command line: what it writes, and that every refusal is one line, status 2, and leaves nothing behind."""

import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve, gaussian_filter

import deconvnet.restore.burst.deblur
from deconvnet import __version__
from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image
from deconvnet.networks.io import build_network, save_network
from deconvnet.parallel import thread_count


@pytest.fixture
def shots(tmp_path):
    """A folder with three frames of 90×80 pixels, in colour; the second one is sharp."""
    sharp = skimage.data.astronaut()[60:140, 180:270].astype(np.float32) / 255
    folder = tmp_path / "shots"
    folder.mkdir()
    for number, psf in enumerate((np.full((7, 1, 1), 1 / 7), np.ones((1, 1, 1)), np.full((1, 7, 1), 1 / 7))):
        write_image(folder / f"{number}.png", convolve(sharp, psf.astype(np.float32)))
    return folder


@pytest.fixture
def refused(capsys, tmp_path):
    """Run, expect a refusal that left the folder as it was, and return its line."""

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        assert main([str(a) for a in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("deconvnet: ")
        assert all("is left out" in line for line in printed.err.splitlines()[:-1])
        assert sorted(tmp_path.rglob("*")) == before
        return printed.err

    return run


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "deconvnet", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_folder_of_shots_becomes_one_picture(shots, tmp_path):
    out = tmp_path / "sharp.png"
    run = _run("burst", shots, "-o", out, "--method", "fba", "--quiet", "--device", "cpu")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    picture, sharp = read_image(out).pixels, read_image(shots / "1.png").pixels
    assert picture.shape == sharp.shape
    assert np.mean((picture - sharp) ** 2) < 0.3 * np.mean((read_image(shots / "0.png").pixels - sharp) ** 2)


def test_bad_input_gives_one_line_and_no_traceback(shots, tmp_path):
    run = _run("burst", shots / "0.png", "-o", tmp_path / "a.png", "--method", "fba")
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("deconvnet: a burst needs at least two frames") and run.stderr.count("\n") == 1


def test_the_parser_is_light():
    code = "import sys, deconvnet.cli.main; print([m for m in ('numpy', 'numba', 'PIL', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_version_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"deconvnet {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["burst"], ["burst", "a", "-o", "b.png", "--register", "x"]])
def test_what_argparse_refuses_has_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and "usage" in capsys.readouterr().err


def test_the_number_of_threads_is_an_option(shots, tmp_path, monkeypatch, capsys):
    counts = []

    def count(*_, **__):
        counts.append(thread_count())
        return np.zeros((70, 70, 3))

    monkeypatch.setattr(deconvnet.restore.burst.deblur, "deblur_burst", count)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "5")
    base = ["burst", str(shots), "-o", str(tmp_path / "sharp.png"), "--method", "mean", "--quiet"]
    assert main([*base, "--threads", "3"]) == main(base) == 0
    assert counts == [3, 5]
    with pytest.raises(SystemExit):
        main([*base, "--threads", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_16_bits_when_asked(shots, tmp_path):
    out = tmp_path / "sharp.tif"
    assert main(["burst", str(shots), "-o", str(out), "--method", "mean", "--bits", "16", "--quiet"]) == 0
    assert read_image(out).bits == 16


def test_the_network_restores_and_draws_its_psfs(shots, tmp_path, rng):
    model = tmp_path / "model.safetensors"
    config = {"psf_size": 9, "widths": (8, 8, 8, 8, 8), "refinement_width": 8}
    save_network(model, build_network("quotient", config, rng=rng))
    out, drawn = tmp_path / "sharp.png", tmp_path / "psfs"
    arguments = ["burst", shots, "-o", out, "--model", model, "--psf-out", drawn, "--stride", 16, "--no-register"]
    assert main([*map(str, arguments), "--quiet", "--device", "cpu"]) == 0
    assert read_image(out).pixels.shape == (80, 90, 3)
    assert [f.name for f in sorted(drawn.iterdir())] == ["psf_01.png", "psf_02.png", "psf_03.png"]
    assert read_image(drawn / "psf_01.png").pixels.shape == (80, 90, 3)


def test_frames_that_cannot_be_used_are_refused(shots, tmp_path, refused):
    out = tmp_path / "sharp.png"
    base = ["-o", out, "--method", "fba", "--quiet"]
    assert "no file" in refused("burst", shots / "0.png", shots / "9.png", *base)
    assert "not both" in refused("burst", shots, shots / "0.png", *base)
    assert "only one" in refused("burst", shots / "0.png", *base)
    (tmp_path / "empty").mkdir()
    assert "no pictures" in refused("burst", tmp_path / "empty", *base)
    (shots / "text.png").write_text("no picture")
    assert "no picture in a format" in refused("burst", *shots.iterdir(), *base)
    write_image(shots / "text.png", np.zeros((70, 70, 3)))
    assert "two frames of one size" in refused("burst", shots / "0.png", shots / "text.png", *base[:-1], "--quiet")
    for name in "ab":
        write_image(tmp_path / f"empty/{name}.png", np.zeros((64, 70)))
    assert "at least 65" in refused("burst", tmp_path / "empty", *base)


def test_outputs_that_cannot_be_written_are_refused_before_the_work(shots, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(deconvnet.restore.burst.deblur, "deblur_burst", None)  # must not be reached
    base = ["burst", shots, "--method", "fba", "--quiet", "-o"]
    assert "must end in" in refused(*base, tmp_path / "sharp.xyz")
    assert "make it first" in refused(*base, tmp_path / "nowhere/sharp.png")
    assert "is one of the frames" in refused(*base, shots / "1.png")
    assert "cannot hold 16 bits" in refused(*base, tmp_path / "sharp.jpg", "--bits", 16)
    assert "leave --psf-out away" in refused(*base, tmp_path / "sharp.png", "--psf-out", tmp_path / "psfs")


def test_models_that_cannot_be_used_are_refused(shots, tmp_path, refused, rng):
    out = tmp_path / "sharp.png"
    assert "name a shipped one" in refused("burst", shots, "-o", out, "--model", "nothing")
    assert "no model" in refused("burst", shots, "-o", out, "--model", tmp_path / "model.safetensors")
    assert "cannot be read as a model" in refused("burst", shots, "-o", out, "--model", shots / "0.png")
    network = build_network("quotient", {"psf_size": 9, "widths": (8, 8, 8, 8, 8), "refinement_width": 8}, rng=rng)
    network.kind = "photo"
    save_network(tmp_path / "photo.safetensors", network)
    assert "for a photo" in refused("burst", shots, "-o", out, "--model", tmp_path / "photo.safetensors")


def test_a_model_is_inspected(shots, tmp_path, capsys, rng):
    model = tmp_path / "photo.safetensors"
    scale = {"psf_size": 5, "stages": 1, "filters": 3, "filter_size": 3, "hidden_layers": 1, "features": [2]}
    save_network(model, build_network("pyramid", {"scales": [scale]}, rng=rng))
    out = tmp_path / "drawn"
    assert main(["inspect", str(model), "-o", str(out)]) == 0
    assert main(["inspect", str(model), "-o", str(out), "--image", str(shots / "0.png")]) == 0
    assert main(["inspect", "burst", "-o", str(out)]) == 0
    assert {f.name for f in out.iterdir()} == {
        "filters_5px_stage_1.png",
        "maps_5px_stage_1.png",
        "psfs.png",
        "beta.png",
    }
    assert str(out / "psfs.png") in capsys.readouterr().out


def test_what_cannot_be_inspected_is_refused(shots, tmp_path, refused, rng):
    out = tmp_path / "drawn"
    assert "name a shipped one" in refused("inspect", "nothing", "-o", out)
    assert "is for bursts" in refused("inspect", "burst", "-o", out, "--image", shots / "0.png")
    compact = build_network("compact", {"frames": 2, "w1": 4, "w2": 4, "g": 4, "layers": 1}, rng=rng)
    save_network(tmp_path / "compact.safetensors", compact)
    assert "nothing to draw" in refused("inspect", tmp_path / "compact.safetensors", "-o", out)
    assert "there is no file" in refused("inspect", "burst", "-o", out, "--image", tmp_path / "none.png")
    assert "make it first" in refused("inspect", "burst", "-o", tmp_path / "nowhere" / "drawn")
    assert "cannot be made" in refused("inspect", "burst", "-o", shots / "0.png")


def test_missing_gpu_is_told(shots, tmp_path, refused):
    from deconvnet.backend import gpu_available

    if gpu_available():
        pytest.skip("there is a GPU")
    line = refused("burst", shots, "-o", tmp_path / "a.png", "--method", "fba", "--device", "cuda")
    assert "cuda" in line


def test_a_warning_is_one_line(shots, tmp_path, capsys, rng):
    write_image(shots / "stranger.png", gaussian_filter(rng.random((80, 90, 3)), (4, 4, 0)))
    assert main(["burst", str(shots), "-o", str(tmp_path / "a.png"), "--method", "mean", "--quiet"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith("deconvnet: frame 4 (stranger.png) is left out") and printed.count("\n") == 1


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (MemoryError, 2)])
def test_interruption_and_lack_of_memory_are_one_line(shots, tmp_path, capsys, monkeypatch, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(deconvnet.restore.burst.deblur, "deblur_burst", fail)
    out = tmp_path / "a.png"
    assert main(["burst", str(shots), "-o", str(out), "--method", "fba", "--quiet"]) == status
    assert capsys.readouterr().err.count("\n") == 1 and not out.exists()
