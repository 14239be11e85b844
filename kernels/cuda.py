"""Compiles the CUDA kernels of this folder with CuPy and launches them, after checking every argument.

How to add a kernel
-------------------
1. Write ``<stem>.cu`` beside ``<stem>.py``. Kernels are ``extern "C" __global__ void name(...)``. Their parameters are
   scalars and pointers of the types in `SCALARS` below; REAL is ``float`` or ``double`` and COMPLEX ``float2`` or
   ``double2``, as the caller's arrays are. `PRELUDE` below (complex arithmetic, sums over a block) is pasted in front,
   and lines ``#include "other.cuh"`` are replaced by that file, because CuPy's cache on disk does not see included
   files. No other includes. Device functions that several kernels share, without a kernel among them, are a ``.cuh``.
2. Gather form: every thread owns its outputs, no atomics on floats, so that results are the same bits every time.
   Indices of elements are ``long long``; a grid has at most 65535 blocks along y and z, so let long axes run along x or
   loop with a stride of ``gridDim.y``; statically allocated shared memory of at most 48 KiB.
3. In ``<stem>.py`` write the launcher ``_cuda``: contiguous inputs, their shapes held to each other with `expect`,
   outputs from ``array_module(x).empty``, then `launch`. Numbers that the compiler should know (the side of a tile) go
   into `launch`'s ``constants``; both sides then have them from one place. It is the record's ``cuda`` body.
4. Add a case for the contract test (`tests.kernels.case`). Without a GPU the source is compiled by NVRTC, and executed
   on the CPU, through the same launcher, against the reference.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, cupy

__all__ = ["PRELUDE", "Parameter", "blocks", "expect", "launch", "options", "signatures", "source"]

FOLDER = Path(__file__).resolve().parent

#: C types that a kernel's parameters may have, by themselves or pointed to; REAL and COMPLEX depend on the call.
SCALARS = {
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "unsigned int": "uint32",
    "long long": "int64",
    "unsigned char": "uint8",
}

#: Pasted in front of every source.
PRELUDE = r"""
// Complex numbers are COMPLEX (float2 or double2) with the parts x and y.
__device__ inline COMPLEX complex_of(REAL re, REAL im) {
    COMPLEX z;
    z.x = re;
    z.y = im;
    return z;
}
__device__ inline COMPLEX add(COMPLEX a, COMPLEX b) { return complex_of(a.x + b.x, a.y + b.y); }
__device__ inline COMPLEX subtract(COMPLEX a, COMPLEX b) { return complex_of(a.x - b.x, a.y - b.y); }
__device__ inline COMPLEX scale(REAL s, COMPLEX a) { return complex_of(s * a.x, s * a.y); }
__device__ inline COMPLEX multiply(COMPLEX a, COMPLEX b) {
    return complex_of(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
// conj(a) b
__device__ inline COMPLEX multiply_conj(COMPLEX a, COMPLEX b) {
    return complex_of(a.x * b.x + a.y * b.y, a.x * b.y - a.y * b.x);
}
__device__ inline REAL square_abs(COMPLEX a) { return a.x * a.x + a.y * a.y; }

// Index of this thread along x over the whole grid.
#define THREAD_X ((long long)blockIdx.x * blockDim.x + threadIdx.x)

// Sum or maximum over the threads of a one-dimensional block whose size is a power of two, in the same order every
// time; all threads must call it and all get the result. `scratch` is shared memory for one value per thread.
template <class T> __device__ inline T block_sum(T value, T *scratch) {
    __syncthreads();  // the caller may still be reading the result of the call before
    scratch[threadIdx.x] = value;
    __syncthreads();
    for (unsigned int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
        __syncthreads();
    }
    return scratch[0];
}
template <class T> __device__ inline T block_max(T value, T *scratch) {
    __syncthreads();
    scratch[threadIdx.x] = value;
    __syncthreads();
    for (unsigned int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) scratch[threadIdx.x] = max(scratch[threadIdx.x], scratch[threadIdx.x + half]);
        __syncthreads();
    }
    return scratch[0];
}
"""

_KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)')
_INCLUDE = re.compile(r'^#include "(\w+\.cuh?)"\n', re.MULTILINE)
_LARGEST_GRID = (2**31 - 1, 65535, 65535)
_LARGEST_BLOCK = (1024, 1024, 64)


class Parameter(NamedTuple):
    """A parameter of a kernel: its name, its C type without ``*`` and ``const``, and how it is passed."""

    name: str
    type: str
    pointer: bool
    constant: bool

    def dtype(self, real: DTypeLike) -> np.dtype:
        """NumPy type of the scalar, or of the array's elements, for REAL = `real`."""
        if self.type == "REAL":
            return np.dtype(real)
        if self.type == "COMPLEX":
            return np.result_type(real, np.complex64)
        return np.dtype(SCALARS[self.type])


def _text(path):
    return _INCLUDE.sub(lambda match: _text(path.parent / match[1]), path.read_text(encoding="utf-8"))


@functools.cache
def source(stem: str) -> str:
    """What is compiled for ``<stem>.cu``: the prelude and the file, with the files that it includes."""
    return PRELUDE + _text(FOLDER / f"{stem}.cu")


@functools.cache
def signatures(stem: str) -> dict[str, list[Parameter]]:
    """Parameters of all kernels in ``<stem>.cu``: a dict of lists of `Parameter`, read from the source."""
    kernels = {}
    for name, text in _KERNEL.findall(_text(FOLDER / f"{stem}.cu")):
        kernels[name] = []
        for declaration in re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL).split(","):
            words = declaration.replace("__restrict__", " ").replace("*", " * ").split()
            kind = " ".join(w for w in words[:-1] if w not in ("const", "*"))
            if kind not in ("REAL", "COMPLEX", *SCALARS) or words.count("*") > 1:
                raise ValueError(f"{stem}.cu: {name} has a parameter that cannot be passed: {declaration.strip()}")
            kernels[name].append(Parameter(words[-1], kind, "*" in words, "const" in words))
    return kernels


