"""Whatever the shape, type, order in memory and values: pictures go through files and functions as promised."""

import contextlib
import copy
import functools
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import deconvnet
from deconvnet.blur.camera import linear_to_srgb, srgb_to_linear
from deconvnet.blur.convolve import convolve
from deconvnet.blur.filter_flow import filter_flow
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.files.formats import WITH_ALPHA, WRITABLE
from deconvnet.io import check_writable, read_image, write_image
from deconvnet.layers.conv import conv
from deconvnet.layers.fba import fba
from deconvnet.layers.psf_softmax import psf_softmax
from deconvnet.layers.psf_support import psf_support
from deconvnet.layers.quotient import quotient
from deconvnet.layers.recombine import recombine
from deconvnet.metrics import psf_error
from deconvnet.networks.io import build_network, save_arrays, save_network
from deconvnet.ops.border import extend_periodically
from deconvnet.ops.differences import differences
from deconvnet.ops.edge_taper import edge_taper
from deconvnet.ops.psf import psf_to_otf
from deconvnet.ops.resample import resample
from deconvnet.testing import dottest, gradcheck

LOSSLESS = {".png": (8, 16), ".tif": (8, 16, 32), ".bmp": (8,)}

#: For what takes long: a fraction of the examples that the profile asks for.
fewer = settings(max_examples=max(1, settings().max_examples // 4))


@functools.cache
def small_photo_network():
    scale = {"psf_size": 5, "stages": 1, "filters": 3, "filter_size": 3, "hidden_layers": 1, "features": [2]}
    return build_network("pyramid", {"scales": [scale]}, rng=np.random.default_rng(0))


@functools.cache
def small_burst_network():
    config = {"psf_size": 9, "widths": (8, 8), "refinement_width": 8}
    return build_network("quotient", config, rng=np.random.default_rng(0))


@st.composite
def pictures(draw, least=1, most=20, channels=(0, 1, 2, 3, 4)):
    """Arrays (H, W) or (H, W, C) of any type that is taken, in any order in memory."""
    shape = (draw(st.integers(least, most)), draw(st.integers(least, most)))
    depth = draw(st.sampled_from(channels))
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "float16", "float32", "float64"])))
    shape = shape if depth == 0 else (*shape, depth)
    if dtype.kind == "u":
        array = draw(hnp.arrays(dtype, shape))
    else:
        array = draw(hnp.arrays("uint8", shape)).astype(dtype) / dtype.type(255)
    match draw(st.sampled_from(["C", "F", "reversed", "read-only", "strided"])):
        case "F":
            return np.asfortranarray(array)
        case "reversed":
            return array[::-1, ::-1]
        case "strided":
            return np.repeat(array, 2, axis=0)[::2]
        case "read-only":
            array.flags.writeable = False
    return array


@given(
    picture=pictures(channels=(0, 1, 2, 3, 4)),
    suffix=st.sampled_from(sorted(LOSSLESS)),
    wish=st.integers(0, 2),
)
def test_lossless_files_hold_what_was_written(tmp_path, picture, suffix, wish):
    bits = LOSSLESS[suffix][min(wish, len(LOSSLESS[suffix]) - 1)]
    floats = picture / (np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1)
    path = tmp_path / f"a{suffix}"
    if picture.ndim == 3 and picture.shape[-1] in (2, 4) and suffix not in WITH_ALPHA:
        with pytest.raises(DeconvnetError, match="alpha"):
            write_image(path, floats, bits)
        return
    write_image(path, floats, bits)
    found = read_image(path, keep_alpha=True)
    single = picture.ndim == 3 and picture.shape[-1] == 1
    expected = floats[..., 0] if single else floats
    assert found.bits == bits and found.pixels.dtype == np.float32
    assert found.pixels.shape == expected.shape
    half_a_step = 0.5 / (2**bits - 1) if bits < 32 else 0
    assert np.abs(found.pixels - expected).max() <= half_a_step + 2e-7


def _check(function, picture):
    """What a function makes of a picture, which it must not change: floats in [0, 1], or None if it was refused."""
    before = picture.copy()
    try:
        found = function(picture)
    except DeconvnetError as error:
        assert "\n" not in str(error)
        return None
    finally:
        np.testing.assert_array_equal(picture, before)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    return found


