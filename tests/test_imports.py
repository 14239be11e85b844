"""The arrows between the rooms: imports point one way, and `import deconvnet` stays light."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: What each room may import from the project besides itself. The files at the top of the package are rooms too.
BASE = {"backend", "errors", "files", "parallel", "progress", "_version"}
NETWORKS = BASE | {"kernels", "ops", "layers", "networks", "weights"}
RESTORE = NETWORKS | {"blur", "restore", "colour", "metrics", "io"}
ALLOWED = {
    "_version": set(),
    "errors": set(),
    "files": {"errors", "_version"},
    "weights": {"errors"},
    "backend": {"errors", "parallel"},
    "parallel": {"errors"},
    "progress": set(),
    "colour": BASE,
    "metrics": BASE,
    "io": BASE,
    "testing": BASE | {"layers"},
    "kernels": BASE,
    "ops": BASE | {"kernels"},
    "layers": BASE | {"kernels", "ops"},
    "blur": BASE | {"kernels", "ops", "io", "colour"},
    "networks": NETWORKS,
    "restore": RESTORE,
    "inspect": RESTORE,
    "interface": RESTORE,
    "work": RESTORE | {"inspect"},
    "cli": RESTORE | {"inspect", "work", "app"},
    "app": RESTORE | {"work"},
    "interop": RESTORE,  # which no room may import
    "__init__": {*RESTORE, "kernels", "interface"},
    "__main__": {"cli"},
}
PACKAGE = sorted([*(ROOT / "deconvnet").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")])


def _imports(path):
    """Dotted names of all modules that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if path.parent == ROOT / "train":  # which is a package of its own in a clone, and installed another's
                assert node.level <= 1
                yield f"train.{node.module}" if node.level else node.module
                continue
            assert node.level == 0, f"{path}: imports are absolute here"
            if node.module in ("deconvnet", "deconvnet.kernels"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _room(path):
    """Room of a file: the folder below ``deconvnet`` that it lies in, or its own name at the top."""
    inside = path.relative_to(ROOT).parts
    if inside[0] == "kernels":
        return "kernels"
    return inside[1].removesuffix(".py")


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    room = _room(path)
    for name in _imports(path):
        top, _, rest = name.partition(".")
        assert top not in ("train", "bench", "tests", "kernels"), f"{path.name} imports {name}"
        other = rest.split(".")[0]
        if top == "deconvnet" and (ROOT / "deconvnet" / other).exists() | (ROOT / "deconvnet" / f"{other}.py").exists():
            assert other == room or other in ALLOWED[room], f"{room}: {path.name} imports {name}"


def test_primitives_stand_below_the_kernels():
    for path in (ROOT / "kernels" / "simd").rglob("*.py"):
        inner = [name.split(".")[2] for name in _imports(path) if name.startswith("deconvnet.kernels.")]
        assert set(inner) <= {"simd", "kernel", "compiled"}, path.name


def test_only_the_primitives_use_the_extension_interface_of_numba():
    for path in PACKAGE:
        if path.parent.name != "simd":
            assert not any(name.startswith(("llvmlite", "numba.extending")) for name in _imports(path)), path.name


def test_training_imports_nothing_of_the_benchmarks():
    for path in (ROOT / "train").rglob("*.py"):
        assert not any(name.split(".")[0] in ("bench", "tests") for name in _imports(path)), path.name


def test_only_peers_import_torch():
    for path in (ROOT / "bench").rglob("*.py"):
        if path.parent.name != "peers":
            assert not any(name.split(".")[0] == "torch" for name in _imports(path)), path.name


def test_only_the_backend_knows_cupy():
    for path in PACKAGE:
        if path.name != "backend.py":
            assert not any(name.split(".")[0] in ("cupy", "cupyx") for name in _imports(path)), path.name


def test_importing_the_package_loads_nothing_heavy():
    heavy = "numba skimage matplotlib imageio cupy torch scipy"
    code = f"import sys, deconvnet; print([m for m in {heavy!r}.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_without_torch_the_bridge_names_its_extra():
    code = "import sys; sys.modules['torch'] = None; import deconvnet.interop.torch"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    last = found.stderr.splitlines()[-1]
    assert last.endswith("DeconvnetError: deconvnet.interop.torch needs PyTorch: pip install 'deconvnet[torch]'")


def test_importing_changes_no_environment_variable():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(ROOT.glob("deconvnet/**/*.py"))
    ]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    if importlib.util.find_spec("nicegui") is None:
        modules = [name for name in modules if not name.startswith("deconvnet.app.")]
    if importlib.util.find_spec("torch") is None:
        modules = [name for name in modules if name != "deconvnet.interop.torch"]
    code = f"import importlib, os; before = dict(os.environ)\nfor m in {modules}: importlib.import_module(m)"
    code += "\nprint({k: v for k, v in os.environ.items() if before.get(k) != v}, set(before) - set(os.environ))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "{} set()"


def test_no_autodiff_framework_outside_bench_and_the_bridge():
    for path in [*PACKAGE, *(ROOT / "train").rglob("*.py")]:
        if path.parent != ROOT / "deconvnet" / "interop":
            assert not any(name.split(".")[0] in ("torch", "jax", "tensorflow") for name in _imports(path)), path
