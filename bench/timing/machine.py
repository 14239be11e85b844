"""What the figures were measured on: processor, GPU, versions, threads, commit; and what it can do at most."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bench.timing.measure import Device, interleaved, timed
from deconvnet.backend import array_module, to_device
from deconvnet.parallel import run, thread_count

__all__ = ["ceilings", "describe"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("deconvnet", "numpy", "scipy", "numba", "torch", "cupy-cuda12x", "cupy-cuda13x")
# The loop that measures the ceiling: vectors in registers (AVX2 has room for them too), steps, repetitions.
_VECTORS, _CHAIN, _ROUNDS = 8, 64, 10_000


def _processor():
    """Name of the processor and its vector units."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = value
    vectors = next((v for v in ("avx512f", "avx2", "avx") if v in flags.split()), "")
    return f"{name} ({vectors})" if vectors else name


def _commit():
    """Commit of the checkout, with a plus if the files differ from it; None outside a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, capture_output=True, text=True
        )
    except OSError:
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _gpu():
    """Name of the first GPU."""
    xp = array_module(to_device(np.zeros(1), "cuda"))
    return xp.cuda.runtime.getDeviceProperties(0)["name"].decode()


def describe(devices):
    """The machine, as a dict of short texts and numbers.

    Parameters
    ----------
    devices : sequence of str
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
        "gpu": _gpu() if "cuda" in devices else None,
        "system": platform.platform(terse=True),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(("OMP_", "NUMBA_", "OPENBLAS_"))},
        "versions": versions,
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


@intrinsic
def _chains(typing_context, values):
    """``x ← x / 2 + 1/2``, over and over, for `_VECTORS` vectors of 16 numbers that stay in registers."""

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), 16)
        data = context.make_array(values)(context, builder, arguments[0]).data
        data = builder.bitcast(data, vector.as_pointer())
        places = [builder.gep(data, [ir.Constant(ir.IntType(64), i)]) for i in range(_VECTORS)]
        numbers = [builder.load(place, align=4) for place in places]
        half = ir.Constant(vector, [0.5] * 16)
        for _ in range(_CHAIN):
            products = [builder.fmul(x, half, flags=("contract",)) for x in numbers]  # fused with the sum below
            numbers = [builder.fadd(x, half, flags=("contract",)) for x in products]
        for x, place in zip(numbers, places):
            builder.store(x, place, align=4)
        return context.get_dummy_value()

    return types.void(values), codegen


@numba.njit(nogil=True)
def _multiply_add(values, rounds, begin, end):
    for block in range(begin, end):
        line = values[block]
        for _ in range(rounds):
            _chains(line)


def ceilings(device, *, quick=False):
    """Floating-point operations per second that the device reaches at best, in float32.

    Parameters
    ----------
    device : Device
    quick : bool
        Smaller matrices.

    Returns
    -------
    dict
        ``"sgemm"``: the matrix product of the library in use (OpenBLAS, cuBLAS); on a CPU also ``"multiply-add"``: a
        compiled loop that does nothing else. In FLOP/s.
    """
    side = (1024 if quick else 2048) if device.name == "cpu" else 8192
    rng = np.random.default_rng(0)
    left, right = (device.array(rng.random((side, side), dtype=np.float32)) for _ in range(2))
    calls = {"sgemm": lambda: left @ right}
    work = {"sgemm": 2.0 * side**3}
    if device.name == "cpu":
        values = np.ones((8 * thread_count(), 16 * _VECTORS), dtype=np.float32)
        calls["multiply-add"] = lambda: run(lambda begin, end: _multiply_add(values, _ROUNDS, begin, end), len(values))
        work["multiply-add"] = 2.0 * _CHAIN * _ROUNDS * values.size
    for call in calls.values():
        timed(call, device.sync)
    found = interleaved(calls, device, seconds=0.5 if quick else 2.0)
    return {name: work[name] / timing["fastest"] for name, timing in found.items()}


if __name__ == "__main__":
    for _name, _flops in ceilings(Device("cpu")).items():
        print(f"{_name}: {_flops / 1e9:.0f} GFLOP/s")
