"""Functions that are called through their address."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import TypingError, njit, types

from deconvnet.kernels import compiled
from deconvnet.kernels.simd.apart import Apart


def _add(values, count, factor, out):
    for i in range(count):
        out[i] += factor * values[i]


def _kinds(real):
    number = getattr(types, real)
    reals = types.Array(number, 1, "C")
    return reals, types.intp, number, reals


@pytest.fixture(scope="module")
def apart():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "cache_folder", lambda: None)  # that is for files of the kernels only
        return Apart(_add, _kinds)


@pytest.fixture(scope="module")
def twice(apart):
    call = apart.call

    @njit
    def run(address, values, out):
        call(address, values, values.size, 2, out)
        call(address, values, 1, 1, out)

    return run


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_it_is_called_for_the_dtype_of_its_arrays(apart, twice, real):
    out = np.ones(3, real)
    twice(apart.address(real), np.arange(1, 4).astype(real), out)
    np.testing.assert_array_equal(out, [4, 5, 7])
    assert set(apart.dispatcher.overloads) <= {_kinds("float32"), _kinds("float64")}


def test_arrays_of_another_kind_are_refused_when_the_caller_is_compiled(apart, twice):
    with pytest.raises(TypingError, match="_add takes"):
        twice(apart.address("float32"), np.ones((2, 2), np.float32), np.ones(3, np.float32))


def test_python_cannot_call_what_has_no_wrapper_for_it(apart):
    with pytest.raises(TypeError, match="compiled callers only"):
        apart(np.ones(3), 3, 1.0, np.ones(3))


USE = """
import numpy as np
from deconvnet.kernels.simd.strip_images import forward, forward_columns, inverse, inverse_block, strip_plan
image = np.random.default_rng(0).standard_normal((12, 20))
plan = strip_plan(image.shape, "float64")
assert abs(inverse(forward(image, plan, scale=1 / image.size), plan) - image).max() < 1e-14
for function in (forward_columns, inverse_block.dispatcher):
    print(sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
"""


def test_callers_from_the_disk_find_it_in_another_process(tmp_path):
    def run():
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run() == ["0", "1", "0", "1"]
    assert run() == ["1", "0", "1", "0"]
