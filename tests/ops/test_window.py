"""Windows against SciPy's, and the sums of their shifted copies."""

import numpy as np
import pytest
import scipy.signal

from deconvnet.ops.window import bartlett_hann, hann, tukey

LENGTHS = [4, 6, 33]


def _half_pixel_samples(window, length):
    """SciPy samples end points that are zero; half-pixel samples are every second one of a window twice as dense."""
    return window(2 * length + 1)[1::2]


@pytest.mark.parametrize("length", LENGTHS)
def test_windows_are_those_of_scipy(length):
    windows = scipy.signal.windows
    assert np.allclose(hann(length), _half_pixel_samples(windows.hann, length), atol=1e-12)
    assert np.allclose(bartlett_hann(length), _half_pixel_samples(windows.barthann, length), atol=1e-12)
    width = length // 3
    tapered = _half_pixel_samples(lambda n: windows.tukey(n, 2 * width / length), length)
    assert np.allclose(tukey(length, width), tapered, atol=1e-12)


@pytest.mark.parametrize(("window", "length", "step"), [(hann, 33, 11), (hann, 32, 4), (bartlett_hann, 32, 16)])
def test_shifted_copies_add_up_to_a_constant(window, length, step):
    total = window(length).reshape(-1, step).sum(axis=0)
    assert np.ptp(total) < 1e-12


@pytest.mark.parametrize("window", [hann, bartlett_hann, lambda n: tukey(n, 2)])
def test_no_pixel_has_the_weight_zero(window):
    assert window(9).min() > 0
    assert np.allclose(window(9), window(9)[::-1], atol=1e-15)
