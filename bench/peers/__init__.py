"""The peers that deconvnet is compared with, and all that imports PyTorch or another program.

PyTorch is optional, the extra ``bench``: only `load` imports the modules here that need it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from deconvnet.errors import DeconvnetError

__all__ = ["load"]


def load(name: str) -> ModuleType:
    """The module ``bench.peers.NAME``.

    Raises
    ------
    DeconvnetError
        If it needs PyTorch, which is not installed.
    """
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DeconvnetError(
            "PyTorch is not installed: pip install 'deconvnet[bench]', or leave it out with --peers none"
        ) from None
