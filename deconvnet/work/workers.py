"""Many work items: one after the other in this process, or in several processes; each outcome as it comes.

`attempt` is all that a scheduler needs: it takes an item, which is plain data, and always returns an outcome. A process
runs one at a time: an item's warnings are collected from all of its threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deconvnet import parallel
from deconvnet.errors import DeconvnetError, Terminated
from deconvnet.work.items import Item, Result, run_item

__all__ = ["Outcome", "attempt", "attempt_all"]


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes
    ----------
    item : Item
    status : {"done", "skipped", "failed"}
    why : str
        The reason, if it was not done; warnings, if it was.
    seconds : float
    result : dict or None
        See `deconvnet.work.items.Result`.
    """

    item: Item
    status: str
    why: str = ""
    seconds: float = 0.0
    result: Result | None = None


def attempt(item: Item) -> Outcome:
    """Run an item, making the folder of its output; whatever goes wrong with it is its outcome."""
    begun = time.perf_counter()
    try:
        Path(item.output).parent.mkdir(parents=True, exist_ok=True)
        result = run_item(item)
    except DeconvnetError as error:
        return Outcome(item, "failed", str(error), time.perf_counter() - begun)
    except MemoryError:
        return Outcome(item, "failed", "not enough memory", time.perf_counter() - begun)
    except Exception as error:  # of one picture out of many: the others are worth going on for
        reason = (str(error) or "no message").splitlines()[0]
        return Outcome(item, "failed", f"{type(error).__name__}: {reason}", time.perf_counter() - begun)
    return Outcome(item, "done", "; ".join(result["warnings"]), time.perf_counter() - begun, result)


_kept = contextlib.ExitStack()
_working = False


def _prepare(threads: int) -> None:
    """In each process: its share of the threads, and signals as the one that gives it work wants them."""

    def end(*_: Any) -> None:
        if _working:
            raise Terminated  # no half-written file stays
        os._exit(143)

    _kept.enter_context(parallel.threads(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)


def _work(item: Item) -> Outcome:
    global _working
    _working = True
    try:
        return attempt(item)
    finally:
        _working = False


def attempt_all(items: Sequence[Item], jobs: int = 1) -> Generator[Outcome, None, None]:
    """Run items and yield their outcomes as they come.

    Parameters
    ----------
    items : sequence of Item
    jobs : int
        Processes; 1 runs everything in this one. Each gets its share of the threads.

    Yields
    ------
    Outcome

    Notes
    -----
    If a process dies, as those do that need more memory than there is, the items that were running are run once more,
    one at a time: the one whose process dies again has failed.
    """
    if jobs == 1 or len(items) < 2:
        yield from map(attempt, items)
        return
    waiting = deque(items)
    suspects: deque[Item] = deque()
    while waiting or suspects:
        alone = bool(suspects)
        queue = deque([suspects.popleft()]) if alone else waiting
        running: dict[Future, Item] = {}
        try:
            yield from _in_pool(queue, running, 1 if alone else jobs)
        except BrokenProcessPool:
            if alone:
                item = next(iter(running.values()))
                yield Outcome(item, "failed", "its process died, and died again: out of memory?")
            else:
                suspects.extend(running.values())


def _in_pool(queue: deque[Item], running: dict[Future, Item], jobs: int) -> Generator[Outcome, None, None]:
    """Outcomes of a queue's items; if a process dies, ``running`` holds the items that were under way."""
    threads = max(1, parallel.thread_count() // jobs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=(threads,))
    try:
        while queue or running:
            while queue and len(running) < jobs:
                running[pool.submit(_work, queue[0])] = queue[0]
                queue.popleft()
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                outcome = future.result()
                del running[future]
                yield outcome
    except BaseException:  # Ctrl-C, or whoever takes the outcomes does not want more
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
