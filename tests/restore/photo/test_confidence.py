"""What is said of a PSF when nobody knows the truth."""

import numpy as np
import pytest
import skimage.data

from deconvnet import deblur
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.restore.photo.confidence import UNCERTAIN, agreement, confidence, point_psf


@pytest.fixture(scope="module")
def psf():
    return sample_gp_psfs(np.random.default_rng(4), 1, 13)[0]


@pytest.fixture(scope="module")
def blurry(psf):
    sharp = skimage.data.camera()[100:312, 100:332].astype(np.float32) / 255
    rng = np.random.default_rng(0)
    return np.clip(convolve(sharp, psf) + np.float32(0.005) * rng.standard_normal((200, 220), dtype=np.float32), 0, 1)


def test_psfs_agree_wherever_they_lie(psf):
    assert agreement(psf, psf) == pytest.approx(1, abs=1e-5)
    moved = np.zeros((21, 21), np.float32)
    moved[:13, 6:19] = psf
    assert agreement(psf, moved) == pytest.approx(1, abs=1e-5)
    assert agreement(psf, point_psf(psf)) < 0.7


def test_the_true_psf_is_trusted_more_than_a_wrong_one(blurry, psf):
    other = sample_gp_psfs(np.random.default_rng(9), 1, 13)[0]
    right = confidence(blurry, psf, [psf], 6)
    assert right > 0.6
    assert confidence(blurry, other, [other], 6) < 0.6 * right
    assert confidence(blurry, psf, [other], 6) < right


def test_a_photo_that_works_is_said_to(blurry, recwarn):
    _, trust = deblur(blurry, device="cpu", return_confidence=True)
    assert trust > UNCERTAIN
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["noise", "ramp"])
def test_failure_is_reported(kind):
    rng = np.random.default_rng(0)
    shown = {
        "noise": 0.5 + 0.05 * rng.standard_normal((120, 130)),
        "ramp": np.tile(np.linspace(0.2, 0.8, 130), (120, 1)),
    }
    image = (shown[kind] + 0.004 * rng.standard_normal((120, 130))).astype(np.float32)
    with pytest.warns(UserWarning, match="cannot be told with confidence"):
        picture, trust = deblur(image, device="cpu", return_confidence=True)
    assert trust < UNCERTAIN
    assert np.abs(picture - image).mean() < 0.1
