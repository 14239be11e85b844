"""Whatever the shape, type, order in memory and values: pictures go through files and functions as promised."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import deconvnet
from deconvnet.errors import DeconvnetError
from deconvnet.files.formats import WITH_ALPHA
from deconvnet.io import check_writable, read_image, write_image

LOSSLESS = {".png": (8, 16), ".tif": (8, 16, 32), ".bmp": (8,)}
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


@quick
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


@quick
@given(picture=pictures(), psf=hnp.arrays("uint8", st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_deconvolve_keeps_the_shape_or_says_why_not(picture, psf):
    found = _check(lambda image: deconvnet.deconvolve(image, psf, method="wiener", device="cpu"), picture)
    assert found is None or found.shape == picture.shape


@settings(quick, max_examples=15)
@given(pair=pictures(least=63, most=68), channels_first=st.booleans())
def test_bursts_keep_the_axes_or_say_why_not(pair, channels_first):
    axis = 0 if channels_first else -1
    given_pair = np.moveaxis(pair, -1, 0) if channels_first and pair.ndim == 3 else pair
    options = {"method": "mean", "register": "none", "device": "cpu", "channel_axis": axis}
    found = _check(lambda image: deconvnet.deblur_burst([image, image], **options), given_pair)
    assert found is None or found.shape == given_pair.shape
    assert (found is None) == (min(pair.shape[:2]) < 65 or (pair.ndim == 3 and pair.shape[-1] not in (1, 3)))


@quick
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


@quick
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
