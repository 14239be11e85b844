"""Layers with hand-written gradients: ``from deconvnet.layers import Quotient``.

One file per layer: the pure pair ``f`` / ``f_backward`` and, directly under it, the thin class. A class is imported
when it is first asked for; the pairs are in the files, for instance `deconvnet.layers.quotient.quotient_backward`.

===================  =====================================================================  =======================
layer                what it does                                                           file
===================  =====================================================================  =======================
`Conv`               2-D convolution, border "valid" or "same"                              `conv`
`Conv3x3`            3×3 convolution, channels last, with a rectifier                       `conv3x3`
`Recombine`          mixes the channels of every pixel: a 1×1 convolution                   `recombine`
`Tanh`, `Relu`       element-wise non-linearities                                           `tanh`, `relu`
`Features`           convolution, tanh and recombinations in one pass                       `features`
`GradientTargets`    `Features` for half of the images, gradients for the other half        `gradient_targets`
`EdgeTaper`          fades the borders of images to zero                                    `edge_taper`
`Quotient`           regularised division of spectra: a PSF, or an image, from pairs        `quotient`
`PsfSupport`         crops a raw PSF, clips it at zero, and normalises it                   `psf_support`
`ImageEstimation`    latent image from a blurry one and a PSF                               `image_estimation`
`Dense`              fully connected                                                        `dense`
`BurstDense`         fully connected over a burst, equivariant to the order of its frames   `dense`
`PsfSoftmax`         PSFs out of logits                                                     `psf_softmax`
`WhitenedBands`      frequency bands of 65×65 patches, whitened                             `bands`
`CoefficientNet`     small network across the frames at each coefficient                    `coefficient`
`SpectralFilter`     a predicted filter times the DFT of a patch                            `spectral_filter`
`LearnableFBA`       Fourier burst accumulation with learned weights                        `fba`
`RelativeSpectra`    each frame's spectrum over that of the burst's mean                    `relative_spectra`
`PsfConsistency`     how far PSFs are from explaining these ratios                          `relative_spectra`
===================  =====================================================================  =======================

`Layer` and `Parameter`, of which they are made, are in `base`; losses of patches and PSFs are in `losses`.
"""

from __future__ import annotations

import importlib
from typing import Any

#: The file that each name stands in.
_FILE_OF = {
    "BurstDense": "dense",
    "CoefficientNet": "coefficient",
    "Conv": "conv",
    "Conv3x3": "conv3x3",
    "Dense": "dense",
    "EdgeTaper": "edge_taper",
    "Features": "features",
    "GradientTargets": "gradient_targets",
    "ImageEstimation": "image_estimation",
    "Layer": "base",
    "LearnableFBA": "fba",
    "Parameter": "base",
    "PsfConsistency": "relative_spectra",
    "PsfSoftmax": "psf_softmax",
    "PsfSupport": "psf_support",
    "Quotient": "quotient",
    "Recombine": "recombine",
    "RelativeSpectra": "relative_spectra",
    "Relu": "relu",
    "SpectralFilter": "spectral_filter",
    "Tanh": "tanh",
    "WhitenedBands": "bands",
}

__all__ = [*_FILE_OF]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_FILE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FILE_OF})
