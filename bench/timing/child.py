"""A measurement in a process of its own: seconds of the first call, and the most memory that a call takes.

A *case* is a function, named ``module:function``, that returns two calls: a small one and the one to be measured. A
fresh process imports it, makes the small call twice (the first one compiles or loads compiled code), and then watches
its resident memory while it makes the other one. Run as a program, this file is that process.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from deconvnet.errors import DeconvnetError

__all__ = ["in_child"]

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 900  # seconds


def in_child(case, arguments, *, environment=None):
    """Measure a case in a fresh process.

    Parameters
    ----------
    case : str
        ``"module:function"``.
    arguments : dict
        Of the function; anything JSON can hold.
    environment : dict, optional
        Variables beside those of this process.

    Returns
    -------
    dict
        Seconds ``"setup"`` (imports, weights, inputs), ``"first"`` and ``"second"`` (the small call), ``"call"``; and
        bytes ``"extra"`` (most resident memory during the call less that before it) and ``"process"`` (the most at
        all during the call).

    Raises
    ------
    DeconvnetError
        If the process fails.

    Notes
    -----
    On Linux the highest resident memory is set back before the call (``/proc/self/clear_refs``) and read as ``VmHWM``,
    for what `resource.getrusage` reports there may be the parent's; elsewhere `resource.getrusage` is what there is.
    """
    command = [sys.executable, "-m", "bench.timing.child", case, json.dumps(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=LONGEST
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeconvnetError(f"{case} {arguments} failed in its process: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _status(key):
    """A line of ``/proc/self/status`` in bytes, None where there is none."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def _watched(call):
    """``(bytes before, most bytes during)`` a call."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back to what is resident now
        before = _status("VmRSS")
    except OSError:
        before = None
    if before is None:
        unit = 1 if sys.platform == "darwin" else 1024
        before = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return before, unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return before, _status("VmHWM")


def _main(case, arguments):
    begun = time.perf_counter()
    module, function = case.split(":")
    small, call = getattr(importlib.import_module(module), function)(**arguments)
    marks = [begun, time.perf_counter()]
    for _ in range(2):
        small()
        marks.append(time.perf_counter())
    before, most = _watched(call)
    marks.append(time.perf_counter())
    seconds = dict(zip(("setup", "first", "second", "call"), (b - a for a, b in itertools.pairwise(marks))))
    print(json.dumps({**seconds, "extra": most - before, "process": most}))


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]))
