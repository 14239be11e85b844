"""Radial gain and coherence: known answers."""

import numpy as np
from scipy.ndimage import gaussian_filter

from bench.scoring.radial import coherent_up_to, draw_agreement, mean_agreement, radial_agreement, worst_gains


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
    assert coherent_up_to(found) < 0.1
    assert coherent_up_to(radial_agreement(camera, camera)) > 0.49


def test_means_of_agreements_are_means_of_gain_and_coherence(camera):
    found = [radial_agreement(scale * camera, camera) for scale in (0.5, 1.0)]
    both = mean_agreement(found)
    np.testing.assert_allclose(both.gain, 0.75, atol=1e-6)
    np.testing.assert_allclose(both.coherence, 1, atol=1e-6)
    assert worst_gains(both) == (both.gain.min(), both.gain.max())
