"""Compiled functions are kept on disk, never stale, and do without a disk."""

import ast
import os
import subprocess
import sys

import pytest

from deconvnet.kernels import compiled

USE = """
import numpy as np
from deconvnet.kernels.photo import fade
out = fade.fade_pad(np.ones((1, 3, 4), np.float32), np.ones(3, np.float32), np.ones(4, np.float32), (4, 4))
assert out.sum() == 12
print(sum(fade._fade_pad.stats.cache_hits.values()), sum(fade._fade_pad.stats.cache_misses.values()))
"""


def _run(**environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    done = subprocess.run([sys.executable, "-c", USE], env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_a_second_process_loads_what_the_first_one_compiled(tmp_path):
    assert _run(XDG_CACHE_HOME=str(tmp_path)).stdout.split() == ["0", "1"]
    done = _run(XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["1", "0"] and not done.stderr
    assert [path.name.partition("-")[0] for path in (tmp_path / "deconvnet" / "kernels").iterdir()] == ["fade"]


def test_without_a_writable_folder_everything_works_with_one_line_of_warning():
    done = _run(HOME="/proc/none")
    assert done.stdout.split()[0] == "0"
    assert done.stderr.count("kernels are compiled anew every time") == 1
    assert done.stderr.count("Warning") == 1


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of sources in which `top` imports `middle`, and that `low`."""
    monkeypatch.setattr(compiled, "SOURCES", tmp_path / "kernels")
    for name, text in {
        "top": "from deconvnet.kernels.room import (\n    middle,\n)",
        "middle": "from deconvnet.kernels.room.low import f",
        "low": "f = 1",
        "other": "g = 1",
    }.items():
        path = tmp_path / "kernels" / "room" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield path.parent
    _forget()


def _forget():
    for function in (compiled.digest, compiled.imported, compiled._content):
        function.cache_clear()


def test_the_digest_follows_whatever_a_source_imports_from(sources):
    _forget()
    before = compiled.digest(sources / "top.py")
    for name, differs in (("other", False), ("low", True)):
        (sources / f"{name}.py").write_text("f = 2")
        _forget()
        assert (compiled.digest(sources / "top.py") != before) == differs


def test_imports_are_found_as_python_finds_them():
    for path in compiled.SOURCES.rglob("*.py"):
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        files = {
            compiled.SOURCES.joinpath(*n.split(".")[2:]).with_suffix(".py")
            for n in found
            if n.startswith("deconvnet.kernels.")
        }
        assert set(compiled.imported(path)) == {file for file in files if file.exists()}, path


def test_processes_that_compile_for_different_types_do_not_mix_them_up(tmp_path):
    """Both have looked at the empty folder before either has written: numba's own index names one file twice."""
    code = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from deconvnet.kernels import compiled\n"
        "from deconvnet.kernels.photo import fade\n"
        "cache, here = fade._fade_crop._cache, Path(sys.argv[2])\n"
        "save = cache._cache_file._save_data\n"
        "def late(name, data):\n"
        "    (here / sys.argv[1]).touch()\n"
        "    while len(list(here.glob('float*'))) < 2: time.sleep(0.01)\n"
        "    save(name, data)\n"
        "cache._cache_file._save_data = late\n"
        "fade.fade_crop(np.ones((1, 5, 5), sys.argv[1]), np.ones(3, sys.argv[1]), np.ones(4, sys.argv[1]))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    started = [
        subprocess.Popen([sys.executable, "-c", code, kind, str(tmp_path)], env=environment)
        for kind in ("float32", "float64")
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    files = list((tmp_path / "cache").rglob("*_fade_crop*.nbc"))
    assert len(files) == 2, "one for each type"


@pytest.mark.slow
def test_what_is_on_disk_can_be_compiled_into_another_function(tmp_path):
    use = """
import sys
import numpy as np
from deconvnet.kernels.simd import strip_images
plan, image = strip_images.strip_plan((8, 12), "float64"), np.random.default_rng(0).random((8, 12))
spectrum = strip_images.forward(image, plan, scale=1 / image.size)
if "back" in sys.argv:
    np.testing.assert_allclose(strip_images.inverse(spectrum, plan), image)
stats = strip_images.column_memory.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
    for arguments, expected in (([], "0 1"), (["back"], "1 0")):
        run = [sys.executable, "-c", use, *arguments]
        done = subprocess.run(run, env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == expected.split()
