"""Packaging. The folders `kernels/` and `train/` are installed as `deconvnet.kernels` and `deconvnet.train`: top-level
packages of such names in site-packages would collide with others."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = {}
exec((here / "deconvnet" / "_version.py").read_text(), version)

APP = ["nicegui>=3.0"]
HEIF = ["pillow-heif>=0.13"]
RAW = ["rawpy>=0.18"]
TILES = ["pillow>=11.2", "tifffile[zarr]>=2025.5.21; python_version >= '3.11'"]
DASK = ["dask[distributed]>=2024.1"]
MPI = ["mpi4py>=4.0", "mpich; platform_system != 'Windows'"]
NAPARI = ["napari>=0.5"]
DOCS = ["furo", "myst-parser>=2.0", "numpydoc>=1.6", "sphinx>=7.2", "sphinx-gallery>=0.17"]
TEST = [
    *APP,
    *DASK,
    *HEIF,
    *RAW,
    *TILES,
    "hypothesis>=6.90",
    "nvidia-cuda-nvrtc-cu12; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "playwright>=1.40",
    "pytest>=7.4",
    "pytest-xdist>=3.5",
    "ruff>=0.5",
    "setuptools>=70.1",
]

setup(
    name="deconvnet",
    version=version["__version__"],
    description="Learned blind deconvolution of photographs and hand-held bursts, with hand-written gradients",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the deconvnet developers",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    keywords=["blind deconvolution", "deblurring", "burst photography", "camera shake", "image restoration"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["deconvnet*"]),
        "deconvnet.train",
        "deconvnet.kernels",
        *(f"deconvnet.kernels.{room}" for room in find_packages("kernels")),
    ],
    package_dir={"deconvnet.kernels": "kernels", "deconvnet.train": "train"},
    package_data={
        "deconvnet": ["py.typed"],
        "deconvnet.app": ["*.css", "*.js", "*.svg"],
        "deconvnet.interop": ["napari.yaml"],
        "deconvnet.kernels": ["ahead.json", "*/*.cu", "*/*.cuh"],
        "deconvnet.weights": ["*.safetensors", "*.md"],
    },
    install_requires=[
        "imagecodecs>=2023.1.23",
        "matplotlib>=3.7",
        "numba>=0.59",
        "numpy>=1.26",
        "pillow>=10.1",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "scipy>=1.11",
        "threadpoolctl>=3.1",
        "tifffile>=2023.1",
        "tqdm>=4.65",
    ],
    extras_require={
        "cuda12": ["cupy-cuda12x"],
        "cuda13": ["cupy-cuda13x"],
        "app": APP,
        "heif": HEIF,
        "raw": RAW,
        "torch": ["torch"],
        "napari": NAPARI,
        "tiles": TILES,
        "dask": DASK,
        "mpi": MPI,
        "docs": DOCS,
        "test": TEST,
        "bench": ["torch"],
        "dev": [*TEST, *DOCS, "mypy>=1.10", "pre-commit>=3.5"],
    },
    entry_points={
        "console_scripts": ["deconvnet = deconvnet.__main__:run"],
        "napari.manifest": ["deconvnet = deconvnet.interop:napari.yaml"],
    },
)
