"""``python -m deconvnet`` and ``deconvnet``: the command line in a process of its own."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import NoReturn

from deconvnet.cli.main import main

__all__ = ["run"]

#: Objects that are made before Python looks for garbage: numba makes a million when it is loaded, and none is garbage.
COLLECTION = 50_000


def run() -> NoReturn:
    """Run the command line and end the process at once: taking apart what numba has loaded takes a quarter second."""
    gc.set_threshold(COLLECTION)
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