def options(real: DTypeLike, constants: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Options of the compiler for REAL = `real` and a tuple of ``(name, whole number)``."""
    names = {"float32": ("float", "float2"), "float64": ("double", "double2")}[np.dtype(real).name]
    own = (f"-DREAL={names[0]}", f"-DCOMPLEX={names[1]}")
    return ("--std=c++17", *own, *(f"-D{name}={int(value)}" for name, value in constants))


def blocks(count: int, size: int) -> int:
    """Blocks of `size` threads that cover `count` elements."""
    return -(-int(count) // int(size))


def expect(**arrays: tuple[Array, Sequence[int]]) -> None:
    """Raise ValueError unless every ``name=(array, shape)`` has that shape: a kernel would read beyond the array."""
    for name, (array, shape) in arrays.items():
        if array.shape != tuple(shape):
            raise ValueError(f"{name} must have the shape {tuple(shape)}, not {array.shape}")


def _checked(where, parameter, value, real):
    """The argument as it may be passed: an array as it is, a number in exactly the type that the kernel declares."""
    dtype = parameter.dtype(real)
    if not parameter.pointer:
        if getattr(value, "ndim", 0) != 0:
            raise TypeError(f"{where}: {parameter.name} is a number, not an array")
        if dtype.kind in "iu" and not (int(value) == value and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max):
            raise TypeError(f"{where}: {parameter.name} = {value!r} does not fit into {parameter.type}")
        return dtype.type(value)
    if value is None:  # a null pointer, for outputs and inputs that a kernel can do without
        return None
    if getattr(value, "dtype", None) != dtype:
        raise TypeError(f"{where}: {parameter.name} must be an array of {dtype}, not {getattr(value, 'dtype', value)}")
    if not value.flags.c_contiguous:
        raise TypeError(f"{where}: {parameter.name} must be C-contiguous")
    return value


@functools.cache
def _kernel(stem, kernel, real, constants, device):
    """A kernel, compiled once for each device, REAL and set of constants."""
    return _module(stem, real, constants, device).get_function(kernel)


@functools.cache
def _module(stem, real, constants, device):
    return cupy.RawModule(code=source(stem), options=options(real, constants), backend="nvrtc")


def execute(
    stem: str,
    kernel: str,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arguments: list,
    real: np.dtype,
    constants: tuple[tuple[str, int], ...],
) -> None:
    """Run a kernel on the GPU that holds the arrays; the tests put a CPU in this place.

    Parameters
    ----------
    stem, kernel : str
    grid, block : tuple of 3 int
    arguments : list
        Arrays, NumPy scalars and None, checked by `launch`.
    real : numpy dtype
    constants : tuple of (str, int)
    """
    arrays = [a for a in arguments if getattr(a, "ndim", 0)]
    if not all(isinstance(a, cupy.ndarray) for a in arrays):
        raise TypeError(f"{stem}.cu: {kernel} takes arrays on the GPU")
    device = arrays[0].device
    if any(a.device != device for a in arrays):
        raise ValueError(f"{stem}.cu: the arrays of {kernel} lie on several GPUs")
    with device:
        function = _kernel(stem, kernel, real.name, constants, device.id)
        function(grid, block, tuple(np.uint64(0) if a is None else a for a in arguments))


def launch(
    stem: str,
    kernel: str,
    grid: int | tuple[int, ...],
    block: int | tuple[int, ...],
    arguments: Sequence,
    *,
    real: DTypeLike,
    constants: dict[str, int] | None = None,
) -> None:
    """Check the arguments against the kernel's declaration, give numbers their exact C type, and run it.

    Parameters
    ----------
    stem : str
        Room and name of the source, ``photo/fade`` for ``photo/fade.cu``.
    kernel : str
        Name of the kernel.
    grid, block : int or tuple of int
        Blocks, and threads in a block, along x, y, z. With no blocks at all nothing happens.
    arguments : sequence
        In the order of the declaration: contiguous arrays (or None for a null pointer) and numbers.
    real : numpy dtype
        float32 or float64: what REAL is.
    constants : dict of int, optional
        Macros for the compiler; every set of values is compiled on its own.

    Raises
    ------
    TypeError
        If an argument is missing, has another type than the declaration says, or is not contiguous.
    ValueError
        If grid or block are larger than CUDA allows.
    """
    real, where = np.dtype(real), f"{stem}.cu: {kernel}"
    if real not in (np.float32, np.float64):
        raise TypeError(f"{where} computes in float32 or float64, not {real}")
    grid, block = (
        (*map(int, n), 1, 1, 1)[:3] if isinstance(n, (tuple, list)) else (int(n), 1, 1) for n in (grid, block)
    )
    if any(n > largest for n, largest in zip(grid, _LARGEST_GRID)):
        raise ValueError(f"{where}: a grid of {grid} blocks is larger than {_LARGEST_GRID}")
    threads = block[0] * block[1] * block[2]
    if not 0 < threads <= 1024 or any(n > largest for n, largest in zip(block, _LARGEST_BLOCK)):
        raise ValueError(f"{where}: a block of {block} threads is not possible")
    parameters = signatures(stem)[kernel]
    if len(arguments) != len(parameters):
        raise TypeError(f"{where} takes {len(parameters)} arguments, not {len(arguments)}")
    checked = [_checked(where, p, a, real) for p, a in zip(parameters, arguments)]
    if min(grid) > 0:
        execute(stem, kernel, grid, block, checked, real, tuple(sorted((constants or {}).items())))
