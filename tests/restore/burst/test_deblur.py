"""From frames to one picture: what comes out, and what is refused."""

import numpy as np
import pytest
from scipy.ndimage import convolve, shift

import deconvnet
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psnr
from deconvnet.restore.burst.deblur import deblur_burst
from deconvnet.restore.burst.fba import fourier_burst_accumulation


def _shaky(picture, rng, noise=0.005):
    """Four frames of a picture, blurred in different directions, the third one sharp."""
    psfs = [np.full((1, 9), 1 / 9), np.full((9, 1), 1 / 9), np.ones((1, 1)), np.eye(7) / 7]
    if picture.ndim == 3:
        psfs = [psf[..., None] for psf in psfs]
    frames = [convolve(picture, psf, mode="mirror") + noise * rng.standard_normal(picture.shape) for psf in psfs]
    return [np.clip(f, 0, 1).astype(np.float32) for f in frames]


class _MeanNetwork:
    """Stands in for a trained network: the mean of the frames, with a known PSF for each."""

    kind, name, centre, surround, patch = "burst", "quotient", 33, 129, 65

    def to(self, device):
        return self

    def estimate_psfs(self, surrounds):
        batch, count = surrounds.shape[:2]
        psfs = np.zeros((batch, count, 9, 9), dtype=np.float32)
        psfs[..., 4, 4] = 1
        return psfs, np.zeros((batch, 1), dtype=np.float32)

    def deconvolve(self, patches, psfs, adaptation):
        return patches.mean(axis=1)[:, 16:49, 16:49]


@pytest.fixture
def grey_burst(camera, rng):
    return _shaky(camera, rng)


@pytest.fixture
def colour_burst(astronaut, rng):
    return _shaky(astronaut, rng)


def test_fba_is_sharper_than_the_mean_and_than_most_frames(camera, grey_burst):
    scores = {m: psnr(deblur_burst(grey_burst, method=m, register="none"), camera) for m in ("fba", "mean")}
    assert scores["fba"] > scores["mean"] + 5
    assert scores["fba"] > 30


@pytest.mark.parametrize("method", ["fba", "mean"])
def test_moving_frames_are_registered_first(camera, grey_burst, method):
    moved = [shift(f, s, order=3, mode="mirror") for f, s in zip(grey_burst, [(4, -7), (-6, 2), (0, 0), (3, 3)])]
    moved = [np.clip(f, 0, 1) for f in moved]
    picture = deblur_burst(moved, method=method, register="translation")
    # The sharp third frame is the reference, so the crop is known.
    still = deblur_burst(grey_burst, method=method, register="none")
    rows, columns = 256 - picture.shape[0], 256 - picture.shape[1]
    assert 9 <= rows <= 13 and 9 <= columns <= 13
    inner = picture[8:-8, 8:-8]
    height, width = inner.shape
    places = [(8 + y, 8 + x) for y in range(rows + 1) for x in range(columns + 1)]
    best = max(psnr(inner, still[y : y + height, x : x + width]) for y, x in places)
    assert best > 28


def test_types_of_frames_are_converted_by_their_own_scale(grey_burst):
    as_8 = [np.rint(f * 255).astype(np.uint8) for f in grey_burst]
    as_16 = [f.astype(np.uint16) * 257 for f in as_8]
    pictures = [deblur_burst(f, method="fba", register="none") for f in (as_8, as_16, [f / 255 for f in as_8])]
    assert pictures[0].dtype == np.float32
    for other in pictures[1:]:
        np.testing.assert_allclose(pictures[0], other, atol=1e-5)


def test_the_frames_given_are_left_untouched(colour_burst):
    before = [f.copy() for f in colour_burst]
    deblur_burst(colour_burst, method="fba")
    for a, b in zip(before, colour_burst):
        np.testing.assert_array_equal(a, b)


def test_results_lie_in_the_unit_range_and_have_the_frames_kind(colour_burst, grey_burst):
    for burst in (colour_burst, grey_burst):
        picture = deblur_burst(burst, method="fba", register="none")
        assert picture.shape == burst[0].shape and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1


@pytest.mark.parametrize("method", ["mean", "fba"])
def test_a_single_channel_axis_counts_as_grey_and_comes_back(grey_burst, method):
    with_axis = [f[..., None] for f in grey_burst]
    found = deblur_burst(with_axis, method=method, register="none")
    expected = deblur_burst(grey_burst, method=method, register="none")
    np.testing.assert_array_equal(found, expected[..., None])


def test_frames_may_come_one_by_one_and_a_list_stays_whole(colour_burst):
    expected = deblur_burst(colour_burst, method="fba", register="translation")
    assert len(colour_burst) == 4
    np.testing.assert_array_equal(deblur_burst(iter(colour_burst), method="fba", register="translation"), expected)


