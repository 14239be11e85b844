"""Registration: the frames of a hand-held burst laid on one of them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array, array_module, ndimage, to_host
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.ops.resample import resample
from deconvnet.progress import step

__all__ = ["METHODS", "Registration", "find_motion", "register", "sharpness", "shows_the_same"]

METHODS = ("auto", "translation", "homography", "none")
#: A motion that moves no corner by more than this many pixels is left alone: with blurred frames it is within the error
#: of the estimate, and resampling costs sharpness.
STILL = 0.25
#: A richer kind of motion must leave at most this share of the misfit (1 − correlation).
BETTER = 0.85
#: Correlation of reference and laid-on frame below which they do not show the same.
SAME = 0.4
#: Correlation below which features are asked for a second opinion.
DOUBTFUL = 0.7
#: Share of the reference that a frame must cover.
OVERLAP = 0.5
#: Motion is looked for in pictures scaled down to this many pixels.
LOOK_PIXELS = 500_000
#: Fewer matches than this that agree with one homography are no evidence.
MIN_MATCHES = 12
#: Pixels that must overlap, in the smaller copies, on each side.
MIN_COMMON = 32
#: So many of the sharpest frames are tried as the reference, if fewer than half of all can be laid on it.
REFERENCES = 3
_BAND = (2.0, 16.0)  # standard deviations of the band-pass in which frames are compared
#: Of the band-passed copies every so many-th pixel is taken each way, which holds all that they have.
SPARSER = 2
_TO_BAND = np.diag([1 / SPARSER, 1 / SPARSER, 1.0])


class Registration(NamedTuple):
    """What `register` returns.

    Attributes
    ----------
    frames : list of real arrays (H', W') or (H', W', 3)
        The registered frames that were kept, all cropped alike, in their order, on the device of those given.
    reference : int
        Index, among the frames given, of the one that stayed.
    motions : list of float64 array (3, 3) or None
        For each frame given, the homography from its pixels (x, y, 1) to the reference's; None if it was left out.
    crop : (slice, slice)
        Rows and columns of the reference that all kept frames cover.
    """

    frames: list[Array]
    reference: int
    motions: list[np.ndarray | None]
    crop: tuple[slice, slice]


def sharpness(frame: Array) -> float:
    """Gradient energy, by which the reference is chosen: the mean of ``|∇(G * Y)|²``.

    Parameters
    ----------
    frame : real array (H, W) or (H, W, 3)
        In [0, 1]. Y is its luminance, G a Gaussian of 1 px against noise.

    Returns
    -------
    float
    """
    smooth = ndimage(frame).gaussian_filter(luminance(frame), 1.0)
    return sum(float((array_module(frame).diff(smooth, axis=axis) ** 2).mean()) for axis in (0, 1))


def _warp(picture: Array, motion: np.ndarray) -> Array:
    """The picture (H, W) or (H, W, C) laid on the reference by its motion: one cubic-spline resampling."""
    xp, filters = array_module(picture), ndimage(picture)
    channels = picture[..., None] if picture.ndim == 2 else picture
    out = xp.empty_like(channels)
    if np.array_equal(motion[:, :2], np.eye(3)[:, :2]):
        right, down = motion[:2, 2].tolist()
        for c in range(channels.shape[-1]):
            out[..., c] = filters.shift(channels[..., c], (down, right), order=3, mode="mirror")
        return out.reshape(picture.shape)
    height, width = picture.shape[:2]
    rows, columns = xp.arange(height)[:, None], xp.arange(width)
    x, y, scale = (a * columns + b * rows + c for a, b, c in np.linalg.inv(motion).tolist())
    where = xp.stack((y / scale, x / scale)).astype(np.float32 if max(height, width) < 4096 else np.float64)
    for c in range(channels.shape[-1]):
        out[..., c] = filters.map_coordinates(channels[..., c], where, order=3, mode="mirror")
    return out.reshape(picture.shape)


def _corners(shape: tuple[int, int], motion: np.ndarray) -> np.ndarray:
    """Where the corners (x, y) of a frame (top left, top right, bottom right, bottom left) come to lie: (4, 2)."""
    height, width = shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [width - 1, height - 1, 1], [0, height - 1, 1]], dtype=float)
    moved = corners @ motion.T
    return moved[:, :2] / moved[:, 2:]


def _covered(shape: tuple[int, int], motions: Iterable[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns of the reference inside every frame: slices, empty ones if there are none."""
    top, left, bottom, right = 0.0, 0.0, shape[0] - 1.0, shape[1] - 1.0
    for motion in motions:
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = _corners(shape, motion)
        top, left = max(top, y0, y1), max(left, x0, x3)
        bottom, right = min(bottom, y2, y3), min(right, x1, x2)
    slack = 1e-6  # of a pixel: rounding must not cost a row
    rows = slice(int(np.ceil(top - slack)), max(int(np.floor(bottom + slack)) + 1, 0))
    return rows, slice(int(np.ceil(left - slack)), max(int(np.floor(right + slack)) + 1, 0))


