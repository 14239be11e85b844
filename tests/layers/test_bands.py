"""Frequency bands against NumPy's full DFT; whitening."""

import numpy as np
import pytest

from deconvnet.errors import DeconvnetError
from deconvnet.layers.bands import BAND_SLICES, TOTAL, WhitenedBands, bands, bands_backward, fit_whitening
from deconvnet.testing import TOLERANCE, dottest, gradcheck


def _by_full_dft(patch):
    """The table of the bands, coefficient by coefficient."""
    row = []
    for side, low in [(65, True), (65, False), (33, False), (17, False)]:
        start = (65 - side) // 2
        full = np.fft.fft2(patch[start : start + side, start : start + side] - 0.5)
        kept = []
        for zy in range(-8, 9):
            for zx in range(0, 9):
                inside = max(abs(zy), zx) <= 4
                if inside == low and (zx > 0 or zy > 0):
                    kept.append(full[zy, zx] * np.sqrt(2) / side)
        row += [[full[0, 0].real / side]] if low else []
        row += [np.real(kept), np.imag(kept)]
    return np.concatenate(row)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bands_are_the_selected_dft_coefficients(dtype):
    patches = np.random.default_rng(7).random((2, 3, 65, 65)).astype(dtype)
    before = patches.copy()
    out = bands(patches)
    assert out.dtype == dtype
    assert out.shape == (2, 3, 705)
    assert np.array_equal(patches, before)
    expected = np.array([[_by_full_dft(p.astype(np.float64)) for p in burst] for burst in patches])
    assert abs(out - expected).max() <= TOLERANCE[out.dtype.name] * abs(expected).max()


def test_band_sizes_are_81_and_three_times_208():
    assert [part.stop - part.start for part in BAND_SLICES.values()] == [81, 208, 208, 208]


def test_rows_of_each_band_are_orthonormal():
    rows = bands_backward(np.eye(TOTAL)).reshape(TOTAL, -1)
    for part in BAND_SLICES.values():
        assert np.allclose(rows[part] @ rows[part].T, np.eye(part.stop - part.start), atol=1e-12)


def test_backward_is_the_adjoint():
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((2, 65, 65)), rng.standard_normal((2, TOTAL))
    dottest(lambda a: bands(a + 0.5), bands_backward, x, y)


def test_grey_patches_have_no_bands():
    assert np.array_equal(bands(np.full((1, 65, 65), 0.5)), np.zeros((1, TOTAL)))


def test_whitening_gives_unit_covariance():
    rng = np.random.default_rng(9)
    mix = rng.standard_normal((12, 12)) * np.logspace(-1, 1, 12)
    samples = rng.standard_normal((4000, 12)) @ mix + 3
    white = samples @ fit_whitening(samples, epsilon=0)
    assert np.allclose(np.cov(white.T, bias=True), np.eye(12), atol=1e-9)


def test_epsilon_bounds_the_gain_of_directions_without_signal():
    samples = np.random.default_rng(10).standard_normal((50, 4)) * [1, 1, 1, 0]
    assert np.linalg.norm(fit_whitening(samples, epsilon=1e-4), axis=0).max() == pytest.approx(100, rel=1e-6)


def test_whitened_bands_are_plain_before_fitting_and_white_after():
    rng = np.random.default_rng(11)
    # Smooth patches, so that the plain bands are far from white.
    patches = np.cumsum(rng.standard_normal((600, 65, 65)), axis=-1).astype(np.float32) / 20 + 0.5
    layer = WhitenedBands()
    assert np.array_equal(layer.forward(patches)[0], bands(patches))
    layer.fit(patches.reshape(60, 10, 65, 65))
    rows, cache = layer.forward(patches)
    assert cache is None
    assert rows.dtype == np.float32
    assert np.allclose(np.cov(rows[:, BAND_SLICES["b4"]].T), np.eye(81), atol=1e-2)
    copy = WhitenedBands()
    copy.load_state(layer.state())
    assert np.array_equal(copy.forward(patches[:2])[0], layer.forward(patches[:2])[0])


def test_gradient_of_whitened_bands():
    rng = np.random.default_rng(12)
    layer = WhitenedBands(dtype=np.float64)
    layer.whitening_b3 = rng.standard_normal((208, 208))
    gradcheck(layer, rng.random((2, 65, 65)))


def test_refuses_other_patch_sizes_and_too_few_samples():
    with pytest.raises(DeconvnetError, match="65×65"):
        bands(np.zeros((1, 64, 65)))
    with pytest.raises(DeconvnetError, match="too few"):
        fit_whitening(np.zeros((10, 8)))