def _same_in_any_order(function, picture, found):
    """What a function made of a picture is what it makes of the same values, laid out plainly in new memory."""
    if found is not None:
        np.testing.assert_allclose(found, function(np.ascontiguousarray(picture)), atol=1e-5)


@given(picture=pictures(), psf=hnp.arrays("uint8", st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_deconvolve_keeps_the_shape_or_says_why_not(picture, psf):
    def restored(image):
        return deconvnet.deconvolve(image, psf, method="wiener", device="cpu")

    found = _check(restored, picture)
    assert found is None or found.shape == picture.shape
    _same_in_any_order(restored, picture, found)


@fewer
@given(pair=pictures(least=63, most=68), channels_first=st.booleans())
def test_bursts_keep_the_axes_or_say_why_not(pair, channels_first):
    axis = 0 if channels_first else -1
    given_pair = np.moveaxis(pair, -1, 0) if channels_first and pair.ndim == 3 else pair
    options = {"method": "mean", "register": "none", "device": "cpu", "channel_axis": axis}
    found = _check(lambda image: deconvnet.deblur_burst([image, image], **options), given_pair)
    assert found is None or found.shape == given_pair.shape
    assert (found is None) == (min(pair.shape[:2]) < 65 or (pair.ndim == 3 and pair.shape[-1] not in (1, 3)))


@given(picture=pictures(least=12, most=40), size=st.sampled_from([3, 5, 9, "auto"]), refine=st.booleans())
def test_a_photo_keeps_its_shape_or_is_refused(picture, size, refine):
    options = {"model": small_photo_network(), "psf_size": size, "refine": refine, "device": "cpu"}
    found = _check(lambda image: deconvnet.deblur(image, nonblind="wiener", **options), picture)
    psf = None
    with contextlib.suppress(DeconvnetError):
        psf = deconvnet.estimate_psf(picture, **options)
    assert (found is None) == (psf is None)
    if psf is not None:
        assert found.shape == picture.shape
        assert psf.dtype == np.float32 and psf.min() >= 0 and abs(psf.sum() - 1) < 1e-4


@fewer
@given(picture=pictures(least=65, most=80, channels=(0, 1, 3)), channels=st.sampled_from(["luma", "rgb"]))
def test_a_burst_by_a_network_keeps_its_shape(picture, channels):
    options = {"model": small_burst_network(), "channels": channels, "register": "none", "stride": 16, "device": "cpu"}
    found = _check(lambda image: deconvnet.deblur_burst([image, image, image], **options), picture)
    assert found.shape == picture.shape


@fewer
@given(picture=pictures(least=24, most=40), method=st.sampled_from(["hyper-laplacian", "wiener"]), first=st.booleans())
def test_a_photo_with_a_known_psf_keeps_its_axes(picture, method, first):
    psf = np.asfortranarray([[1, 2], [3, 4], [5, 0]], np.uint8)
    psf.flags.writeable = False
    axis = 0 if first else -1
    given_picture = np.moveaxis(picture, -1, 0) if first and picture.ndim == 3 else picture
    options = {"psf": psf, "nonblind": method, "channel_axis": axis, "device": "cpu"}

    def restored(image):
        found, used, trust = deconvnet.deblur(image, **options, return_psf=True, return_confidence=True)
        assert used.shape == (3, 2) and abs(used.sum() - 1) < 1e-6 and trust is None
        return found

    found = _check(restored, given_picture)
    assert found is None or found.shape == given_picture.shape
    _same_in_any_order(restored, given_picture, found)
    if found is not None and given_picture.dtype.kind == "u":
        floats = given_picture / np.iinfo(given_picture.dtype).max
        np.testing.assert_allclose(found, restored(floats), atol=1e-5)


@fewer
@given(picture=pictures(least=36, most=48, channels=(0, 1, 3)))
def test_psfs_of_any_picture_are_psfs(picture):
    before = picture.copy()
    options = {"model": small_photo_network(), "psf_size": 5, "refine": False, "device": "cpu"}
    with contextlib.suppress(DeconvnetError):
        found = deconvnet.estimate_psf(picture, varying=True, **options)
        assert found.dtype == np.float32 and found.ndim == 4 and found.shape[2:] == (5, 5) and found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=(2, 3)), 1, atol=1e-4)
        plain = deconvnet.estimate_psf(np.ascontiguousarray(picture), varying=True, **options)
        np.testing.assert_allclose(found, plain, atol=1e-5)
    np.testing.assert_array_equal(picture, before)