class _Look:
    """What is compared of a frame: its luminance in a smaller copy, the band-pass of it, features if asked for.

    The copies are on the CPU: they are small, and features are found there.
    """

    def __init__(self, frame: Array) -> None:
        luma = to_host(luminance(frame))
        scale = min(1.0, np.sqrt(LOOK_PIXELS / luma.size))
        shape = tuple(max(1, round(side * scale)) for side in luma.shape)
        self.luma = luma if scale == 1 else resample(luma, shape)
        # Without its finest detail, which blur and noise change, and for the band without its slow shading too.
        # The wide Gaussian is the narrow one followed by another, which needs only the pixels that are kept.
        narrow, wide = _BAND
        fine = ndimage(luma).gaussian_filter(self.luma, narrow)
        self.smooth = np.ascontiguousarray(fine[::SPARSER, ::SPARSER])
        self.band = self.smooth - ndimage(luma).gaussian_filter(self.smooth, np.sqrt(wide**2 - narrow**2) / SPARSER)
        sy, sx = (small / side for small, side in zip(self.luma.shape, luma.shape))
        # Pixel centres are half a pixel from the corner in both copies.
        to_small = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        self.to_band = _TO_BAND @ to_small

    def enlarge(self, motion: np.ndarray) -> np.ndarray:
        """A motion between the bands as one between the frames themselves."""
        full = np.linalg.inv(self.to_band) @ motion @ self.to_band
        return full / full[2, 2]

    @functools.cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """SIFT keypoints (x, y) and descriptors; empty for a picture without any."""
        from skimage.feature import SIFT

        detector: Any = SIFT()
        try:
            detector.detect_and_extract(self.luma)
        except RuntimeError:  # SIFT's word for "nothing found"
            return np.empty((0, 2)), np.empty((0, 128))
        return detector.keypoints[:, ::-1].astype(float), detector.descriptors


def _covered_parts(
    reference: _Look, frame: _Look, motion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, slice, slice] | None:
    """Where both are known: the reference's band, the laid-on frame's, and their rows and columns; None if nowhere."""
    rows, columns = _covered(reference.band.shape, [motion])
    least = MIN_COMMON // SPARSER
    if rows.stop - rows.start < least or columns.stop - columns.start < least:
        return None
    return reference.band[rows, columns], _warp(frame.band, motion)[rows, columns], rows, columns


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / norm) if norm > 0 else -1.0


def _likeness(reference: _Look, frame: _Look, motion: np.ndarray) -> float:
    """Correlation of the bands under a motion; −1 without common ground."""
    parts = _covered_parts(reference, frame, motion)
    return -1.0 if parts is None else _correlation(*parts[:2])


