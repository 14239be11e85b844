"""Runs the project's CUDA kernels on the CPU: compiles a source with g++ behind `cuda_shim.h`, calls it through ctypes.

Within ``with executed_on_the_cpu():`` the launchers take NumPy arrays. As a program, started by `sanitized`, it runs
the cases whose names it is given with sanitizers on: an access outside of an array, of shared memory or of one of its
rows, and an overflow of a signed number end the process.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from deconvnet.kernels import cuda

SHIM = Path(__file__).with_name("cuda_shim.h")
SANITIZED = "CUDA_ON_CPU_SANITIZED"  # environment variable of the processes that `sanitized` starts
FLAGS = ("-std=c++20", "-O1", "-shared", "-fPIC", "-w")
PRECISIONS = (("float", "float2"), ("double", "double2"))
if SANITIZED in os.environ:
    PRECISIONS = PRECISIONS[:1]  # its cases are float32, and half the text compiles in half the time
    CHECKS = "-fsanitize=address,bounds,signed-integer-overflow,float-cast-overflow"
    FLAGS = (*FLAGS, "-g", CHECKS, "-fno-sanitize-recover=all")
CACHE = Path(tempfile.gettempdir()) / f"deconvnet-cuda-on-cpu-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def compiler():
    """The C++ compiler, or None: this needs g++ or a clang++ that understands its options, on Linux."""
    return shutil.which("g++") if sys.platform == "linux" else None


def _entry(name, parameters):
    """C++ text of the function that ctypes calls: runs the kernel over a grid."""
    declared = ", ".join(f"{p.type} {'*' * p.pointer}{p.name}" for p in parameters)
    called = ", ".join(p.name for p in parameters)
    return f"""
extern "C" int ENTRY({name})(const unsigned int *shape, int falling, {declared}) {{
    auto body = [&] {{ {name}({called}); }};
    return cuda_shim::run(shape, falling, [](void *b) {{ (*static_cast<decltype(body) *>(b))(); }}, &body);
}}
"""


def translated(source, signatures):
    """C++ text with the precisions of a CUDA source: `name_float` and `name_double` for every kernel."""
    body = source.replace('extern "C" __global__', "__global__")
    entries = "".join(_entry(name, parameters) for name, parameters in signatures.items())
    parts = [f'#include "{SHIM}"\n']
    for real, pair in PRECISIONS:
        parts.append(
            f"#define REAL {real}\n#define COMPLEX {pair}\n#define ENTRY(name) name##_{real}\n"
            f"namespace real_{real} {{\n{body}\n{entries}\n}}\n#undef REAL\n#undef COMPLEX\n#undef ENTRY\n"
        )
        body = _without_macros(body)
    return "".join(parts)


def _without_macros(text):
    """The text with `#undef` before every `#define`, so that it can stand a second time in one file."""
    lines = []
    for line in text.splitlines():
        if line.startswith("#define "):
            lines.append(f"#undef {line.split()[1].split('(')[0]}")
        lines.append(line)
    return "\n".join(lines)


@functools.cache
def compiled(text, defines=()):
    """Shared library of a C++ text, from the cache if it was compiled before."""
    command = [compiler(), *FLAGS, *defines]
    digest = hashlib.sha256("\0".join([text, SHIM.read_text(), *command]).encode()).hexdigest()[:24]
    library = CACHE / f"{digest}.so"
    if not library.exists():
        CACHE.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            (Path(folder) / "kernels.cpp").write_text(text)
            environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
            run = subprocess.run(  # without the sanitizer in the compiler itself, which it slows down
                [*command, "kernels.cpp", "-o", "kernels.so"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            if run.returncode:
                raise RuntimeError(f"g++ refuses the kernels:\n{run.stderr}")
            os.replace(Path(folder) / "kernels.so", library)
    return ctypes.CDLL(str(library))


def run(library, kernel, grid, block, arguments, real, *, falling=False):
    """Run ``kernel`` of a compiled library; raises RuntimeError if its threads wait at different places."""
    function = library[f"{kernel}_{'float' if np.dtype(real) == np.float32 else 'double'}"]
    shape = (ctypes.c_uint * 6)(*grid, *block)
    passed = []
    for a in arguments:
        if a is None or a.ndim:
            passed.append(ctypes.c_void_p(None if a is None else a.ctypes.data))
        else:
            passed.append(np.ctypeslib.as_ctypes_type(a.dtype)(a.item()))
    if function(shape, ctypes.c_int(falling), *passed):
        raise RuntimeError(f"{kernel}: not all threads of a block reach the same __syncthreads()")


def _filled(shape, dtype=float, order="C"):
    """In the place of `numpy.empty`: NaNs, or large numbers, so that an output that is never written shows."""
    dtype = np.dtype(dtype)
    if dtype.kind in "fc":
        return np.full(shape, np.nan, dtype, order)
    return np.full(shape, np.iinfo(dtype).max if dtype.kind in "iu" else 1, dtype, order)


@contextlib.contextmanager
def executed_on_the_cpu(*, falling=False):
    """Within the block, launchers run their kernels here, on NumPy arrays.

    Parameters
    ----------
    falling : bool
        Run the threads of a block in falling order. A kernel without races gives the same bits either way.
    """

    def execute(stem, kernel, grid, block, arguments, real, constants):
        if not all(isinstance(a, (np.ndarray, np.generic, type(None))) for a in arguments):
            raise TypeError(f"{stem}.cu: {kernel} takes NumPy arrays here")
        defines = tuple(f"-D{name}={value}" for name, value in constants)
        library = compiled(translated(cuda.source(stem), cuda.signatures(stem)), defines)
        run(library, kernel, grid, block, arguments, real, falling=falling)

    originals = cuda.execute, np.empty, np.empty_like
    cuda.execute, np.empty = execute, _filled
    np.empty_like = lambda a, dtype=None, **_: _filled(a.shape, a.dtype if dtype is None else dtype)
    try:
        yield
    finally:
        cuda.execute, np.empty, np.empty_like = originals


@contextlib.contextmanager
def launches_recorded():
    """Within the block, kernels are not run; gives the set of ``(stem, kernel, constants)`` asked for."""
    asked, original = set(), cuda.execute
    cuda.execute = lambda stem, kernel, grid, block, arguments, real, constants: asked.add((stem, kernel, constants))
    try:
        yield asked
    finally:
        cuda.execute = original


def sanitizer():
    """Path of the compiler's address sanitizer, or None."""
    if compiler() is None:
        return None
    asked = subprocess.run([compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = Path(asked.stdout.strip())  # the bare name where there is none
    return path if path.is_absolute() else None


def sanitized(*command):
    """Run Python with these arguments in a process in which kernels are compiled with sanitizers.

    Returns
    -------
    subprocess.CompletedProcess
        With the text of both outputs.
    """
    environment = os.environ | {
        SANITIZED: "1",
        "LD_PRELOAD": str(sanitizer()),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, *command], env=environment, cwd=root, capture_output=True, text=True)


def main():
    """Run the CUDA sources of the cases named on the command line; all of them if none is."""
    from tests.kernels.case import all_cases, assert_contract

    for case in all_cases():
        if case.kernel.cuda and (not sys.argv[1:] or case.name in sys.argv[1:]):
            for size in case.sizes:
                with executed_on_the_cpu():
                    assert_contract(case, "cuda", np.float32, size, np.random.default_rng(20151))
            print(case.name, flush=True)


if __name__ == "__main__":
    main()
