"""Steps of long work: their progress line, how long they took, and that something is being compiled.

Everything that may take seconds runs in a `step`. Its line is drawn only where somebody sees it, and never stops the
work: a terminal that goes away does not cost the picture. `recorded` collects the seconds of every step, `watched`
hears how far the steps are.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

__all__ = ["Progress", "Step", "recorded", "step", "watched"]

#: Said instead of the step's name while numba compiles, which it does once on a machine.
COMPILING = "compiling {}, only this once"
#: The same while several processes compile what a command needs.
COMPILING_AHEAD = "compiling, only this once: {done} of {total}"

_records: list[dict[str, float]] = []  # those of the `recorded` blocks that are running
_watchers: list[Callable[[Progress], None]] = []  # those of the `watched` blocks that are running
_running: list[_Line] = []  # the steps that are running, the innermost last
_lock = threading.Lock()


class Progress(NamedTuple):
    """How far a step is: what a watcher gets (see `watched`).

    Attributes
    ----------
    what : str
        The step, as in `recorded`.
    done : int
    total : int or None
        None if it cannot be told.
    words : str
        What to say: ``what``, or that something is being compiled.
    """

    what: str
    done: int
    total: int | None
    words: str


class Step(Protocol):
    """What `step` gives: where the work says how far it is."""

    def update(self, amount: int = 1) -> None:
        """Say that so many more of the total are done."""


class _Line:
    """A step and, where it is shown, its line."""

    def __init__(self, what: str, total: int | None, unit: str, shown: bool) -> None:
        self.what, self.bar = what, None
        self.done, self.total = 0, total
        if shown and _is_terminal(sys.stderr):
            from tqdm import tqdm

            with _harmless():
                self.bar = tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, file=sys.stderr)

    def update(self, amount: int = 1) -> None:
        self.done += amount
        self.tell(self.what)
        if self.bar is not None:
            with _harmless():
                self.bar.update(amount)

    def tell(self, words: str) -> None:
        """Say to all watchers how far the step is."""
        for watch in list(_watchers):
            watch(Progress(self.what, self.done, self.total, words))

    def say(self, what: str) -> None:
        """Other words in front of the bar."""
        self.tell(what)
        if self.bar is not None:
            with _harmless():
                self.bar.set_description(what)

    def close(self) -> None:
        if self.bar is not None:
            with _harmless():
                self.bar.close()


def _is_terminal(stream) -> bool:
    """Whether somebody sees what is written to a stream; None and closed ones are no terminals."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _harmless() -> contextlib.suppress:
    """What a terminal that has gone away raises is not worth the picture."""
    return contextlib.suppress(OSError, ValueError)


@functools.cache
def _listen_to_compiler() -> None:
    """Let the innermost step that is shown or watched say what numba compiles."""
    from numba.core import event

    def shown() -> _Line | None:
        with _lock:
            return next((line for line in reversed(_running) if line.bar is not None or _watchers), None)

    class Listener(event.Listener):
        def on_start(self, event) -> None:
            if line := shown():
                line.say(self.words(event.data))

        def words(self, data) -> str:
            return COMPILING.format(data["dispatcher"].py_func.__name__.strip("_"))

        def on_end(self, event) -> None:
            if line := shown():
                line.say(line.what)

    class Ahead(Listener):
        def words(self, data) -> str:
            return COMPILING_AHEAD.format(**data)

    event.register("numba:compile", Listener())
    event.register("deconvnet:ahead", Ahead())  # of `deconvnet.kernels.ahead`


@contextlib.contextmanager
def step(what: str, total: int | None = None, unit: str = "it", *, shown: bool = False) -> Iterator[Step]:
    """A step of long work.

    Parameters
    ----------
    what : str
        What is done, as it stands in front of the line and in `recorded`.
    total : int, optional
        How much there is to do; without it there is no time left to tell.
    unit : str
        Of the total.
    shown : bool
        Draw a line on standard error, if that is a terminal.

    Yields
    ------
    Step
        Its ``update(amount)`` says how much more is done.

    Examples
    --------
    >>> with recorded() as seconds:
    ...     with step("adding", total=3) as adding:
    ...         for _ in range(3):
    ...             adding.update()
    >>> list(seconds)
    ['adding']
    """
    if "numba" in sys.modules:
        _listen_to_compiler()
    line, begun = _Line(what, total, unit, shown), time.perf_counter()
    with _lock:
        _running.append(line)
    line.tell(what)
    try:
        yield line
    finally:
        line.close()
        with _lock:
            _running.remove(line)
            for record in _records:
                record[what] = record.get(what, 0.0) + time.perf_counter() - begun


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, float]]:
    """Collect the seconds of all steps that end within the block, of all threads.

    Yields
    ------
    dict
        ``{step: seconds}``, filled as steps end; steps of the same name are added up, and a step within another one
        counts in both.
    """
    record: dict[str, float] = {}
    with _lock:
        _records.append(record)
    try:
        yield record
    finally:
        with _lock:
            _records[:] = [other for other in _records if other is not record]


@contextlib.contextmanager
def watched(watch: Callable[[Progress], None]) -> Iterator[None]:
    """Hear of all steps within the block, of all threads, when they begin and whenever more is done.

    Parameters
    ----------
    watch : callable
        Gets a `Progress`, in the thread that does the work.

    Examples
    --------
    >>> with watched(lambda progress: print(progress.what, progress.done, progress.total)), step("adding", 2) as adding:
    ...     adding.update()
    adding 0 2
    adding 1 2
    """
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)
