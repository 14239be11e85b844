"""Transforms of long lines."""

import numpy as np
import pytest
import scipy.fft
from numba import njit

from deconvnet.kernels.simd.line_fft import first_step, is_smooth, line_plan, places, second_step
from deconvnet.kernels.simd.tile_fft import COMPLEX
from deconvnet.kernels.simd.vector import LANES


@njit
def _transform(data, plan, buffer):
    pitch = (plan.across + 1) * COMPLEX
    for j in range(plan.across):
        first_step(data, j * COMPLEX, pitch, j, data, plan, buffer)
    for k in range(plan.down):
        second_step(data, k, data, k * pitch, plan, buffer)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(
    "size", [4, 6, 8, 9, 10, 12, 15, 16, 25, 30, 45, 64, 125, 128, 243, 512, 1000, 1024, 1080, 2048, 2160]
)
def test_long_lines_are_transformed_as_scipy_does(size, back, rng):
    for real, tolerance in (("float32", 1e-6), ("float64", 1e-14)):
        plan = line_plan(size, real, back=back)
        lines = rng.standard_normal((size, LANES)) + 1j * rng.standard_normal((size, LANES))
        order, into = places(plan)
        lane = np.arange(LANES)
        data = np.full(plan.down * (plan.across + 1) * COMPLEX, np.nan, real)
        data[into[:, None] + lane], data[into[:, None] + LANES + lane] = lines.real, lines.imag
        _transform(data, plan, np.empty(2 * max(plan.down, plan.across) * COMPLEX, real))
        found = data[order[:, None] + lane] + 1j * data[order[:, None] + LANES + lane]
        exact = scipy.fft.fft(lines, axis=0)
        assert abs(found - exact).max() <= tolerance * abs(exact).max()


@pytest.mark.parametrize(("size", "smooth"), [(1, False), (5, False), (6, True), (14, False), (360, True)])
def test_only_lengths_of_small_factors_are_smooth(size, smooth):
    assert is_smooth(size) is smooth
