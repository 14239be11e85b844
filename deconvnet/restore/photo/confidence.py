"""How far the PSF that was found for a photo can be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from deconvnet import parallel
from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.restore.photo.psf_cleanup import SMALLEST_SIZE
from deconvnet.restore.photo.psf_size import extent
from deconvnet.restore.photo.refine import Fit, fit

__all__ = ["GIVEN_UP", "UNCERTAIN", "agreement", "confidence", "point_psf", "warn_if_uncertain"]

#: Below the first a user is told that the PSF has probably failed; below the second it is not used.
UNCERTAIN, GIVEN_UP = 0.3, 0.15
#: Edge pixels for each pixel of the PSF's side that are enough.
ENOUGH_EDGES = 80.0
#: Confidence without any gain over a camera held still, and the least that a PSF has which fits worse than that.
NO_GAIN, LEAST_GAIN = 0.6, 0.1
#: Agreements of PSFs that count as none at all and as full.
STRANGERS, TWINS = 0.4, 0.9


def point_psf(like: Array) -> Array:
    """The PSF of a camera held still, 3×3, with the dtype and on the device of another array."""
    psf = array_module(like).zeros((SMALLEST_SIZE, SMALLEST_SIZE), like.dtype)
    psf[SMALLEST_SIZE // 2, SMALLEST_SIZE // 2] = 1
    return psf


def agreement(psf: Array, other: Array) -> float:
    """Largest correlation of two PSFs, moved against each other, in [0, 1]."""
    xp, side = array_module(psf, other), 2 * max(len(psf), len(other))
    spectra = [rfft2(xp.pad(p / (p**2).sum() ** 0.5, (0, side - len(p)))) for p in (psf, other)]
    return float(irfft2(spectra[0].conj() * spectra[1], (side, side)).max())


def confidence(
    image: Array, psf: Array, others: Sequence[Array], border: int, *, fits: tuple[Fit, Fit] | None = None
) -> float:
    """How far a PSF can be trusted, without knowing the truth.

    Parameters
    ----------
    image : float array (H, W)
        Blurry luminance in [0, 1].
    psf : float array (k, k)
        The PSF that was chosen.
    others : sequence of float array
        What other starts have found.
    border : int
        As for `deconvnet.restore.photo.refine.fit`.
    fits : (Fit, Fit), optional
        Those of a `point_psf` and of the PSF, if they are known.

    Returns
    -------
    float
        From 0 (a guess) to 1.

    Notes
    -----
    The product of three shares: edges for each pixel of the PSF's side (80 are enough); 0.6 plus the logarithm of how
    many times its cost is below that of a point; and the mean `agreement` with the others, from 0.4 to 0.9. A
    confidence is no probability: starts can agree on the same wrong PSF.
    """
    still, found = fits or parallel.ordered_map(lambda psf: fit(image, psf, border=border), [point_psf(psf), psf])
    gain = float(np.clip(NO_GAIN + np.log(still.cost / found.cost), LEAST_GAIN, 1)) if found.cost > 0 else LEAST_GAIN
    edges = found.edges * image.size / extent(psf)
    alike = np.mean([agreement(psf, other) for other in others]) if others else 1.0
    return float(gain * min(1.0, edges / ENOUGH_EDGES) * np.clip((alike - STRANGERS) / (TWINS - STRANGERS), 0, 1))


def warn_if_uncertain(trust: float | None, *, left: bool) -> None:
    """Say that a PSF has probably failed, where its confidence is low; None is that of a PSF nobody judged.

    Parameters
    ----------
    trust : float or None
        In [0, 1], as of `confidence`.
    left : bool
        Whether a photo is left as it is when the PSF is given up.

    Warns
    -----
    UserWarning
    """
    if trust is None or trust >= UNCERTAIN:
        return
    result = "the picture is left as it is" if trust < GIVEN_UP and left else "look at the result"
    warnings.warn(
        f"the blur of this photo cannot be told with confidence ({trust:.2f} of 1; few edges, or more than one blur): "
        f"{result}; a larger part of the photo, --psf-size or --varying may help",
        stacklevel=3,
    )