def _find_translation(reference: _Look, frame: _Look) -> np.ndarray:
    """Motion between the bands by cross-correlation of the windowed, smoothed luminances, to a tenth of a pixel.

    Plain, not phase correlation: that trusts all frequencies alike, and a blurred frame has lost the high ones.
    """
    from skimage.registration import phase_cross_correlation

    smooth, least = (reference.smooth, frame.smooth), MIN_COMMON // SPARSER
    height, width = reference.smooth.shape
    found = np.zeros(2)
    # The window draws the estimate towards zero; a second look at the parts that fit to the pixel mends that.
    for _ in range(2):
        down, right = (round(float(s)) for s in found)
        if abs(down) > height - least or abs(right) > width - least:
            break
        a = smooth[0][max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
        b = smooth[1][max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
        window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])
        shift = phase_cross_correlation(
            (a - a.mean()) * window, (b - b.mean()) * window, upsample_factor=10, normalization=None
        )[0]
        found = np.array([down, right]) + shift
    return np.array([[1, 0, found[1]], [0, 1, found[0]], [0, 0, 1]])


def _find_by_features(reference: _Look, frame: _Look) -> np.ndarray | None:
    """Motion by SIFT features and RANSAC, or None if too few agree."""
    from skimage.feature import match_descriptors
    from skimage.measure import ransac
    from skimage.transform import ProjectiveTransform

    (points, descriptors), (reference_points, reference_descriptors) = frame.features, reference.features
    if min(len(points), len(reference_points)) < MIN_MATCHES:
        return None
    pairs = match_descriptors(descriptors, reference_descriptors, max_ratio=0.8, cross_check=True)
    if len(pairs) < MIN_MATCHES:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about degenerate samples, which are thrown away
        model, agree = ransac(
            (points[pairs[:, 0]], reference_points[pairs[:, 1]]),
            ProjectiveTransform,
            min_samples=4,
            residual_threshold=2.0,
            max_trials=2000,
            rng=0,
        )
    if model is None or agree is None or agree.sum() < MIN_MATCHES:
        return None
    return model.params / model.params[2, 2]


def _refine(reference: _Look, frame: _Look, motion: np.ndarray, kind: str) -> tuple[np.ndarray, float]:
    """Motion with the highest correlation near a first one, and that correlation (−1 if there is none).

    Gauss-Newton on ``‖W(frame) − α · reference − J δ‖²`` over the gain α and the update δ of the motion (two numbers
    for a translation, eight for a homography), where J holds the derivatives of the laid-on frame: the enhanced
    correlation coefficient of Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113.
    """
    height, width = reference.band.shape
    radius = max(height, width) / 2  # coordinates of order one keep the equations well conditioned
    normalise = np.array(
        [[1 / radius, 0, (1 - width) / 2 / radius], [0, 1 / radius, (1 - height) / 2 / radius], [0, 0, 1]]
    )
    best, highest = motion, -1.0
    for _ in range(30):
        parts = _covered_parts(reference, frame, motion)
        if parts is None:
            break
        a, b, rows, columns = parts
        correlation = _correlation(a, b)
        if not correlation > highest + 1e-6:
            break
        best, highest = motion, correlation
        dy, dx = (g * radius for g in np.gradient(b))
        if kind == "homography":
            v = (np.arange(rows.start, rows.stop)[:, None] - (height - 1) / 2) / radius
            u = (np.arange(columns.start, columns.stop) - (width - 1) / 2) / radius
            along = dx * u + dy * v
            derivatives = [dx * u, dx * v, dx, dy * u, dy * v, dy, -along * u, -along * v]
        else:
            derivatives = [dx, dy]
        basis = np.stack([column.ravel() for column in (a, *derivatives)]).astype(np.float64)
        try:
            change = np.linalg.solve(basis @ basis.T, basis @ b.ravel())[1:]
        except np.linalg.LinAlgError:  # no structure in some direction
            break
        update = np.eye(3)
        if kind == "homography":
            update.ravel()[:8] += change
        else:
            update[:2, 2] = change
        motion = np.linalg.inv(normalise) @ update @ normalise @ motion
        if not (np.isfinite(motion).all() and abs(motion[2, 2]) > 0.1):
            break
        motion = motion / motion[2, 2]
    return best, highest


