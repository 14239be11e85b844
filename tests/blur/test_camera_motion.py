"""Camera motions in the plane: where a pose moves the mass, adjoint, random paths."""

import numpy as np
import pytest

from deconvnet.blur.camera_motion import MotionBasis, random_motion
from deconvnet.testing import dottest

CENTRES = (np.array([20.0, 60.0, 100.0]), np.array([25.0, 75.0, 125.0, 175.0]))
SHAPE = (121, 201)


def _basis(k=15, dtype=np.float64, **options):
    return MotionBasis(CENTRES, SHAPE, k, dtype=dtype, **options)


def _centre_of_mass(psf):
    offset = np.arange(len(psf)) - len(psf) // 2
    return np.array([(psf.sum(axis=1) * offset).sum(), (psf.sum(axis=0) * offset).sum()]) / psf.sum()


def test_adjoint_passes_the_dot_product_test():
    basis, rng = _basis(), np.random.default_rng(0)
    dottest(basis.forward, basis.adjoint, rng.standard_normal(basis.poses), rng.standard_normal((3, 4, 15, 15)))


def test_translation_moves_all_patches_alike():
    basis = _basis()
    mu = np.zeros(basis.poses)
    mu[len(basis.angles) // 2, 4, 9] = 1
    psfs = basis.forward(mu)
    assert (psfs[..., 4, 9] == 1).all()
    assert psfs.sum() == psfs.shape[0] * psfs.shape[1]


def test_rotation_moves_each_patch_along_its_circle():
    basis = _basis()
    mu = np.zeros(basis.poses)
    mu[-1, 7, 7] = 1
    psfs = basis.forward(mu)
    angle = basis.angles[-1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for i, j in np.ndindex(3, 4):
        offset = np.array([CENTRES[0][i] - 60, CENTRES[1][j] - 100])
        np.testing.assert_allclose(_centre_of_mass(psfs[i, j]), turn @ offset - offset, atol=1e-9)


def test_angles_move_the_outermost_patch_by_a_pixel_each():
    basis = _basis()
    assert np.diff(basis.angles) * np.hypot(40, 75) == pytest.approx(1)


def test_an_even_number_of_angles_is_refused():
    with pytest.raises(ValueError, match="odd"):
        _basis(rotations=4)


def test_random_motion_gives_psfs_that_keep_their_mass():
    basis = _basis(dtype=np.float32)
    mu = random_motion(np.random.default_rng(1), basis)
    psfs = basis.forward(mu)
    assert mu.min() >= 0
    assert mu.dtype == psfs.dtype == np.float32
    np.testing.assert_allclose(psfs.sum(axis=(-2, -1)), 1, atol=1e-5)
    assert np.abs(psfs[0, 0] - psfs[-1, -1]).sum() > 0.1  # they differ over the picture
    again = random_motion(np.random.default_rng(1), basis)
    assert np.array_equal(mu, again)
