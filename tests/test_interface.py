"""What goes in comes out: any library's arrays, any axis of the channels, nothing changed, any number of threads."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import convolve1d

import deconvnet
from deconvnet.errors import DeconvnetError
from deconvnet.networks.io import build_network

PSF = np.outer([1, 2, 1], [1, 2, 1]) / 16
SCALE = {"psf_size": 5, "stages": 1, "filters": 3, "filter_size": 3, "hidden_layers": 1, "features": [2]}


class Tensor:
    """An array of another library, as far as DLPack goes."""

    def __init__(self, array, gradients=False):
        self.array, self.gradients = np.asarray(array), gradients

    def __dlpack__(self, **options):
        if self.gradients:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.fixture
def library(monkeypatch):
    """The library that `Tensor` is of."""
    module = types.ModuleType("other_library")
    module.from_dlpack = lambda array: Tensor(np.from_dlpack(array))
    monkeypatch.setitem(sys.modules, "other_library", module)
    monkeypatch.setattr(Tensor, "__module__", "other_library.tensors")


@pytest.fixture
def photo(astronaut):
    return astronaut[60:124, 40:112].copy()


def _deconvolve(image, **options):
    return deconvnet.deconvolve(image, PSF, method="wiener", device="cpu", **options)


def _burst(image, **options):
    return deconvnet.deblur_burst([image, image], method="mean", register="none", device="cpu", **options)


@pytest.fixture(params=[_deconvolve, _burst], ids=["photo", "burst"])
def function(request):
    """One of the two: of a picture as `large`, its restored one."""
    return request.param


@pytest.fixture
def large(astronaut):
    """A picture that is large enough for a burst."""
    return astronaut[:72, :80].copy()


@pytest.mark.parametrize(("axis", "named"), [(2, -1), (2, 2), (1, 1), (0, 0), (0, -3)])
def test_the_channels_may_lie_on_any_axis(function, large, axis, named):
    expected = function(large)
    found = function(np.moveaxis(large, -1, axis), channel_axis=named)
    np.testing.assert_array_equal(np.moveaxis(found, axis, -1), expected)
    assert found.flags.c_contiguous


def test_grey_has_no_channels(function, large):
    grey = large[..., 0]
    np.testing.assert_array_equal(function(grey, channel_axis=None), function(grey))
    np.testing.assert_array_equal(function(grey[None], channel_axis=0), function(grey)[None])
    np.testing.assert_array_equal(function(grey[..., None]), function(grey)[..., None])
    for wrong, message in ((None, "channel_axis=None is for grey"), (3, "none is 3")):
        with pytest.raises(DeconvnetError, match=message):
            function(large, channel_axis=wrong)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_any_type_gives_floats_in_the_unit_range(function, large, dtype):
    scale = np.iinfo(dtype).max if dtype.startswith("u") else 1
    typed = np.rint(large * scale).astype(dtype) if scale > 1 else large.astype(dtype)
    found = function(typed)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found, function(large), atol=0.02)


@pytest.mark.parametrize("layout", ["read-only", "Fortran", "backwards", "every second"])
def test_nothing_is_changed_however_it_lies_in_memory(function, large, layout):
    whole = np.repeat(large, 2, axis=1)
    views = {"Fortran": np.asfortranarray(large), "backwards": large[::-1].copy()[::-1], "every second": whole[:, ::2]}
    given = views.get(layout, large.copy())
    before = given.copy()
    given.flags.writeable = False
    np.testing.assert_array_equal(function(given), function(large))
    np.testing.assert_array_equal(given, before)


def test_other_libraries_get_their_own_arrays(function, large, library):
    found = function(Tensor(large))
    assert isinstance(found, Tensor)
    np.testing.assert_array_equal(found.array, function(large))
    first = function(Tensor(np.moveaxis(large, -1, 0)), channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(first.array, 0, -1), function(large))
    with pytest.raises(DeconvnetError, match=r"require gradient.*\.detach\(\)\.cpu\(\)"):
        function(Tensor(large, gradients=True))


def test_a_library_that_takes_nothing_gets_numpy(large, library, monkeypatch):
    monkeypatch.delitem(sys.modules, "other_library")
    assert type(_deconvolve(Tensor(large))) is np.ndarray


def test_numpy_and_lists_give_numpy(function, large):
    assert type(function(large.tolist())) is type(function(large)) is np.ndarray


@pytest.mark.gpu
def test_cupy_gives_cupy(function, large):
    import cupy

    found = function(cupy.asarray(large))
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(found), function(large), atol=1e-4)


def test_threads_do_not_disturb_each_other(function, large):
    pictures = [np.ascontiguousarray(np.roll(large, shift, axis=0)) for shift in range(6)]
    expected = [function(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(function, pictures * 3))
    for one, other in zip(found, expected * 3):
        np.testing.assert_array_equal(one, other)


def test_the_halves_make_the_whole(photo, library):
    network = build_network("pyramid", {"scales": [SCALE]}, rng=np.random.default_rng(0))
    blurry = convolve1d(photo, np.full(3, 1 / 3), axis=1).astype(np.float32)
    options = {"model": network, "refine": False, "device": "cpu"}
    picture, psf = deconvnet.deblur(blurry, **options, return_psf=True)
    found = deconvnet.estimate_psf(blurry, **options)
    assert found.shape == (5, 5) and found.sum() == pytest.approx(1)
    np.testing.assert_array_equal(found, psf)
    np.testing.assert_array_equal(deconvnet.estimate_psf(np.moveaxis(blurry, -1, 0), channel_axis=0, **options), psf)
    again = deconvnet.deconvolve(blurry, psf, noise=0.02, device="cpu")
    whole = deconvnet.deblur(blurry, psf=psf, noise=0.02, device="cpu")
    np.testing.assert_array_equal(again, whole)
    assert isinstance(deconvnet.estimate_psf(Tensor(blurry), **options), Tensor)
    assert picture.shape == blurry.shape


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (None, {}, "no array of numbers"),
        (np.full((60, 60), 0.5), {}, "constant"),
        (np.random.default_rng(0).random((64, 70)), {"psf_size": 4}, "odd"),
        (np.random.default_rng(0).random((64, 70)), {"model": "burst"}, "is a model for a burst"),
    ],
)
def test_psfs_that_cannot_be_found_are_refused(image, options, message):
    with pytest.raises(DeconvnetError, match=message):
        deconvnet.estimate_psf(image, device="cpu", **options)
