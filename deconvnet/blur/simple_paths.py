"""PSFs of simple camera paths: nearly straight strokes, and two or three places where the camera paused."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deconvnet.backend import Array, to_device

__all__ = ["sample_pause_psfs", "sample_stroke_psfs"]

SAMPLES = 400  # positions along a path
LARGEST_SAG = 0.15  # of a stroke, over its length
BLOB = (0.2, 0.06)  # deviation of a pause: up to this many pixels, and up to this share of the support more


def _splat(path, light, size):
    """PSFs (M, size, size) of paths (M, T, 2) in pixels with their light (M, T), centre of mass in the middle."""
    light = light / light.sum(axis=1, keepdims=True)
    path = path - (path * light[..., None]).sum(axis=1, keepdims=True)
    reach = (size - 1) / 2
    # Shrunk, not clipped, where the centre of mass lies so far off that an end would leave the grid.
    path = path * np.minimum(1, reach / np.maximum(abs(path).max(axis=(1, 2)), 1e-9))[:, None, None]
    place = path + size // 2
    first = np.clip(np.floor(place).astype(int), 0, max(0, size - 2))
    rest = place - first
    psfs = np.zeros((len(path), size, size))
    index = np.arange(len(path))[:, None]
    for dy in (0, 1):
        for dx in (0, 1):
            weight = abs(1 - dy - rest[..., 0]) * abs(1 - dx - rest[..., 1]) * light
            np.add.at(
                psfs,
                (index, np.minimum(first[..., 0] + dy, size - 1), np.minimum(first[..., 1] + dx, size - 1)),
                weight,
            )
    return psfs.astype(np.float32)


def _turned(rng, along, across):
    """Paths (M, T, 2) whose first and second coordinate are turned by a random angle each."""
    angle = rng.uniform(0, 2 * np.pi, (len(along), 1))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * along - sine * across, sine * along + cosine * across], axis=-1)


def sample_stroke_psfs(
    rng: np.random.Generator, count: int, support: ArrayLike, size: int, *, device: str = "cpu"
) -> Array:
    """PSFs of nearly straight strokes of uneven speed.

    Parameters
    ----------
    rng : numpy.random.Generator
    count : int
        Number of PSFs, M.
    support : float array (M,)
        Length of the strokes plus one, in pixels; from 1 to `size`.
    size : int
        Side of the grid.
    device : {"cpu", "cuda"}
        Where the PSFs are wanted; they are the same.

    Returns
    -------
    float32 array (M, size, size)
        Non-negative, of sum 1, centre of mass in the middle.
    """
    t = np.linspace(-0.5, 0.5, SAMPLES)
    length = (np.asarray(support, float) - 1)[:, None]
    sag = rng.uniform(-LARGEST_SAG, LARGEST_SAG, (count, 1))
    path = _turned(rng, length * t, length * sag * (1 - 4 * t * t))
    light = 1 + rng.uniform(-1.6, 1.6, (count, 1)) * t + rng.uniform(-0.8, 0.8, (count, 1)) * np.cos(2 * np.pi * t)
    return to_device(_splat(path, np.maximum(light, 0.02), size), device)


def sample_pause_psfs(
    rng: np.random.Generator, count: int, support: ArrayLike, size: int, *, device: str = "cpu"
) -> Array:
    """PSFs of a camera that paused at two or three places and moved fast between them: compact blobs, faint bridges.

    Parameters
    ----------
    rng, count, support, size, device
        As for `sample_stroke_psfs`; the support is that of the first two places.

    Returns
    -------
    float32 array (M, size, size)
        As of `sample_stroke_psfs`.
    """
    support = np.asarray(support, float)
    length = (support - 1)[:, None]
    third = rng.uniform(-0.5, 0.5, (count, 1)), rng.uniform(-0.5, 0.5, (count, 1))
    t = np.linspace(0, 1, SAMPLES)
    # Shares of the time at each place, in between the bridges; the third pause is left out for half of them.
    pauses = rng.uniform(0.25, 1, (count, 3)) * np.column_stack([np.ones((count, 2)), rng.random(count) < 0.5])
    bridges = rng.uniform(0.01, 0.15, (count, 2)) * np.column_stack([np.ones(count), pauses[:, 2] > 0])
    ends = np.cumsum(np.stack([pauses[:, 0], bridges[:, 0], pauses[:, 1], bridges[:, 1], pauses[:, 2]], axis=1), axis=1)
    ends /= ends[:, -1:]
    along, across = np.empty((count, SAMPLES)), np.empty((count, SAMPLES))
    for i in range(count):
        times = np.concatenate([[0.0], ends[i]])
        along[i] = np.interp(t, times, np.array([-0.5, -0.5, 0.5, 0.5, third[0][i, 0], third[0][i, 0]]))
        across[i] = np.interp(t, times, np.array([0, 0, 0, 0, third[1][i, 0], third[1][i, 0]]))
    deviation = rng.uniform(0, BLOB[0], count) + rng.uniform(0, BLOB[1], count) * (support - 1)
    jitter = deviation[:, None, None] * rng.standard_normal((2, count, SAMPLES)).clip(-2, 2).transpose(1, 0, 2)
    path = _turned(rng, length * along, length * across) + jitter.transpose(0, 2, 1)
    return to_device(_splat(path, np.ones((count, SAMPLES)), size), device)
