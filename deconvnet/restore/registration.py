"""Registration of a hand-held burst to its sharpest frame, by library routines.

Blurry frames have few corners but all of their low frequencies, so a translation is read from the
cross-correlation of band-passed luminances. Rotation and perspective need features.
"""

from __future__ import annotations

import warnings

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.restore.colour import luminance

__all__ = ["METHODS", "register", "sharpest_frame"]

METHODS = ("auto", "translation", "homography", "none")
STILL = 0.1  # px: frames that moved less everywhere are not resampled, which would soften them
MATCHES = 12  # fewest consistent feature pairs for a homography
GAIN = 0.97  # a homography must bring the frame this much closer to the reference than the translation


def sharpest_frame(luma):
    """Index of the frame (N, H, W) with the largest mean squared gradient."""
    energy = [(np.diff(f, axis=0) ** 2).mean() + (np.diff(f, axis=1) ** 2).mean() for f in luma]
    return int(np.argmax(energy))


def _band_pass(luma):
    """Details between about 2 and 12 px, faded at the borders: what blur leaves and light does not change."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import window

    return (gaussian_filter(luma, 1.5) - gaussian_filter(luma, 8)) * window("hann", luma.shape)


def _translation(reference, moving):
    """Matrix that takes reference coordinates (x, y) to those of the moving frame."""
    from skimage.registration import phase_cross_correlation

    shift, _, _ = phase_cross_correlation(reference, moving, upsample_factor=50, normalization=None)
    return np.array([[1, 0, -shift[1]], [0, 1, -shift[0]], [0, 0, 1.0]])


def _features(luma):
    from scipy.ndimage import gaussian_filter
    from skimage.feature import ORB

    detector = ORB(n_keypoints=1500, fast_threshold=0.03)
    try:
        detector.detect_and_extract(gaussian_filter(luma, 1.0))
    except (RuntimeError, ValueError):  # no keypoints at all
        return None
    return detector.keypoints[:, ::-1], detector.descriptors


def _homography(reference, moving):
    """As `_translation`, with rotation and perspective, from matched features; None if too few agree."""
    from skimage.feature import match_descriptors
    from skimage.measure import ransac
    from skimage.transform import ProjectiveTransform

    if reference is None or moving is None:
        return None
    pairs = match_descriptors(reference[1], moving[1], cross_check=True, max_ratio=0.9)
    if len(pairs) < MATCHES:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate samples are RANSAC's daily bread
        model, inliers = ransac(
            (reference[0][pairs[:, 0]], moving[0][pairs[:, 1]]),
            ProjectiveTransform,
            min_samples=4,
            residual_threshold=1.5,
            max_trials=2000,
            rng=0,
        )
    if inliers is None or inliers.sum() < MATCHES:
        return None
    return model.params


def _warp(image, matrix):
    from skimage.transform import ProjectiveTransform, warp

    return warp(image, ProjectiveTransform(matrix), order=3, mode="edge").astype(np.float32)


def _corners(shape):
    height, width = shape
    return np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1.0]])


def _motion(matrix, shape):
    """Largest displacement of a corner in pixels."""
    corners = _corners(shape)
    moved = corners @ matrix.T
    return float(np.abs(moved[:, :2] / moved[:, 2:] - corners[:, :2]).max())


def _covered(matrix, shape):
    """Mask of the reference's pixels that lie within the moving frame."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    place = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    u, v = place[0] / place[2], place[1] / place[2]
    return ((u >= 0) & (u <= shape[1] - 1) & (v >= 0) & (v <= shape[0] - 1)).reshape(shape)


def _largest_crop(mask):
    """Slices of a rectangle within the mask: from each side, cut while its border line is not covered."""
    top, bottom, left, right = 0, mask.shape[0], 0, mask.shape[1]
    while top < bottom and left < right:
        inside = mask[top:bottom, left:right]
        gaps = {
            "top": 1 - inside[0].mean(),
            "bottom": 1 - inside[-1].mean(),
            "left": 1 - inside[:, 0].mean(),
            "right": 1 - inside[:, -1].mean(),
        }
        side = max(gaps, key=gaps.get)
        if gaps[side] == 0:
            break
        top, bottom = top + (side == "top"), bottom - (side == "bottom")
        left, right = left + (side == "left"), right - (side == "right")
    return slice(top, bottom), slice(left, right)


def register(frames, method="auto", *, reference=None, progress=False):
    """Bring all frames of a burst into the coordinates of one of them.

    Parameters
    ----------
    frames : float32 array (N, H, W) or (N, H, W, 3)
    method : {"auto", "translation", "homography", "none"}
        ``auto`` takes the translation, and the homography of matched features for frames that it brings
        closer to the reference.
    reference : int, optional
        Frame that stays; the sharpest by default.
    progress : bool
        Show a bar.

    Returns
    -------
    registered : float32 array (N, h, w) or (N, h, w, 3)
        Cropped to the area that all frames cover. Frames that did not move are passed on untouched.
    crop : (slice, slice)
        Rows and columns of that area in the reference.

    Raises
    ------
    DeconvnetError
        If the method is unknown, or the frames hardly overlap.

    Notes
    -----
    One cubic resampling per frame. Sub-pixel translations: `skimage.registration.phase_cross_correlation`
    (1/50 px) on details between 2 and 12 px; homographies: ORB features and RANSAC.
    """
    from tqdm import tqdm

    if method not in METHODS:
        raise DeconvnetError(f"unknown registration {method!r}: use one of {', '.join(METHODS)}")
    shape = frames.shape[1:3]
    everything = (slice(0, shape[0]), slice(0, shape[1]))
    if method == "none":
        return frames, everything
    luma = luminance(frames) if frames.ndim == 4 else frames
    reference = sharpest_frame(luma) if reference is None else reference
    details = _band_pass(luma[reference])
    features = _features(luma[reference]) if method != "translation" else None
    mask = np.ones(shape, dtype=bool)
    registered = []
    for i in tqdm(range(len(frames)), desc="registering", disable=not progress, leave=False):
        if i == reference:
            registered.append(frames[i])
            continue
        matrix = _translation(details, _band_pass(luma[i]))
        if method != "translation":
            full = _homography(features, _features(luma[i]))
            if full is None and method == "homography":
                raise DeconvnetError(
                    f"frame {i + 1} has too few features in common with frame {reference + 1}: "
                    "leave it out, or register by translation"
                )
            if full is not None and (method == "homography" or _closer(luma, i, reference, full, matrix)):
                matrix = full
        if _motion(matrix, shape) < STILL:
            registered.append(frames[i])
            continue
        registered.append(_warp(frames[i], matrix))
        mask &= _covered(matrix, shape)
    crop = _largest_crop(mask)
    height, width = (s.stop - s.start for s in crop)
    if height * width < 0.25 * shape[0] * shape[1]:
        raise DeconvnetError("the frames hardly overlap: are they of one scene? Leave the odd ones out")
    return np.stack([frame[crop] for frame in registered]), crop


def _closer(luma, i, reference, full, translation):
    """Whether the homography explains the frame clearly better than the translation."""
    inside = _covered(full, luma.shape[1:]) & _covered(translation, luma.shape[1:])
    if inside.mean() < 0.25:
        return False
    target = luma[reference]
    errors = [((_warp(luma[i], m) - target)[inside] ** 2).mean() for m in (full, translation)]
    return errors[0] < GAIN * errors[1]
