"""CUDA without a GPU: all sources compile, no access leaves an array, and the launcher and the shim see mistakes.

That the kernels compute the right thing is in the contract test.
"""

import contextlib
import functools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from deconvnet.kernels import cuda
from deconvnet.kernels.photo import filter_bank, masked_deconvolution
from deconvnet.kernels.photo.psf_grid import projected_gradient
from deconvnet.kernels.photo.quotient import quotient_spectrum
from tests.kernels import nvrtc
from tests.kernels.case import all_cases, assert_contract, copies
from tests.kernels.cuda_on_cpu import (
    compiled,
    compiler,
    executed_on_the_cpu,
    launches_recorded,
    run,
    sanitized,
    sanitizer,
    translated,
)

STEMS = sorted(path.relative_to(cuda.FOLDER).with_suffix("").as_posix() for path in cuda.FOLDER.rglob("*.cu"))
CASES = [case for case in all_cases() if case.kernel.cuda]
needs_compiler = pytest.mark.skipif(compiler() is None, reason="executing CUDA sources on the CPU needs g++ on Linux")
needs_sanitizer = pytest.mark.skipif(sanitizer() is None, reason="needs g++ with its address sanitizer (libasan)")
needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="no libnvrtc: pip install nvidia-cuda-nvrtc-cu12 (part of the extra 'test')"
)


@functools.cache
def _launches():
    """Every ``(stem, kernel, constants)`` that the cases ask for."""
    with launches_recorded() as asked:
        for case in CASES:
            for size in case.sizes:
                arguments = copies(case.arguments(np.random.default_rng(0), np.float32, size))
                with contextlib.suppress(RuntimeError):  # a launcher that finds that its kernel has failed
                    case.run("cuda", arguments)
    return asked


@needs_nvrtc
@pytest.mark.parametrize(
    ("capability", "real"),
    [
        (80, "float32"),
        *(
            pytest.param(*other, marks=pytest.mark.slow)
            for other in ((70, "float32"), (90, "float32"), (80, "float64"))
        ),
    ],
)
@pytest.mark.parametrize("stem", STEMS)
def test_source_compiles_for_every_gpu(stem, capability, real):
    if capability not in nvrtc.architectures():
        pytest.skip(f"this compiler no longer knows sm_{capability}")
    for constants in {c for s, _, c in _launches() if s == stem} or {()}:
        options = [*cuda.options(real, constants), f"--gpu-architecture=sm_{capability}"]
        code, assembly = nvrtc.compile_cuda(cuda.source(stem), options)
        assert code and all(f".entry {name}(" in assembly for name in cuda.signatures(stem))
        if real == "float32" and "double" not in cuda.source(stem).removeprefix(cuda.PRELUDE):
            assert ".f64" not in assembly, "a literal without REAL() makes a float kernel compute in double"


@needs_nvrtc
def test_too_much_shared_memory_does_not_compile():
    source = "__global__ void f(float *x) { __shared__ float a[12289]; a[threadIdx.x] = *x; *x = a[5]; }"
    with pytest.raises(RuntimeError, match="too much shared data"):
        nvrtc.compile_cuda(source, ["--gpu-architecture=sm_80"])


def test_every_kernel_is_launched_by_a_case():
    declared = {(stem, kernel) for stem in STEMS for kernel in cuda.signatures(stem)}
    assert declared == {(stem, kernel) for stem, kernel, _ in _launches()}
    for stem in STEMS:
        kernels = len(re.findall(r"^\s*(extern \"C\" )?__global__", cuda.source(stem), re.MULTILINE))
        assert kernels == len(cuda.signatures(stem)), f"{stem}.cu declares a kernel in another form"


@pytest.mark.slow
@needs_sanitizer
@pytest.mark.parametrize("part", range(4))
def test_no_kernel_accesses_memory_outside_of_its_arrays(part):
    names = [case.name for case in CASES[part::4]]
    done = sanitized("-m", "tests.kernels.cuda_on_cpu", *names)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == names


BEYOND = """
import numpy as np
from tests.kernels.cuda_on_cpu import compiled, run, translated
from deconvnet.kernels.cuda import Parameter
source = 'extern "C" __global__ void fill(REAL *x, int n) { if (threadIdx.x < n) x[threadIdx.x] = 1; }'
parameters = [Parameter("x", "REAL", True, False), Parameter("n", "int", False, False)]
library = compiled(translated(source, {"fill": parameters}))
run(library, "fill", (1, 1, 1), (32, 1, 1), [np.zeros(20, np.float32), np.int32(%d)], np.float32)
print("survived")
"""