@fewer
@given(
    picture=pictures(least=20, most=60, channels=(0, 1, 2, 3)),
    chunks=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(1, 70),
    known=st.booleans(),
)
def test_dask_arrays_in_any_chunks_make_the_same_picture(picture, chunks, tile, known):
    da = pytest.importorskip("dask.array")
    options = {"psf": np.ones((3, 5)) / 15, "nonblind": "wiener", "noise": 0.02 if known else None, "device": "cpu"}

    def restored(image, chunks=chunks):
        lazy = da.from_array(image, chunks=(*chunks, *image.shape[2:]))
        return deconvnet.deblur_array(lazy, tile=tile, window=30, **options).compute(scheduler="synchronous")

    found = _check(restored, picture)
    assert found is None or found.shape == picture.shape
    assert found is not None or (picture.ndim == 3 and picture.shape[2] != 3) or not known
    if found is not None:
        np.testing.assert_allclose(found, restored(np.ascontiguousarray(picture), picture.shape[:2]), atol=1e-5)


@fewer
@given(picture=pictures(least=65, most=70, channels=(0, 3)), form=st.sampled_from(["list", "stack", "generator"]))
def test_a_burst_in_any_form_is_accumulated(picture, form):
    def restored(image):
        frames = [image, image[::-1], image]
        given_frames = {"list": frames, "stack": np.stack(frames), "generator": (frame for frame in frames)}[form]
        return deconvnet.deblur_burst(given_frames, method="fba", register="none", device="cpu")

    found = _check(restored, picture)
    assert found is None or found.shape == picture.shape
    _same_in_any_order(restored, picture, found)


@given(name=st.deferred(lambda: anything))
def test_names_that_are_none_are_refused_in_one_line(name):
    for function in (deconvnet.load_model, lambda name: deconvnet.engine(name).__enter__()):
        with contextlib.suppress(DeconvnetError):
            function(name)
            assert name in ("auto", "reference", "photo", "burst")


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kind=st.sampled_from(["float64", "complex128"]),
    order=st.sampled_from(["C", "F", "read-only"]),
    seed=st.integers(0, 99),
)
def test_checks_pass_what_is_right_and_nothing_else(shape, kind, order, seed):
    rng = np.random.default_rng(seed)

    def draw(*sides):
        values = rng.standard_normal(sides) + (1j * rng.standard_normal(sides) if kind == "complex128" else 0)
        values = np.asarray(values, kind, order="F" if order == "F" else "C")
        values.flags.writeable = order != "read-only"
        return values

    matrix, x, y = draw(*shape), draw(shape[1], 3), draw(shape[0], 3)
    kept = [a.copy() for a in (x, y)]
    dottest(lambda x: matrix @ x, lambda y: matrix.conj().T @ y, x, y)
    forward = (lambda x, train: (matrix @ x, None), lambda dout, cache: matrix.conj().T @ dout)
    gradcheck(forward, x, rng=rng)
    for a, before in zip((x, y), kept):
        np.testing.assert_array_equal(a, before)
    with pytest.raises(AssertionError, match="not adjoint"):
        dottest(lambda x: matrix @ x, lambda y: 1.001 * (matrix.conj().T @ y), x, y)
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck((forward[0], lambda dout, cache: 1.001 * (matrix.conj().T @ dout)), x, rng=rng)


#: What somebody may hand over for an option.
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["auto", "cpu", "fba", "mean", "wiener", "none", "rgb", "translation", "homography"]),
    st.lists(st.integers(0, 3), max_size=2),
    st.just(np.ones((3, 3))),
)
OPTIONS = {
    "deblur": (
        "psf_size",
        "psf_sharpen",
        "psf_threshold",
        "psf",
        "nonblind",
        "noise",
        "channel_axis",
        "device",
        "model",
    ),
    "estimate_psf": ("psf_size", "sharpen", "threshold", "channel_axis", "device", "model"),
    "deconvolve": ("psf", "method", "noise", "channel_axis", "device"),
    "deblur_burst": ("method", "stride", "channels", "register", "p", "channel_axis", "device", "model"),
}


