"""The subcommand ``info`` of the command line: what is installed, and what the package will use."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from typing import Any

from deconvnet._version import __version__
from deconvnet.cli.options import Subparsers, add_json
from deconvnet.errors import print_out

__all__ = ["add_info"]

LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "pillow",
    "tifffile",
    "imagecodecs",
    "scikit-image",
    "safetensors",
    "matplotlib",
)
#: What tells that an extra is installed, by the extras' names.
EXTRAS = {
    "cuda12": "cupy-cuda12x",
    "cuda13": "cupy-cuda13x",
    "app": "nicegui",
    "heif": "pillow-heif",
    "raw": "rawpy",
    "torch": "torch",
    "tiles": "zarr",
    "dask": "distributed",
    "mpi": "mpi4py",
    "napari": "napari",
    "docs": "sphinx",
    "test": "pytest",
    "dev": "mypy",
}


def add_info(commands: Subparsers) -> None:
    """Add the subcommand ``info`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser("info", help="versions, device, threads, extras, compiled kernels")
    add_json(parser)
    parser.set_defaults(run=_info)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compiled() -> dict[str, Any]:
    from deconvnet.kernels.compiled import cache_folder

    folder = cache_folder()
    files = [] if folder is None else list(folder.rglob("*.nbc"))
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return {"folder": folder and str(folder), "functions": len(files), "megabytes": round(megabytes, 1)}


def _gathered() -> dict[str, Any]:
    import scipy.linalg  # noqa: F401  its BLAS must be loaded to be found
    from threadpoolctl import threadpool_info

    from deconvnet.backend import gpu_available
    from deconvnet.parallel import thread_count
    from deconvnet.weights import shipped_models

    blas = {
        f"{library['internal_api']} {library['version'] or ''}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return {
        "deconvnet": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "executable": sys.executable,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "extras": {name: _version(package) for name, package in EXTRAS.items()},
        "device": "cuda" if gpu_available() else "cpu",
        "threads": thread_count(),
        "blas": sorted(blas),
        "compiled": _compiled(),
        "models": sorted(shipped_models()),
    }


def _info(options: argparse.Namespace) -> None:
    from deconvnet.cli.running import as_json

    found = _gathered()
    if options.json:
        print_out(as_json(found))
        return
    compiled = found["compiled"]
    lines = {
        "deconvnet": f"{found['deconvnet']}, Python {found['python']} ({found['executable']})",
        "system": found["system"],
        "libraries": ", ".join(f"{name} {version or 'missing'}" for name, version in found["libraries"].items()),
        "extras": ", ".join(f"{name} {version or 'not installed'}" for name, version in found["extras"].items()),
        "device": f"{found['device']}, {found['threads']} threads",
        "BLAS": ", ".join(found["blas"]),
        "compiled": f"{compiled['functions']} functions, {compiled['megabytes']} MB in {compiled['folder']}",
        "models": ", ".join(found["models"]),
    }
    print_out("\n".join(f"{name:10s} {text}" for name, text in lines.items()))
