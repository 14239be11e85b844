"""Dead-leaves pictures: overlapping random shapes whose sizes follow a power law, like things in natural images."""

from __future__ import annotations

import math

import numpy as np

from deconvnet.kernels.synthesis.dead_leaves import paint_leaves

__all__ = ["dead_leaves"]

SMALLEST = 4.0  # radius in pixels; with it about as many steep edges as in photographs
_OVERSAMPLING = 2  # painted twice as large and averaged, so that edges are as soft as a camera's
_LAYERS = 9  # mean number of leaves over each pixel: about one pixel in 8000 stays bare


def dead_leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    """A dead-leaves picture.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side in pixels, at least 8.

    Returns
    -------
    uint8 array (size, size)

    Raises
    ------
    ValueError
        If the size is below 8.

    Notes
    -----
    Ellipses, rectangles and regular polygons at random positions, the number of radius r falling as r⁻³ between 4
    pixels and a third of the picture: that makes the statistics independent of scale, as natural images' are (Lee,
    Mumford and Huang 2001, doi:10.1023/A:1011109015675). Every leaf has a random grey, a slope across it, and in two
    of five cases a grating as texture.
    """
    if size < 8:
        raise ValueError(f"a dead-leaves picture of side {size} is too small: at least 8")
    canvas = _OVERSAMPLING * size
    low, high = SMALLEST * _OVERSAMPLING, canvas / 3
    # Density r^-3 on [low, high] by inverting its distribution; its mean square is 2 ln(high/low)/(low^-2 − high^-2).
    span = low**-2 - high**-2
    mean_area = math.pi * 2 * math.log(high / low) / span * 0.5  # 0.5: flattened, and polygons are less than discs
    count = math.ceil(_LAYERS * (canvas + 2 * low) ** 2 / mean_area)
    radius = (low**-2 - span * rng.random(count)) ** -0.5
    flattening = rng.uniform(0.35, 1, count)
    centre = rng.uniform(-high / 2, canvas + high / 2, (count, 2))
    turn = rng.uniform(0, 2 * math.pi, count)
    shape = rng.choice([0, 0, 0, 1, 1, 3, 4, 5, 6], count)
    grey = rng.beta(2, 2, count)
    slope = rng.normal(0, 0.12, (count, 2)) / radius[:, None]
    textured = rng.random(count) < 0.4
    amplitude = np.where(textured, rng.uniform(0.02, 0.2, count), 0)
    wavelength = _OVERSAMPLING * np.exp(rng.uniform(math.log(3), math.log(24), count))
    direction = rng.uniform(0, 2 * math.pi, count)
    wave = 2 * math.pi / wavelength[:, None] * np.stack([np.sin(direction), np.cos(direction)], axis=1)
    phase = rng.uniform(0, 2 * math.pi, count)
    leaves = np.column_stack([centre, radius, radius * flattening, turn, shape, grey, slope, amplitude, wave, phase])
    image = np.clip(paint_leaves(leaves, canvas), 0, 1)
    image = image.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean(axis=(1, 3))
    return (image * 255 + 0.5).astype(np.uint8)
