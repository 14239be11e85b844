"""Transforms of long lines, and that threads and the shape of the grid make no difference."""

import numba
import numpy as np
import pytest
import scipy.fft
from numba import njit

from deconvnet.kernels.photo.image_quotient import image_quotient_numba, image_spectrum
from deconvnet.kernels.photo.psf_quotient import psf_quotient, psf_quotient_numba, psf_quotient_reference
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


def test_grids_with_other_factors_take_whole_transforms(rng):
    maps, down, across = rng.standard_normal((1, 4, 13, 20)), rng.random(13), rng.random(20)
    with pytest.raises(ValueError, match="prime factors"):
        psf_quotient_numba(maps, down, across, (14, 22), 0.1, 5)
    exact = psf_quotient_reference(maps, down, across, (14, 22), 0.1, 5)
    assert np.allclose(psf_quotient(maps, down, across, (14, 22), 0.1, 5), exact, atol=1e-13)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_any_number_of_threads_gives_the_same_bits(rng):
    maps = rng.standard_normal((1, 4, 190, 220), dtype=np.float32)
    down, across = rng.random(190, dtype=np.float32), rng.random(220, dtype=np.float32)
    y, psf = rng.standard_normal((1, 192, 225), dtype=np.float32), rng.random((1, 9, 9), dtype=np.float32)
    found, before = [], numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            latent = image_quotient_numba(image_spectrum(y), psf, 0.1, (192, 225), (190, 220))
            found.append((psf_quotient_numba(maps, down, across, (192, 225), 0.1, 17), latent))
    finally:
        numba.set_num_threads(before)
    assert all(np.array_equal(one, two) for one, two in zip(*found))
