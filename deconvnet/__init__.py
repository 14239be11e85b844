"""Learned blind deconvolution of photographs and hand-held bursts.

`deblur_burst` turns a burst into one picture, `deblur` restores a single photograph, `estimate_psf` finds its PSF only,
`deconvolve` takes a PSF that is known, `deblur_array` pictures larger than the memory. `load_model` reads a trained
network, `engine` chooses between compiled kernels and plain array code. They are imported when first used, so that
``import deconvnet`` is quick.
"""

from __future__ import annotations

import importlib

from deconvnet._version import __version__
from deconvnet.errors import DeconvnetError

__all__ = [
    "DeconvnetError",
    "__version__",
    "deblur",
    "deblur_array",
    "deblur_burst",
    "deconvolve",
    "engine",
    "estimate_psf",
    "load_model",
]

_LAZY = {
    "deblur": ("deconvnet.restore.photo.deblur", "deblur"),
    "deblur_array": ("deconvnet.restore.photo.tiles", "deblur_array"),
    "deblur_burst": ("deconvnet.restore.burst.deblur", "deblur_burst"),
    "deconvolve": ("deconvnet.interface", "deconvolve"),
    "engine": ("deconvnet.kernels.kernel", "engine"),
    "estimate_psf": ("deconvnet.interface", "estimate_psf"),
    "load_model": ("deconvnet.networks.io", "load_network"),
}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LAZY})
