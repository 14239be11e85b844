"""Writes ``kernels/ahead.json``: what `deblur` of a photo and `deblur_burst` compile, the most expensive first.

::

    python bench/compiled_ahead.py           # writes the table anew
    python bench/compiled_ahead.py --show    # says what is compiled though the table was used, which should be nothing

Every command runs in a process of its own with an empty folder for compiled functions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

COMMANDS = ("photo", "burst")


def recorded(run: Callable[[], Any]) -> list[list[Any]]:
    """Fields of `deconvnet.kernels.ahead.Entry` for what Python code compiles in this process while ``run`` runs."""
    import threading
    import time

    from numba.core import event

    from deconvnet.kernels.ahead import notation

    found, stack = [], threading.local()

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            stack.begun = [*getattr(stack, "begun", []), time.thread_time()]

        def on_end(self, event: Any) -> None:
            begun = stack.begun.pop()
            if not stack.begun:  # not for another function's sake
                function, kinds = event.data["dispatcher"].py_func, list(map(notation, event.data["args"]))
                found.append([function.__module__, function.__qualname__, kinds, round(time.thread_time() - begun, 2)])

    with event.install_listener("numba:compile", Listener()):
        run()
    return sorted(found, key=lambda fields: -fields[-1])


def run(command: str) -> None:
    """What a command does with pictures that take all of its ways."""
    import numpy as np

    import deconvnet
    from deconvnet.blur.convolve import convolve

    rng = np.random.default_rng(0)
    scene = rng.random((44, 64, 3)).repeat(8, 0).repeat(8, 1).astype(np.float32)
    shakes = [np.eye(7, dtype=np.float32) / 7, np.eye(7, dtype=np.float32)[::-1] / 7]
    if command == "photo":
        blurry = np.stack([convolve(scene[..., c], shakes[0], border="valid") for c in range(3)], -1)
        deconvnet.deblur(np.clip(blurry + 0.005 * rng.standard_normal(blurry.shape), 0, 1), device="cpu")
    else:
        frames = [np.stack([convolve(scene[..., c], k, border="valid") for c in range(3)], -1) for k in shakes]
        noisy = [np.clip(frame + 0.005 * rng.standard_normal(frame.shape), 0, 1) for frame in frames]
        deconvnet.deblur_burst(noisy, device="cpu")


def compiled_by(command: str, *, ahead: bool) -> list[list[Any]]:
    """What the process of a command compiles itself, with or without others that do it ahead of it."""
    with tempfile.TemporaryDirectory() as folder:
        threads = {"OMP_NUM_THREADS": "2" if ahead else "1", "NUMBA_NUM_THREADS": "2" if ahead else "1"}
        done = subprocess.run(
            [sys.executable, __file__, "--within", command],
            env={**os.environ, **threads, "NUMBA_CACHE_DIR": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--within", choices=COMMANDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within:
        print(json.dumps(recorded(lambda: run(options.within))))
        return
    table = {command: compiled_by(command, ahead=options.show) for command in COMMANDS}
    rows = {command: ",\n  ".join(map(json.dumps, found)) for command, found in table.items()}
    text = "{\n" + ",\n".join(f' "{command}": [\n  {found}\n ]' for command, found in rows.items()) + "\n}\n"
    if options.show:
        print(text)
    else:
        from deconvnet.kernels.ahead import TABLE

        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
