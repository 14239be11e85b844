"""Radial gain and coherence: known answers."""

import numpy as np
from scipy.ndimage import gaussian_filter

from bench.scoring.radial import draw_agreement, radial_agreement, worst_gains


def test_gain_is_the_filter_that_was_applied(camera, tmp_path):
    blurred = gaussian_filter(camera.astype(np.float64), 1.0, mode="wrap")
    found = radial_agreement(blurred, camera)
    expected = np.exp(-0.5 * (2 * np.pi * found.frequency) ** 2)
    low = found.frequency < 0.2
    np.testing.assert_allclose(found.gain[low], expected[low], atol=0.05)
    assert found.coherence[low].min() > 0.97
    least, most = worst_gains(found)
    assert least < 0.6 and most < 1.01
    draw_agreement(tmp_path / "gain.png", {"blurred": found}, "camera")
    assert (tmp_path / "gain.png").stat().st_size > 1000


def test_noise_is_not_coherent(camera):
    noisy = camera + np.random.default_rng(0).standard_normal(camera.shape)
    found = radial_agreement(noisy, camera)
    assert found.coherence[-5:].max() < 0.3
    assert np.allclose(worst_gains(radial_agreement(camera, camera)), 1)
