"""The sRGB curve, noise and JPEG."""

import io

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deconvnet.backend import to_device, to_host
from deconvnet.blur.camera import add_noise, jpeg, linear_to_srgb, noise_coefficients, srgb_to_linear


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_srgb_curve_is_undone_and_meets_known_values(dtype, device):
    values = to_device(np.linspace(0, 1, 1001).astype(dtype), device)
    linear = srgb_to_linear(values)
    assert linear.dtype == dtype
    np.testing.assert_allclose(to_host(linear_to_srgb(linear)), to_host(values), atol=2e-6)
    known = srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0]))
    np.testing.assert_allclose(known, [0, 0.0031308, 0.21404114, 1], atol=1e-7)


@pytest.mark.parametrize("quality", [10, 50, 75, 92, 100])
def test_jpeg_matches_a_real_encoder(rng, quality):
    from PIL import Image

    texture = gaussian_filter(rng.standard_normal((64, 80)), 1.2)
    image = np.round(np.clip(0.5 + 0.6 * texture, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    real = np.asarray(Image.open(file)).astype(int)
    ours = np.round(jpeg(image / 255.0, quality) * 255).astype(int)
    # The encoder's integer transform falls on the other side of a quantisation step now and then.
    assert (ours == real).mean() > 0.7
    if quality < 100:
        assert abs(ours - real).mean() < 0.25 * abs(real - image).mean()
        assert abs(abs(ours - image).mean() / abs(real - image).mean() - 1) < 0.02


def test_jpeg_of_lower_quality_loses_more_and_the_grid_can_be_moved(rng):
    image = np.clip(0.5 + gaussian_filter(rng.standard_normal((50, 61)), 1), 0, 1)
    losses = [((jpeg(image, q) - image) ** 2).mean() for q in (95, 70, 30)]
    assert losses == sorted(losses)
    whole = jpeg(image, 40)
    np.testing.assert_array_equal(jpeg(image[3:43, 6:46], 40, (3, 6))[5:32, 2:34], whole[8:35, 8:40])
    with pytest.raises(ValueError, match="quality"):
        jpeg(image, 0)


@pytest.mark.parametrize("linear", [True, False])
def test_noise_level_is_what_is_seen_at_middle_grey(rng, linear):
    read, shot = noise_coefficients(0.01, 0.2, linear)
    noisy = add_noise(rng, np.full(400000, 0.2 if linear else 0.5), read, shot)
    stored = linear_to_srgb(noisy) if linear else noisy
    assert abs(stored.std() / 0.01 - 1) < 0.01
    dark = add_noise(rng, np.zeros(100000, np.float32), read, shot)
    assert dark.dtype == np.float32
    assert abs(dark.var() / read - 1) < 0.03