def _plausible(shape: tuple[int, int], motion: np.ndarray) -> bool:
    """Whether a motion keeps the frame's orientation and roughly its size: a camera in the hand does."""
    corners = _corners(shape, motion)
    to_next = np.roll(corners, -1, axis=0) - corners
    turn = to_next[:, 0] * np.roll(to_next, -1, axis=0)[:, 1] - to_next[:, 1] * np.roll(to_next, -1, axis=0)[:, 0]
    area = shape[0] * shape[1]
    return bool((turn > area / 4).all() and (turn < area * 4).all())


def _find(reference: _Look, frame: _Look, method: str) -> tuple[np.ndarray, float]:
    """`find_motion` between two `_Look`."""
    still = np.eye(3)
    first = max((still, _find_translation(reference, frame)), key=lambda m: _likeness(reference, frame, m))
    found = [(still, _likeness(reference, frame, still)), _refine(reference, frame, first, "translation")]
    if method != "translation":
        start = found[1][0] if found[1][1] > 0 else first
        homography = _refine(reference, frame, start, "homography")
        if homography[1] < DOUBTFUL:
            matched = _find_by_features(reference, frame)
            if matched is not None:
                start = _TO_BAND @ matched @ np.linalg.inv(_TO_BAND)
                homography = max(homography, _refine(reference, frame, start, "homography"), key=lambda f: f[1])
        found = [*found, homography] if method == "auto" else [found[0], homography]
    motion, correlation = found[0]
    for richer, reached in found[1:]:
        if 1 - reached < BETTER * (1 - correlation) and _plausible(reference.band.shape, richer):
            motion, correlation = richer, reached
    return reference.enlarge(motion), correlation


def find_motion(reference: Array, frame: Array, method: str = "auto") -> tuple[np.ndarray, float]:
    """Motion of one frame relative to another of the same size.

    Parameters
    ----------
    reference, frame : real array (H, W) or (H, W, 3)
        In [0, 1].
    method : {"auto", "translation", "homography"}
        See `register`.

    Returns
    -------
    motion : float64 array (3, 3)
        Homography from the frame's pixels (x, y, 1) to the reference's.
    correlation : float
        Of the two, band-passed, where they overlap under that motion: 1 if alike, near 0 if they show different things.
    """
    return _find(_Look(reference), _Look(frame), method)


def shows_the_same(reference: Array, frame: Array) -> bool:
    """Whether `register` would lay the frame on the reference.

    Parameters
    ----------
    reference, frame : real array (H, W) or (H, W, 3)
        Of one size, in [0, 1].
    """
    motion, correlation = find_motion(reference, frame)
    return correlation >= SAME and _overlaps(reference.shape[:2], motion)


def _overlaps(shape: tuple[int, int], motion: np.ndarray) -> bool:
    """Whether a frame that moved so covers enough of the reference."""
    rows, columns = _covered(shape, [motion])
    return (rows.stop - rows.start) * (columns.stop - columns.start) >= OVERLAP * shape[0] * shape[1]


def _motions(
    frames: list[Array], reference: int, method: str, progress: bool
) -> tuple[list[np.ndarray | None], list[str]]:
    """Motions of frames to one of them, None for those that are left out, and why these are."""
    shape, look = frames[0].shape[:2], _Look(frames[reference])

    def find(index: int) -> tuple[np.ndarray, float]:
        found = (np.eye(3), 1.0) if index == reference else _find(look, _Look(frames[index]), method)
        registering.update()
        return found

    with step("registering", len(frames), "frame", shown=progress) as registering:
        found = parallel.ordered_map(find, range(len(frames)))
    motions: list[np.ndarray | None] = []
    reasons = []
    for number, (motion, correlation) in enumerate(found, start=1):
        if correlation < SAME:
            reasons.append(
                f"frame {number} is left out: its motion was not found (correlation {max(correlation, 0):.2f})"
            )
            motions.append(None)
        elif not _overlaps(shape, motion):
            reasons.append(f"frame {number} is left out: it covers less than half of the reference")
            motions.append(None)
        elif np.abs(_corners(shape, motion) - _corners(shape, np.eye(3))).max() < STILL:
            motions.append(np.eye(3))
        else:
            motions.append(motion)
    return motions, reasons