@needs_sanitizer
@pytest.mark.parametrize(("written", "status"), [(20, "survived"), (21, "heap-buffer-overflow")])
def test_the_sanitizer_sees_a_write_beyond_the_end(written, status):
    done = sanitized("-c", BEYOND % written)
    assert status in (done.stdout if written == 20 else done.stderr), done.stderr[-2000:]
    assert (done.returncode == 0) == (written == 20)


REVERSE = r"""
extern "C" __global__ void reverse(const REAL *x, REAL *y) {
    __shared__ REAL a[64];
    a[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = a[63 - threadIdx.x];
}
"""


def _reversed_by(source, falling):
    parameters = [cuda.Parameter("x", "REAL", True, True), cuda.Parameter("y", "REAL", True, False)]
    library = compiled(translated(source, {"reverse": parameters}))
    x, y = np.arange(64, dtype=np.float64), np.empty(64)
    run(library, "reverse", (1, 1, 1), (64, 1, 1), [x, y], np.float64, falling=falling)
    return np.array_equal(y, x[::-1])


@needs_compiler
def test_the_shim_sees_a_deleted_barrier():
    assert _reversed_by(REVERSE, False) and _reversed_by(REVERSE, True)
    without = REVERSE.replace("    __syncthreads();\n", "")
    assert not _reversed_by(without, False) and not _reversed_by(without, True)


@needs_compiler
@pytest.mark.parametrize(
    "wrong",
    ["if (threadIdx.x < 5) __syncthreads();", "if (threadIdx.x < 5) return;\n    __syncthreads();"],
    ids=["barrier in a branch", "thread that ends before"],
)
def test_the_shim_refuses_a_barrier_that_not_all_threads_reach(wrong):
    with pytest.raises(RuntimeError, match="same __syncthreads"):
        _reversed_by(REVERSE.replace("__syncthreads();", wrong), False)


@needs_compiler
def test_sums_over_more_blocks_than_a_block_has_threads(monkeypatch):
    monkeypatch.setattr(masked_deconvolution, "THREADS", 16)
    monkeypatch.setattr(masked_deconvolution, "EACH", 2)
    case = next(case for case in CASES if case.name == "masked_deconvolution")
    with executed_on_the_cpu():
        assert_contract(case, "cuda", np.float64, (45, 30), np.random.default_rng(20151))  # 720 frequencies, 23 blocks


def test_psfs_too_large_for_a_block_are_left_to_array_code():
    case = next(case for case in CASES if case.name == "projected_gradient")
    for side, real in ((111, np.float32), (79, np.float64)):
        arguments = case.arguments(np.random.default_rng(0), real, (1, side))
        with launches_recorded() as asked:
            found = projected_gradient.cuda(*arguments)
        assert not asked and np.array_equal(found, projected_gradient.reference(*arguments))


@needs_compiler
@pytest.mark.parametrize("name", ["filter_bank", "filter_bank_backward"])
def test_blocks_that_take_several_rows(monkeypatch, name):
    monkeypatch.setattr(filter_bank, "_tiles", lambda _, width, filters: (cuda.blocks(width, 32), 3, 2))
    case = next(case for case in CASES if case.name == name)
    with executed_on_the_cpu():
        assert_contract(case, "cuda", np.float64, (2, 1, 9, 40, 3, 33), np.random.default_rng(20151))


def _quotient_arguments():
    x_hat = np.zeros((2, 3, 40), np.complex64)
    return [x_hat, x_hat, np.ones((1, 40), np.float32), 2, 3, 40, 1, x_hat[:, 0].copy(), np.ones((2, 40), np.float32)]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.zeros((2, 3, 40), np.complex128), "x_hat must be an array of complex64"),
        (1, np.zeros((2, 3, 80), np.complex64)[:, :, ::2], "y_hat must be C-contiguous"),
        (2, 1.0, "beta must be an array of float32"),
        (3, 2.5, "batch = 2.5 does not fit into long long"),
        (4, 2**63, "pairs = 9223372036854775808 does not fit into long long"),
        (5, np.ones(3), "size is a number, not an array"),
    ],
)
def test_launch_refuses_arguments_of_the_wrong_type(position, value, message):
    arguments = _quotient_arguments()
    arguments[position] = value
    with pytest.raises(TypeError, match=message):
        cuda.launch("photo/quotient", "quotient_spectrum", 1, 64, arguments, real=np.float32)


