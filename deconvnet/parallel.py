"""The one level of parallelism: independent chunks of work on one pool of threads.

A loop over patches, windows, channels, tiles or examples calls `run` or `ordered_map`. Inside a chunk everything is
single-threaded: compiled kernels release the interpreter and loop on their own, linear algebra is held to one thread,
and a nested call runs inline. So no thread ever waits for another one in the middle of its work, which on a busy
machine costs more than threads bring. Chunks do not depend on the number of threads, and neither do the results.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from deconvnet.errors import DeconvnetError

__all__ = ["inside", "ordered_map", "run", "thread_count", "threads"]

T = TypeVar("T")
R = TypeVar("R")

#: Environment variables by which users limit the threads of numerical programs; the least of them counts.
VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")

_chosen: int | None = None  # by `threads`
_here = threading.local()  # .inside: whether this thread works on a chunk


@functools.cache
def _cgroup_limit() -> float:
    """Processors that a container grants this process, infinite without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return float("inf") if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup/cpu")
        granted, span = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return granted / span if granted > 0 else float("inf")
    return float("inf")


def inside() -> bool:
    """Whether this thread works on a chunk."""
    return getattr(_here, "inside", False)


def thread_count() -> int:
    """Threads that `run` uses, and that a library may be given.

    Returns
    -------
    int
        1 within a chunk. Else what `threads` asked for; else the least of ``OMP_NUM_THREADS``, ``NUMBA_NUM_THREADS``,
        the processors that this process may run on, and those that its container grants. At least 1.
    """
    if inside():
        return 1
    if _chosen is not None:
        return _chosen
    wishes = [int(text) for text in map(os.environ.get, VARIABLES) if text and text.isdigit() and int(text) > 0]
    if wishes:
        return min(wishes)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(available, int(_cgroup_limit() + 0.5) if _cgroup_limit() < available else available))


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Use this many threads within the block, in the whole process; None changes nothing.

    Raises
    ------
    DeconvnetError
        If the number is less than 1.
    """
    global _chosen
    if count is not None and count < 1:
        raise DeconvnetError(f"the number of threads must be at least 1, not {count}")
    before = _chosen
    _chosen = before if count is None else int(count)
    try:
        yield
    finally:
        _chosen = before


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="deconvnet")


# A forked process has none of the threads: it makes its own when it needs them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _pool.cache_clear())


class _SingleThreadedBlas:
    """While anybody is inside, the linear algebra libraries use one thread; after the last one, as many as before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0

    @functools.cached_property
    def controller(self):
        import numpy.linalg  # noqa: F401  the libraries must be loaded to be found
        import scipy.linalg  # noqa: F401
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.limit = self.controller.limit(limits=1, user_api="blas")

    def __exit__(self, *_) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.limit.restore_original_limits()


_single_threaded_blas = _SingleThreadedBlas()


def run(function: Callable[[int, int], object], count: int, chunk: int = 1) -> None:
    """Call ``function(begin, end)`` for ranges that cover 0..count, on the pool.

    Parameters
    ----------
    function : callable
        Works on the items begin..end − 1; calls must not depend on each other. Their order is not fixed: each must
        write to places of its own, so that results are the same bits for any number of threads.
    count : int
        Number of items.
    chunk : int
        Items of a call, at most; must not depend on the number of threads.

    Raises
    ------
    Exception
        The first that a call raised; chunks that have not begun by then are left out.

    Examples
    --------
    >>> import numpy as np
    >>> squares = np.empty(5)
    >>> def fill(begin, end):
    ...     squares[begin:end] = np.arange(begin, end) ** 2
    >>> run(fill, 5, chunk=2)
    >>> squares
    array([ 0.,  1.,  4.,  9., 16.])
    """
    starts = range(0, count, chunk)
    if inside():
        for begin in starts:
            function(begin, min(begin + chunk, count))
        return
    workers = min(thread_count(), len(starts))
    turns = itertools.count()  # each next() is one step of the interpreter: no chunk is taken twice
    failed = threading.Event()

    def work() -> None:
        _here.inside = True
        try:
            while not failed.is_set() and (turn := next(turns)) < len(starts):
                function(starts[turn], min(starts[turn] + chunk, count))
        except BaseException:
            failed.set()
            raise
        finally:
            _here.inside = False

    with _single_threaded_blas:
        if workers <= 1:
            work()
            return
        jobs = [_pool(workers).submit(contextvars.copy_context().run, work) for _ in range(workers)]
        try:
            wait(jobs)
        except BaseException:  # Ctrl-C: the others stop after the chunks they are at
            failed.set()
            wait(jobs)
            raise
        for job in jobs:
            job.result()


def ordered_map(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``[function(item) for item in items]``, on the pool.

    Parameters
    ----------
    function : callable
        Calls must not depend on each other.
    items : iterable

    Returns
    -------
    list
        In the order of the items.
    """
    items = items if isinstance(items, Sequence) else list(items)
    found: list = [None] * len(items)

    def fill(begin: int, end: int) -> None:
        for i in range(begin, end):
            found[i] = function(items[i])

    run(fill, len(items))
    return found