@given(data=st.data(), function=st.sampled_from(sorted(OPTIONS)))
def test_options_of_any_kind_are_taken_or_refused_in_one_line(data, function):
    photo = np.random.default_rng(0).random((66, 66, 3), dtype=np.float32)
    name = data.draw(st.sampled_from(OPTIONS[function]))
    options = {"device": "cpu", "nonblind" if function == "deblur" else "method": "wiener"}
    if function in ("deblur", "estimate_psf"):
        options |= {"model": small_photo_network(), "psf_size": 5, "refine": False}
    if function == "deblur_burst":
        options |= {"model": small_burst_network(), "method": "fba", "register": "none"}
        options |= {"method": "network"} if name in ("stride", "model") else {}
    if function == "deconvolve":
        options["psf"] = np.ones((3, 3))
    if function == "estimate_psf":
        options.pop("method")
    options[name] = data.draw(anything)
    try:
        getattr(deconvnet, function)([photo] * 2 if function == "deblur_burst" else photo, **options)
    except DeconvnetError as error:
        assert "\n" not in str(error)


@given(shape=hnp.array_shapes(min_dims=0, max_dims=5, max_side=4), kind=st.sampled_from("?iufcSUOmM"))
def test_what_is_no_picture_is_refused_in_one_line(shape, kind):
    array = np.zeros(shape, dtype={"u": "uint32", "S": "S1", "U": "U1", "m": "m8[s]", "M": "M8[s]"}.get(kind, kind))
    for function in (
        lambda image: deconvnet.estimate_psf(image, device="cpu"),
        lambda image: deconvnet.deconvolve(image, np.ones((3, 3)), device="cpu"),
        lambda image: deconvnet.deblur_burst([image] * 2, method="mean", device="cpu"),
    ):
        with pytest.raises(DeconvnetError) as refusal:
            function(array)
        assert "\n" not in str(refusal.value)


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30))
def test_any_name_can_be_written_or_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / f"{name}.png"
    try:
        check_writable(path)
        write_image(path, np.zeros((2, 2)))
    except DeconvnetError:
        return
    assert read_image(path).pixels.shape == (2, 2)
    path.unlink()


@functools.cache
def _whole_files():
    """Bytes of small picture files of every kind, by suffix."""
    picture = np.random.default_rng(0).random((12, 15, 3))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, depths in WRITABLE.items():
            for bits in depths:
                path = Path(folder) / f"a{suffix}"
                with contextlib.suppress(DeconvnetError):  # formats of extras that are not installed
                    write_image(path, picture, bits)
                    found[suffix, bits] = path.read_bytes()
    return found


@st.composite
def damaged(draw, files):
    """The name of a file among some, and its bytes, some of them changed, left out or doubled."""
    name = draw(st.sampled_from(sorted(files)))
    changed = bytearray(files[name])
    for _ in range(draw(st.integers(1, 6))):
        upto = max(1, min(len(changed), draw(st.sampled_from([64, 400, len(changed)]))))
        start = draw(st.integers(0, upto - 1))
        end = start + draw(st.integers(0, 8))
        changed[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(changed[start:end]) * 2)))
    return name, bytes(changed)


@given(file=st.deferred(lambda: damaged(_whole_files())))
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, file):
    (suffix, _), content = file
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with warnings.catch_warnings(), most_pixels(4_000_000):
        warnings.simplefilter("ignore")
        try:
            found = read_image(path)
        except DeconvnetError as error:
            assert "\n" not in str(error) and path.name in str(error)
        else:
            assert found.pixels.dtype == np.float32 and 0 <= found.pixels.min() <= found.pixels.max() <= 1
            again = tmp_path / f"again{suffix}"
            write_image(again, found.pixels, found.bits if suffix in (".tif", ".tiff") else 8, found.metadata)
            assert read_image(again).pixels.shape == found.pixels.shape