def test_launch_refuses_a_missing_argument_and_impossible_grids():
    arguments = _quotient_arguments()
    with pytest.raises(TypeError, match="takes 9 arguments, not 8"):
        cuda.launch("photo/quotient", "quotient_spectrum", 1, 64, arguments[:-1], real=np.float32)
    with pytest.raises(ValueError, match="larger than"):
        cuda.launch("photo/quotient", "quotient_spectrum", (1, 65536), 64, arguments, real=np.float32)
    with pytest.raises(ValueError, match="a block of"):
        cuda.launch("photo/quotient", "quotient_spectrum", 1, (64, 32), arguments, real=np.float32)
    with pytest.raises(TypeError, match="not float16"):
        cuda.launch("photo/quotient", "quotient_spectrum", 1, 64, arguments, real=np.float16)


def test_launch_gives_numbers_the_declared_type_and_skips_empty_grids(monkeypatch):
    seen = []
    monkeypatch.setattr(cuda, "execute", lambda *call: seen.append(call))
    cuda.launch("photo/quotient", "quotient_spectrum", 0, 64, _quotient_arguments(), real=np.float32)
    assert not seen
    cuda.launch(
        "photo/quotient",
        "quotient_spectrum",
        (3, 2),
        64,
        _quotient_arguments(),
        real=np.float32,
        constants={"B": 2, "A": 1},
    )
    stem, kernel, grid, block, arguments, real, constants = seen[0]
    assert (stem, kernel, grid, block) == ("photo/quotient", "quotient_spectrum", (3, 2, 1), (64, 1, 1))
    assert [type(a) for a in arguments[3:7]] == [np.int64] * 4
    assert real == np.float32 and constants == (("A", 1), ("B", 2))


class _OnGpu(np.ndarray):
    """Stands for a CuPy array."""

    device = contextlib.nullcontext()
    device.id = 0


class _RawModule:
    """Stands for CuPy's: compiles nothing and notes what it is asked for."""

    compiled, calls = [], []

    def __init__(self, *, code, options, backend):
        self.compiled.append((code, options, backend))

    def get_function(self, name):
        return lambda grid, block, arguments: self.calls.append((name, grid, block, arguments))


def test_kernels_are_compiled_once_and_called_with_exact_types_and_null_pointers(monkeypatch):
    monkeypatch.setattr(cuda, "cupy", SimpleNamespace(ndarray=_OnGpu, RawModule=_RawModule))
    monkeypatch.setattr(cuda, "_module", functools.cache(cuda._module.__wrapped__))
    monkeypatch.setattr(cuda, "_kernel", functools.cache(cuda._kernel.__wrapped__))
    pair, flat, real = (np.zeros(s, t).view(_OnGpu) for s, t in (((2, 3, 9), "c8"), ((2, 9), "c8"), ((2, 9), "f4")))
    arguments = [flat, pair, pair, flat, real, 2, 3, 9, pair, None, real]
    for _ in range(2):
        cuda.launch(
            "photo/quotient", "quotient_spectrum_backward", (1, 2), 64, arguments, real="float32", constants={"A": 7}
        )
    assert _RawModule.compiled == [
        (cuda.source("photo/quotient"), ("--std=c++17", "-DREAL=float", "-DCOMPLEX=float2", "-DA=7"), "nvrtc")
    ]
    assert len(_RawModule.calls) == 2
    name, grid, block, passed = _RawModule.calls[0]
    assert (name, grid, block) == ("quotient_spectrum_backward", (1, 2, 1), (64, 1, 1))
    assert all(a is b for a, b in zip(passed[:5], arguments[:5]))
    assert [type(a) for a in passed[5:8]] == [np.int64] * 3
    assert type(passed[9]) is np.uint64 and passed[9] == 0  # CuPy passes it as eight bytes of zeros
    with pytest.raises(TypeError, match="takes arrays on the GPU"):
        cuda.launch("photo/quotient", "quotient_spectrum", 1, 64, _quotient_arguments(), real=np.float32)


@needs_compiler
def test_shapes_that_do_not_fit_are_refused_before_the_launch():
    x_hat = np.zeros((2, 3, 40), np.complex64)
    with executed_on_the_cpu(), pytest.raises(ValueError, match=r"y_hat must have the shape \(2, 3, 40\)"):
        quotient_spectrum.cuda(x_hat, x_hat[:, :2], np.ones((1, 40), np.float32))