def test_devices_give_one_picture(grey_burst, device):
    moved = [np.roll(frame, (k, -k), axis=(0, 1)) for k, frame in enumerate(grey_burst)]
    picture = deblur_burst(moved, method="fba", register="translation", device=device)
    assert isinstance(picture, np.ndarray)
    np.testing.assert_allclose(picture, deblur_burst(moved, method="fba", register="translation"), atol=1e-4)


def test_the_network_runs_on_luminance_and_takes_colours_from_fba(colour_burst):
    picture, psfs = deblur_burst(
        colour_burst,
        model=_MeanNetwork(),
        register="none",
        stride=16,
        refine=False,
        device="cpu",
        return_psfs=True,
    )
    mean = np.mean(colour_burst, axis=0)
    error = np.abs(luminance(picture) - luminance(mean))
    assert np.median(error) < 2e-3
    fused = np.clip(fourier_burst_accumulation(colour_burst), 0, 1)
    chroma = (fused - luminance(fused)[..., None]) - (picture - luminance(picture)[..., None])
    assert np.abs(chroma).mean() < 0.01
    assert psfs.shape[2:] == (4, 9, 9)


def test_the_network_can_run_on_every_channel(colour_burst, grey_burst):
    how = {"model": _MeanNetwork(), "register": "none", "stride": 16, "refine": False, "device": "cpu"}
    picture = deblur_burst(colour_burst, channels="rgb", **how)
    np.testing.assert_allclose(picture, np.mean(colour_burst, axis=0), atol=1e-4)
    picture = deblur_burst(grey_burst, **how)
    np.testing.assert_allclose(picture, np.mean(grey_burst, axis=0), atol=1e-4)


ONE = np.full((70, 80), 0.5, dtype=np.float32)


class NeedsGradients:
    """What a tensor of another library does when it is taken as an array."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (None, {}, "the frames are of the type NoneType: a sequence of arrays"),
        ("burst/", {}, "the frames are of the type str"),
        (3, {}, "the frames are of the type int"),
        ([None, None], {}, "frame 1 (NoneType) is no array of numbers"),
        ([NeedsGradients()] * 2, {}, "frame 1 (NeedsGradients) cannot be taken as a NumPy array"),
        (np.zeros((70, 80)), {}, "frame 1 has the shape (80,)"),
        ([], {}, "at least two frames"),
        ([ONE], {}, "at least two frames"),
        ([ONE, ONE[:, :75]], {}, "frame 2 is 75×70 pixels and frame 1 is 80×70"),
        ([ONE[:64], ONE[:64]], {}, "at least 65"),
        ([ONE, np.repeat(ONE[..., None], 3, -1)], {}, "not both grey or both colour"),
        ([np.zeros((70, 70, 4))] * 2, {}, "shape"),
        ([np.zeros((2, 70, 70, 3))] * 2, {}, "shape"),
        ([ONE, np.full_like(ONE, np.nan)], {}, "frame 2 holds values that are not finite"),
        ([ONE, ONE * 255], {}, "frame 2 holds floats outside"),
        ([ONE.astype(np.int32)] * 2, {}, "type int32"),
        ([ONE, ONE], {"method": "magic"}, "unknown method"),
        ([ONE, ONE], {"channels": "lab"}, "unknown channels"),
        ([ONE, ONE], {"register": "affine"}, "unknown register"),
        ([ONE, ONE], {"device": "tpu"}, "unknown device"),
        ([ONE, ONE], {"p": -1.0}, "power p"),
        ([ONE, ONE], {"p": float("nan")}, "power p"),
        ([ONE, ONE], {"stride": 0}, "stride"),
        ([ONE, ONE], {"return_psfs": True}, "estimates no PSFs"),
        ([ONE, ONE], {"method": "network", "model": "nothing"}, "there is no model nothing: name a shipped one"),
        ([ONE, ONE], {"method": "network", "model": "no/where.safetensors"}, "there is no model no/where"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(frames, options, message):
    with pytest.raises(DeconvnetError) as refusal:
        deblur_burst(frames, **{"method": "fba", "register": "none", **options})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_model_of_another_kind_is_refused():
    network = _MeanNetwork()
    network.kind = "photo"
    with pytest.raises(DeconvnetError, match="for a photo"):
        deblur_burst([ONE, ONE], model=network)


def test_a_network_without_psfs_cannot_hand_them_out():
    class WithoutPSFs:
        kind, name = "burst", "compact"

        def to(self, device):
            return self

    with pytest.raises(DeconvnetError, match="'compact' estimates no PSFs"):
        deblur_burst([ONE, ONE], model=WithoutPSFs(), return_psfs=True)


def test_frames_with_too_little_in_common_are_refused(camera):
    small = camera[:80, :80].astype(np.float32)
    with pytest.raises(DeconvnetError, match="in common"):
        deblur_burst([small, camera[20:100, :80].astype(np.float32)], method="mean", register="translation")


def test_the_public_face_is_lazy_and_complete():
    assert deconvnet.deblur_burst is deblur_burst
    assert callable(deconvnet.load_model)
    assert set(deconvnet.__all__) <= set(dir(deconvnet))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = deconvnet.nothing_of_that_name
