"""Learned blind deconvolution of photographs and hand-held bursts.

`deblur_burst` restores one sharp picture from a burst of blurry frames; `load_model` reads a trained
network. Layers, networks and blur models are in the subpackages, imported by their full names.
"""

from deconvnet._version import __version__
from deconvnet.errors import DeconvnetError

__all__ = ["DeconvnetError", "__version__", "deblur_burst", "load_model"]

_LAZY = {
    "deblur_burst": ("deconvnet.restore.burst", "deblur_burst"),
    "load_model": ("deconvnet.networks.io", "load_network"),
}


def __getattr__(name):
    if name in _LAZY:
        from importlib import import_module

        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
