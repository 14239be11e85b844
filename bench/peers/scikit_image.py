"""scikit-image's non-blind deconvolutions, given the true PSF."""

from __future__ import annotations

import numpy as np
from skimage.restoration import richardson_lucy, wiener

__all__ = ["METHODS", "deconvolutions"]

#: Methods, and the settings that are tried: steps, and weights of the regulariser.
METHODS = {"Richardson-Lucy": (10, 30, 100), "Wiener": (0.001, 0.01, 0.1, 1.0)}


def deconvolutions(method: str, blurry: np.ndarray, psf: np.ndarray) -> list[np.ndarray]:
    """Pictures of a method at all its settings; the border is mirrored, so that it rings less.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    blurry : float array (H, W)
        In [0, 1].
    psf : float array (h, w)

    Returns
    -------
    list of float64 array (H, W)
    """
    psf = psf.astype(np.float64)
    margin = max(psf.shape)
    padded = np.pad(blurry.astype(np.float64), margin, mode="reflect")
    if method == "Richardson-Lucy":
        found = [richardson_lucy(padded, psf, num_iter=steps) for steps in METHODS[method]]
    else:
        found = [wiener(padded, psf, balance, clip=False) for balance in METHODS[method]]
    return [picture[margin:-margin, margin:-margin] for picture in found]
