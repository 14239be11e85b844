"""The arrows between the rooms: imports point one way, and `import deconvnet` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What each room may import from the project, besides itself and the plain modules at the top.
BASE = {"deconvnet.backend", "deconvnet.errors", "deconvnet.files", "deconvnet.weights", "deconvnet._version"}
ALLOWED = {
    "kernels": {"deconvnet.kernels"},
    "deconvnet/layers": {"deconvnet.kernels", "deconvnet.layers"},
    "deconvnet/blur": {"deconvnet.kernels", "deconvnet.blur", "deconvnet.io"},
    "deconvnet/networks": {"deconvnet.kernels", "deconvnet.layers", "deconvnet.networks"},
    "deconvnet/restore": {
        "deconvnet.kernels",
        "deconvnet.layers",
        "deconvnet.networks",
        "deconvnet.restore",
        "deconvnet.blur",
        "deconvnet.io",
    },
}
FILES = [(room, path) for room in ALLOWED for path in sorted((ROOT / room).glob("*.py"))]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(("room", "path"), FILES, ids=lambda v: getattr(v, "name", v))
def test_imports_point_one_way(room, path):
    for name in _imports(path):
        top = name.split(".")[0]
        assert top not in ("train", "bench", "tests", "kernels"), f"{path.name} imports {name}"
        if top == "deconvnet" and name not in BASE:
            assert ".".join(name.split(".")[:2]) in ALLOWED[room], f"{path.name} imports {name}"


def test_only_the_backend_knows_cupy():
    for _, path in FILES:
        assert not any(name.split(".")[0] in ("cupy", "cupyx") for name in _imports(path)), path.name


def test_importing_the_package_loads_nothing_heavy():
    heavy = "numba skimage matplotlib imageio cupy torch scipy"
    code = f"import sys, deconvnet; print([m for m in {heavy!r}.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_no_autodiff_framework_outside_bench():
    for folder in ("deconvnet", "kernels", "train"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not any(name.split(".")[0] in ("torch", "jax", "tensorflow") for name in _imports(path)), path
