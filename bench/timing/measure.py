"""Medians of interleaved runs, the check that comes before them, and the devices they run on."""

from __future__ import annotations

import math
import statistics
import time

import numpy as np

from deconvnet.backend import array_module, resolve_device, to_device, to_host
from deconvnet.errors import DeconvnetError

__all__ = ["Device", "check_equal", "fastest_form", "interleaved", "timed"]

SHORTEST = {"cpu": 2e-3, "cuda": 1e-2}  # seconds of one sample: shorter calls are repeated within it
MOST_SAMPLES = 25
MOST_SECONDS = {"cpu": 60.0, "cuda": 1.0}  # a GPU is seldom one's own for long, and its times scatter little


class Device:
    """Where something is measured.

    Parameters
    ----------
    name : {"cpu", "cuda"}

    Raises
    ------
    DeconvnetError
        If there is no such device.
    """

    def __init__(self, name):
        self.name = resolve_device(name)
        self._module = array_module(self.array(np.zeros(1)))

    def array(self, a):
        """The array on this device, C-contiguous."""
        return to_device(np.ascontiguousarray(a), self.name)

    def sync(self):
        """Wait until the device has done all that it was asked to, by whomever."""
        if self.name == "cuda":
            self._module.cuda.Device().synchronize()

    def memory(self, call):
        """Bytes of GPU memory that a call takes from the driver beyond what is in use before; CuPy arrays only."""
        pool = self._module.get_default_memory_pool()
        pool.free_all_blocks()
        before = pool.total_bytes()
        call()
        self.sync()
        return pool.total_bytes() - before


def timed(call, sync):
    """``(seconds, result)`` of one call."""
    sync()
    begun = time.perf_counter()
    result = call()
    sync()
    return time.perf_counter() - begun, result


def interleaved(calls, device, *, seconds=3.0, least=1):
    """Median seconds of calls that take turns, so that a slow moment of the machine strikes all alike.

    Parameters
    ----------
    calls : dict of callable
        By name; each has been called before.
    device : Device
    seconds : float
        About how long all of it may take.
    least : int
        Rounds that are run however slow the calls are, after one that finds out how slow they are.

    Returns
    -------
    dict
        ``{name: {"seconds": median, "fastest": s, "slowest": s, "samples": n}}``.
    """
    seconds = min(seconds, MOST_SECONDS[device.name])
    samples = {name: [timed(call, device.sync)[0]] for name, call in calls.items()}
    repeats = {name: max(1, math.ceil(SHORTEST[device.name] / s[0])) for name, s in samples.items()}
    once = sum(repeats[name] * s[0] for name, s in samples.items())
    for name, count in repeats.items():
        if count > 1:  # the first sample was too short to count
            samples[name].clear()
            least = max(1, least)
    for _ in range(max(least, min(MOST_SAMPLES, int(seconds / once)))):
        for name, call in calls.items():
            device.sync()
            begun = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            device.sync()
            samples[name].append((time.perf_counter() - begun) / repeats[name])
    return {
        name: {"seconds": statistics.median(s), "fastest": min(s), "slowest": max(s), "samples": len(s)}
        for name, s in samples.items()
    }


def fastest_form(forms, device):
    """Which of several forms of the same computation is the fastest here.

    Parameters
    ----------
    forms : dict of callable
        By name.
    device : Device

    Returns
    -------
    name : str
    seconds : dict
        Of every form, after a call that does not count; the error's first line for one that fails.

    Raises
    ------
    DeconvnetError
        If all of them fail.
    """
    seconds = {}
    for name, call in forms.items():
        try:
            call()
            first, _ = timed(call, device.sync)
            more = 3 if first < 1 else 1 if first < 5 else 0
            seconds[name] = min([first] + [timed(call, device.sync)[0] for _ in range(more)])
        except Exception as error:  # a compiler that is not there raises all kinds of them
            seconds[name] = f"failed: {type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:120]}"
    working = {name: s for name, s in seconds.items() if not isinstance(s, str)}
    if not working:
        raise DeconvnetError(f"no form works: {seconds}")
    return min(working, key=working.get), seconds


def _host(result):
    """A result (array, tensor, or tuple of them) as a list of NumPy arrays."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [p.detach().cpu().numpy() if hasattr(p, "detach") else to_host(p) for p in parts if p is not None]


def check_equal(what, found, expected, tolerance):
    """Relative difference of two results, in norm; nothing that differs is ever timed.

    Parameters
    ----------
    what : str
        For the message.
    found, expected : array, tensor, or tuple of them
    tolerance : float
        Largest ``‖found − expected‖ / ‖expected‖`` of any part.

    Returns
    -------
    float

    Raises
    ------
    DeconvnetError
        If they differ by more.
    """
    worst = 0.0
    for f, e in zip(_host(found), _host(expected), strict=True):
        if f.shape != e.shape:
            raise DeconvnetError(f"{what}: shapes {f.shape} and {e.shape} differ, so nothing is timed")
        error = float(np.linalg.norm(f - e) / max(np.linalg.norm(e), 1e-30))
        worst = max(worst, error)
        if not error <= tolerance:
            raise DeconvnetError(
                f"{what}: the results differ by {error:.1e} of their norm (at most {tolerance:.0e} is allowed), so "
                "nothing is timed"
            )
    return worst