@contextlib.contextmanager
def most_pixels(count):
    """Damaged headers promise huge pictures, which are another test's."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = count
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@functools.cache
def _model_files():
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in (small_photo_network(), small_burst_network()):
            save_network(Path(folder) / "model.safetensors", network)
            found[network.kind] = (Path(folder) / "model.safetensors").read_bytes()
    return found


@given(file=st.deferred(lambda: damaged(_model_files())))
def test_damaged_models_are_loaded_or_refused_in_one_line(tmp_path, file):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file[1])
    try:
        network = deconvnet.load_model(path)
    except DeconvnetError as error:
        assert "\n" not in str(error) and path.name in str(error)
    else:
        assert network.kind in ("photo", "burst")


#: Values that JSON may hold in the place of any setting.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 60) | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data(), which=st.sampled_from(["photo", "burst"]))
def test_models_with_any_configuration_are_loaded_or_refused_in_one_line(tmp_path, data, which):
    network = small_photo_network() if which == "photo" else small_burst_network()
    config = copy.deepcopy(network.config)
    inner = config["scales"][0] if "scales" in config and data.draw(st.booleans()) else config
    inner[data.draw(st.sampled_from(sorted(inner)) | st.text(max_size=3))] = data.draw(json_values)
    record = {"kind": network.kind, "network": network.name, "config": config, "training": {}}
    path = tmp_path / "model.safetensors"
    save_arrays(path, network.state(), record)
    try:
        deconvnet.load_model(path)
    except DeconvnetError as error:
        assert "\n" not in str(error) and path.name in str(error)


def _pairs(rng, side):
    """Functions of the layers and operations, each with an array that it takes, by name."""
    psf = rng.random((3, 5))
    weights = rng.standard_normal((2, 3))
    return {
        "quotient": (lambda x: quotient(x, x[..., ::-1], 0.5)[0], (2, 2, side, side + 1)),
        "recombine": (lambda x: recombine(x, weights.astype(x.dtype)), (2, 3, side, 7)),
        "conv": (lambda x: conv(x, np.ones((2, 3, 3, 3), x.dtype), border="same"), (2, 3, side, side + 2)),
        "psf_support": (lambda x: psf_support(x, 3)[0], (2, side, side)),
        "psf_softmax": (lambda x: psf_softmax(x, 3), (4, 9)),
        "fba": (lambda x: fba(x)[0], (2, 3, side, side)),
        "edge_taper": (lambda x: edge_taper(x, 3), (2, side, side + 3)),
        "extend_periodically": (lambda x: extend_periodically(x, (side + 4, side + 6)), (3, side, side + 1)),
        "resample": (lambda x: resample(x, (5, side + 2)), (2, side, side + 1)),
        "differences": (lambda x: np.stack(differences(x)), (2, side, side + 1)),
        "psf_to_otf": (lambda x: psf_to_otf(x, (side, side)), (2, 5, 5)),
        "convolve": (lambda x: convolve(x, psf.astype(x.dtype), "reflect"), (2, side, side + 1)),
        "filter_flow": (lambda x: filter_flow(x, np.ones((1, 2, 3, 3), x.dtype) / 9), (side + 10, side + 20)),
        "luminance": (luminance, (side, side, 3)),
        "linear_to_srgb": (linear_to_srgb, (side, 3)),
        "srgb_to_linear": (srgb_to_linear, (side, 3)),
        "psf_error": (lambda x: psf_error(x, x[..., ::-1] + 1), (2, side, side)),
    }


@given(
    name=st.sampled_from(sorted(_pairs(np.random.default_rng(0), 9))),
    side=st.integers(8, 24),
    dtype=st.sampled_from(["float32", "float64"]),
    order=st.sampled_from(["F", "reversed", "strided", "read-only"]),
    seed=st.integers(0, 99),
)
def test_the_order_in_memory_changes_nothing(name, side, dtype, order, seed):
    rng = np.random.default_rng(seed)
    function, shape = _pairs(rng, side)[name]
    plain = rng.random(shape).astype(dtype)
    match order:
        case "F":
            other = np.asfortranarray(plain)
        case "reversed":
            other = np.ascontiguousarray(plain[::-1, ..., ::-1])[::-1, ..., ::-1]
        case "strided":
            other = np.repeat(plain, 2, axis=-1)[..., ::2]
        case _:
            other = plain.copy()
            other.flags.writeable = False
    expected, found = function(plain), function(other)
    assert found.dtype == expected.dtype and found.real.dtype == dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == "float32" else 1e-9, atol=1e-6)
    np.testing.assert_array_equal(other, plain)
