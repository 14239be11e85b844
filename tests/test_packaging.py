"""A built wheel holds everything and runs away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # builds a wheel
ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".css", ".cu", ".cuh", ".js", ".json", ".py", ".safetensors", ".svg", ".yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    # A copy of what git tracks, so that nothing is built inside the checkout.
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(out),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_data_file(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (("deconvnet", "deconvnet"), ("kernels", "deconvnet/kernels"), ("train", "deconvnet/train")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SUFFIXES and "started" not in path.parts:
                name = f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
                tracked = subprocess.run(["git", "ls-files", "--error-unmatch", path], cwd=ROOT, capture_output=True)
                assert tracked.returncode != 0 or name in inside, name
    assert not any("started" in name for name in inside)  # what training goes on from is of the checkout only
    assert not any(name.startswith(("kernels/", "train/", "bench/", "tests/")) for name in inside)


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    code = (
        "import numpy, deconvnet; from deconvnet.layers.quotient import quotient; "
        "print(deconvnet.__file__); quotient(numpy.ones((1, 1, 4, 4)), numpy.ones((1, 1, 4, 4)), 1.0)"
    )
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    found = subprocess.run([sys.executable, "-c", code], **options)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(str(site))
    version = subprocess.run([sys.executable, "-m", "deconvnet", "--version"], **options)
    assert version.stdout.startswith("deconvnet ")
    training = subprocess.run([sys.executable, "-m", "deconvnet", "train", "burst", "--help"], **options)
    assert training.stdout.startswith("usage: deconvnet train burst")
