"""Every intrinsic against its model: the plain NumPy in its docstring."""

import inspect
import textwrap

import numpy as np
import pytest
from numba import njit

from deconvnet.kernels.simd import conv_block, line_fft, pairs, refinement
from deconvnet.kernels.simd.vector import INTRINSICS, LANES

assert conv_block and line_fft and pairs and refinement  # importing them fills the table

#: Whole numbers to call them with; those of `dst` are so that results do not overlap.
NUMBERS = {
    "count": 5, "stride": 37, "row_stride": 50, "src_second": 16, "pitch": 64, "dst_second": 16, "span": 3,
    "src_stride": 33, "dst_stride": 35,
    "plus": 70, "minus": 5, "offset": 9, "to": 11, "spacing": 20,
}  # fmt: skip
OVERRIDES = {
    **{f"pass{radix}": {"stride": 2} for radix in (2, 3, 4, 5, 8)},
    **{f"last_pass{radix}": {"stride": 3} for radix in (2, 3, 4, 5, 8)},
    "transpose_block": {"pitch": 50},
}
MODEL = {
    "np": np,
    "vector": lambda a, i=0: a[i : i + LANES].copy(),
    "pair": lambda a, i=0: a[i : i + LANES] + 1j * a[i + LANES : i + 2 * LANES],
    "lane": lambda a, i=0: a[i] + 1j * a[i + LANES],
    "number": lambda a, i=0: a[i] + 1j * a[i + 1],
}


def _put(a, value, i=0):
    a[i : i + LANES] = value.real
    if np.iscomplexobj(value):
        a[i + LANES : i + 2 * LANES] = value.imag


def _model(intrinsic, arguments):
    """Run the model in the docstring on arrays that begin at their offsets."""
    text = inspect.getdoc(intrinsic).partition("Model::\n")[2]
    assert text, "an intrinsic is defined by a model"
    exec(textwrap.dedent(text), {**MODEL, "put": _put, **arguments})


def _caller(intrinsic, count):
    names = ", ".join(f"a{i}" for i in range(count))
    scope = {"intrinsic": intrinsic}
    exec(f"def call({names}):\n    intrinsic({names})", scope)
    return njit(scope["call"])


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", INTRINSICS)
def test_intrinsic_does_what_its_model_says(name, real, rng):
    intrinsic = INTRINSICS[name]
    passed, given, before = [], {}, {}
    for i, (parameter, annotation) in enumerate(intrinsic.parameters.items()):
        if annotation == "int":
            given[parameter] = (NUMBERS | OVERRIDES.get(name, {}))[parameter]
            passed.append(given[parameter])
        elif annotation == "Indices":
            given[parameter] = 400 * rng.permutation(LANES) + rng.integers(0, 5, LANES)
            passed.append(given[parameter])
        else:
            array = rng.uniform(0.5, 2, 8000) * rng.choice([-1, 1], 8000)
            offset = 0 if annotation == "Flat" else 3 + 7 * i
            passed += [array.astype(real)] if annotation == "Flat" else [array.astype(real), offset]
            given[parameter] = passed[-1 if annotation == "Flat" else -2][offset:].astype(np.float64)
            before[parameter] = passed[-1 if annotation == "Flat" else -2], offset, given[parameter].copy()
    _model(intrinsic, given)
    _caller(intrinsic, len(passed))(*passed)
    changed = 0
    for parameter, (array, offset, start) in before.items():
        tolerance = 3e-6 if real == np.float32 or name == "rational_tanh" else 1e-13
        assert np.allclose(array[offset:], given[parameter], rtol=tolerance, atol=10 * tolerance), parameter
        untouched = given[parameter] == start
        assert np.array_equal(array[offset:][untouched], start[untouched].astype(real)), parameter
        changed += (~untouched).sum()
    assert changed, "the model changes nothing"