def register(
    frames: Iterable[Array], method: str = "auto", reference: str | int = "sharpest", *, progress: bool = False
) -> Registration:
    """Lay all frames on one of them.

    Parameters
    ----------
    frames : iterable of real arrays (H, W) or (H, W, 3)
        At least two, of one size, in [0, 1]. They are resampled on their device; motion is found on the CPU.
    method : {"auto", "translation", "homography", "none"}
        The motion to look for. ``"auto"`` takes for each frame the simplest of none, a translation and a homography
        that is not clearly worse than the next; ``"none"`` returns the frames as they are.
    reference : "sharpest" or int
        The frame that stays: that of the highest `sharpness` on which half of all can be laid, or the one of this
        index.
    progress : bool
        Show a bar.

    Returns
    -------
    Registration
        The registered frames cropped to what all of them cover, and how they came to lie.

    Raises
    ------
    DeconvnetError
        If no frame can be laid on the reference, or the method is unknown.

    Warns
    -----
    UserWarning
        For each frame that is left out: its motion was not found, or it covers less than half of the reference.

    Notes
    -----
    On band-passed luminances of at most half a megapixel: cross-correlation finds the translation, and Gauss-Newton
    steps raise the correlation coefficient over translations or homographies (Evangelidis & Psarakis 2008,
    doi:10.1109/TPAMI.2008.113), which blur and gain disturb little: at low frequencies the phase of a PSF is
    that of its centre of mass, and it is these centres that come to lie on each other. If the correlation stays
    low, SIFT features and RANSAC give another start. Frames that would move by less than 0.25 px are left untouched;
    others are resampled once, by cubic splines.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).random((100, 110)), 1.5)
    >>> found = register([scene[:90, :100], scene[4:94, 7:107]], "translation", reference=0)
    >>> found.motions[1].round(1)  # what is in the corner of the second frame is at (7, 4) in the first
    array([[1., 0., 7.],
           [0., 1., 4.],
           [0., 0., 1.]])
    >>> found.frames[0].shape == found.frames[1].shape == scene[:90, :100][found.crop].shape
    True
    """
    if method not in METHODS:
        raise DeconvnetError(f"unknown registration {method!r}: use one of {', '.join(METHODS)}")
    kept: list[Any] = list(frames)
    del frames
    shape = kept[0].shape[:2]
    if reference == "sharpest":
        energies = parallel.ordered_map(sharpness, kept)
        candidates = sorted(range(len(kept)), key=lambda index: -energies[index])[:REFERENCES]
    else:
        candidates = [int(reference)]
    if method == "none":
        whole = slice(0, shape[0]), slice(0, shape[1])
        return Registration(kept, candidates[0], [np.eye(3)] * len(kept), whole)
    tried: list[tuple[int, int, list[np.ndarray | None], list[str]]] = []
    for candidate in candidates:
        motions, reasons = _motions(kept, candidate, method, progress)
        laid = sum(motion is not None for motion in motions)
        tried.append((laid, candidate, motions, reasons))
        if laid >= max(2, len(kept) / 2):
            break  # else the frame may be a stranger itself
    laid, reference, motions, reasons = max(tried, key=lambda attempt: attempt[0])
    for reason in reasons:
        warnings.warn(reason, stacklevel=2)
    if laid < 2:
        raise DeconvnetError(
            f"no frame could be laid on frame {reference + 1}, the reference: do they show the same? "
            "If they are registered already, use --no-register (register='none')"
        )
    crop = _covered(shape, [m for m in motions if m is not None])

    def lay(index: int) -> Array:
        frame, kept[index] = kept[index], None  # nobody else may need it any more: a burst fills the memory
        motion = motions[index]
        laid = frame if motion is None or np.array_equal(motion, np.eye(3)) else _warp(frame, motion)
        return array_module(frame).ascontiguousarray(laid[crop])

    kept = [frame if motion is not None else None for frame, motion in zip(kept, motions)]
    registered = parallel.ordered_map(lay, [index for index, motion in enumerate(motions) if motion is not None])
    return Registration(registered, reference, motions, crop)
