"""Known motions are found, registered frames stay as they are, strangers are left out."""

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter, map_coordinates, shift

from deconvnet.backend import to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.restore.burst.registration import find_motion, register, sharpness

STILL = np.eye(3)


def _moved(image, motion):
    """The picture as a camera would see it whose frames ``motion`` brings back: frame(x) = image(motion x)."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(float)
    u, v, w = np.einsum("ij,jhw->ihw", motion, np.stack([x, y, np.ones_like(x)]))
    return map_coordinates(image, [v / w, u / w], order=5, mode="mirror")


def _farthest(shape, a, b):
    """Largest distance at the corners between two motions."""
    corners = np.array([[0, 0, 1], [shape[1], 0, 1], [shape[1], shape[0], 1], [0, shape[0], 1]], dtype=float)
    a, b = corners @ a.T, corners @ b.T
    return np.abs(a[:, :2] / a[:, 2:] - b[:, :2] / b[:, 2:]).max()


@pytest.mark.parametrize("down, right", [(0.37, -0.62), (-5.5, 3.25), (14.8, 21.3), (-30.1, -12.6)])
def test_shifts_are_found_to_a_tenth_of_a_pixel(camera, rng, down, right):
    frame = shift(camera, (-down, -right), order=5, mode="mirror") + 0.01 * rng.standard_normal(camera.shape)
    motion, correlation = find_motion(camera, frame, "translation")
    np.testing.assert_allclose(motion, [[1, 0, right], [0, 1, down], [0, 0, 1]], atol=0.1)
    assert correlation > 0.95


def test_shifts_are_found_between_differently_blurred_frames(camera, rng):
    across, down = np.full((1, 9), 1 / 9), np.full((9, 1), 1 / 9)
    moved = shift(camera, (2.4, -3.3), order=5, mode="mirror")
    reference = convolve(camera, across) + 0.01 * rng.standard_normal(camera.shape)
    frame = 0.9 * convolve(moved, down) + 0.01 * rng.standard_normal(camera.shape)
    motion, _ = find_motion(reference, frame, "translation")
    np.testing.assert_allclose(motion[:2, 2], [3.3, -2.4], atol=0.1)


@pytest.mark.parametrize("method", ["homography", "auto"])
def test_a_homography_is_found(camera, rng, method):
    angle = np.deg2rad(2.0)
    truth = np.array([[np.cos(angle), -np.sin(angle), 7.0], [np.sin(angle), np.cos(angle), -4.0], [5e-5, -3e-5, 1.0]])
    frame = gaussian_filter(_moved(camera, truth), 1.0) + 0.01 * rng.standard_normal(camera.shape)
    motion, _ = find_motion(camera, frame, method)
    assert _farthest(camera.shape, motion, truth) < 0.3


def test_a_large_turn_is_found_by_features(camera):
    angle = np.deg2rad(25.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    middle = np.array([[1, 0, 127.5], [0, 1, 127.5], [0, 0, 1.0]])
    truth = middle @ turn @ np.linalg.inv(middle)
    motion, correlation = find_motion(camera, _moved(camera, truth), "homography")
    # What the mirrored border shows is not in the reference, so a little of the corners is uncertain.
    assert _farthest(camera.shape, motion, truth) < 1.0
    assert correlation > 0.9


def test_motion_is_found_in_the_pixels_of_large_pictures(camera):
    large = np.kron(camera, np.ones((4, 4))).astype(np.float32)  # four times, so looked at in a smaller copy
    large = gaussian_filter(large, 2)
    motion, _ = find_motion(large, shift(large, (-9.0, 6.0), order=1, mode="mirror"), "translation")
    np.testing.assert_allclose(motion[:2, 2], [-6.0, 9.0], atol=0.1)


def test_auto_takes_a_translation_where_that_is_all(camera):
    motion, _ = find_motion(camera, shift(camera, (3.3, 1.2), order=5, mode="mirror"), "auto")
    np.testing.assert_array_equal(motion[:, :2], STILL[:, :2])


@pytest.mark.parametrize("method", ["auto", "translation", "homography"])
def test_registered_frames_are_not_touched(camera, rng, method):
    across, down = np.full((1, 5), 1 / 5), np.full((5, 1), 1 / 5)
    frames = [camera, convolve(camera, across), convolve(camera, down)]
    frames = [(f + 0.005 * rng.standard_normal(f.shape)).astype(np.float32) for f in frames]
    result = register(frames, method)
    assert result.crop == (slice(0, 256), slice(0, 256))
    for before, after in zip(frames, result.frames):
        np.testing.assert_array_equal(before, after)


def test_frames_are_laid_on_the_reference_and_cropped_to_common_ground(camera):
    offsets = [(0, 0), (4.5, -2.25), (-3.0, 6.0)]
    frames = [shift(camera, o, order=5, mode="mirror") for o in offsets]
    result = register(frames, "translation", reference=0)
    assert result.crop == (slice(3, 251), slice(3, 250)) or result.crop == (slice(4, 251), slice(3, 250))
    inner = camera[result.crop]
    for frame in result.frames:
        assert frame.shape == inner.shape and frame.dtype == camera.dtype
        assert np.abs(frame - inner)[4:-4, 4:-4].mean() < 0.01


@pytest.mark.parametrize("method", ["translation", "homography"])
def test_frames_are_resampled_on_their_device(camera, device, method):
    frames = [camera, shift(camera, (3.3, -2.6), order=3, mode="mirror")]
    expected = register(frames, method, reference=0)
    found = register([to_device(frame, device) for frame in frames], method, reference=0)
    assert type(found.frames[1]) is type(to_device(camera, device))
    assert found.crop == expected.crop
    np.testing.assert_allclose(to_host(found.frames[1]), expected.frames[1], atol=1e-5)


def test_the_frames_given_stay_in_their_list(camera):
    frames = [camera, shift(camera, (2, 2), order=1, mode="mirror")]
    register(frames, "translation")
    assert frames[0] is camera and frames[1] is not None


def test_colour_frames_move_as_a_whole(astronaut):
    frame = shift(astronaut, (2, -3, 0), order=1, mode="mirror")
    result = register([astronaut, frame], "translation", reference=0)
    for registered in result.frames:
        assert np.abs(registered - astronaut[result.crop])[5:-5, 5:-5].mean() < 0.005


def test_the_sharpest_frame_is_the_reference(camera):
    frames = [gaussian_filter(camera, s) for s in (2.0, 0.5, 1.0)]
    assert sharpness(frames[1]) > sharpness(frames[2]) > sharpness(frames[0])
    assert register(frames, "none").reference == 1


def test_a_stranger_is_left_out_with_a_warning(camera, rng):
    stranger = np.rot90(gaussian_filter(rng.random(camera.shape), 3))
    stranger = (stranger - stranger.min()) / np.ptp(stranger) * 0.5
    with pytest.warns(UserWarning, match="frame 2 is left out"):
        result = register([camera, stranger, shift(camera, (2, 2), order=3, mode="mirror")], reference=0)
    assert len(result.frames) == 2 and result.motions[1] is None


def test_strangers_only_are_refused(camera, rng):
    stranger = 0.3 * gaussian_filter(rng.random(camera.shape), 3)
    with pytest.warns(UserWarning), pytest.raises(DeconvnetError, match="no frame could be laid"):
        register([camera, stranger], reference=0)


def test_flat_frames_are_refused_and_none_returns_them():
    flat = [np.full((70, 70), 0.5, dtype=np.float32)] * 2
    with pytest.warns(UserWarning), pytest.raises(DeconvnetError, match="--no-register"):
        register(flat)
    assert register(flat, "none").frames == flat


def test_an_unknown_method_is_refused(camera):
    with pytest.raises(DeconvnetError, match="unknown registration"):
        register([camera, camera], "affine")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_frame_that_was_turned_is_left_out(camera, turns):
    scene = gaussian_filter(camera, 0.7)
    with pytest.warns(UserWarning, match="frame 3 is left out"):
        found = register([scene, shift(scene, (2, 3), mode="mirror"), np.rot90(scene, turns).copy()], reference=0)
    assert found.motions[2] is None and found.frames[0].shape[0] > scene.shape[0] - 8


def test_a_stranger_is_not_the_reference_though_it_is_the_sharpest(camera, rng):
    frames = [shift(gaussian_filter(camera, 2.0), (n, 2 * n), mode="mirror") for n in range(3)]
    stranger = rng.random(camera.shape)
    with pytest.warns(UserWarning, match="frame 2 is left out"):
        found = register([frames[0], stranger, *frames[1:]])
    assert found.reference != 1 and [motion is None for motion in found.motions] == [False, True, False, False]
