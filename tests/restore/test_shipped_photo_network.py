"""The photo network that ships, by itself: random weights in its place would fail here."""

import numpy as np
import pytest
import skimage.data

from deconvnet import deblur
from deconvnet.blur.camera_motion import random_motion
from deconvnet.blur.convolve import convolve
from deconvnet.blur.filter_flow import filter_flow
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psf_error
from deconvnet.networks.io import build_network, load_network
from deconvnet.restore.photo.varying import choose_grid, motion_basis

SIZE = 17


@pytest.fixture(scope="module")
def networks():
    """The network that ships, and one of its architecture with the weights that training starts from."""
    shipped = load_network("photo")
    return {"shipped": shipped, "random": build_network("pyramid", shipped.config, rng=np.random.default_rng(1))}


def _noisy(blurry, rng):
    return np.clip(blurry + 0.01 * rng.standard_normal(blurry.shape), 0, 1).astype(np.float32)


def _error(found, true, reach=2):
    """Mean relative squared error of PSFs; one whole-pixel shift of all of them is forgiven."""
    moves = [(down, across) for down in range(-reach, reach + 1) for across in range(-reach, reach + 1)]
    return min(float(np.mean(psf_error(np.roll(found, move, (-2, -1)), true))) for move in moves)


@pytest.fixture(scope="module")
def uniform():
    """(blurry, PSF) of a photograph that training never saw."""
    rng = np.random.default_rng(7)
    sharp = skimage.data.camera()[40:420, 60:440].astype(np.float32) / 255
    psf = sample_gp_psfs(rng, 1, SIZE)[0]
    return _noisy(convolve(sharp, psf, border="valid"), rng), psf


@pytest.fixture(scope="module")
def varying():
    """(blurry, PSFs) of the same photograph under a camera that moves and turns."""
    rng = np.random.default_rng(103)
    sharp = skimage.data.camera()[60:400, 60:480].astype(np.float32) / 255
    basis = motion_basis(sharp.shape, choose_grid(sharp.shape, SIZE), SIZE)
    psfs = basis.forward(random_motion(rng, basis))
    psfs /= psfs.sum(axis=(-2, -1), keepdims=True)
    return _noisy(filter_flow(sharp, psfs), rng), psfs


def _deblurred_psf(blurry, network, **options):
    options = {"psf_size": SIZE, "nonblind": "wiener", "device": "cpu", "return_psf": True, **options}
    return deblur(blurry, model=network, **options)[1]


def test_the_psf_of_a_photo_by_the_network_alone(networks, uniform):
    blurry, true = uniform
    errors = {name: _error(_deblurred_psf(blurry, net, refine=False), true) for name, net in networks.items()}
    assert errors["shipped"] < 0.35 < 0.6 < errors["random"]


@pytest.mark.slow
def test_local_psfs_by_the_network_alone(networks, varying):
    blurry, true = varying
    errors = {
        name: _error(_deblurred_psf(blurry, net, refine=False, varying=True), true) for name, net in networks.items()
    }
    assert errors["shipped"] < 0.35 < 0.6 < errors["random"]


@pytest.mark.slow
def test_refined_local_psfs(networks, varying):
    blurry, true = varying
    error = _error(_deblurred_psf(blurry, networks["shipped"], varying=True), true)
    assert error < 0.3
