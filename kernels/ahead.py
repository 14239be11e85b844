"""Compiling ahead: what a command needs, by several processes at once.

Numba compiles under a lock of its own, so that threads bring nothing. At the first function that is not on disk yet,
all that the command will need is shared out among a few processes, which leave their code on disk; then it goes on.
Whatever they leave out, for whatever reason, is compiled where it is needed.

``ahead.json`` says what a command needs, the most expensive first; `bench/compiled_ahead.py` writes it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import importlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from numba import types
from numba.core import event

from deconvnet import parallel
from deconvnet.kernels import compiled

__all__ = ["EVENT", "Entry", "entries", "needs", "notation"]

#: Kind of the events by which numba's listeners hear how many functions of how many are compiled.
EVENT = "deconvnet:ahead"
#: More processes than this would wait for the function that takes longest, and each takes a quarter of a gigabyte.
MOST_PROCESSES = 6
#: Seconds of compiling below which starting processes does not pay.
LEAST_SECONDS = 3.0
TABLE = Path(__file__).with_name("ahead.json")

_START = "import sys; sys.path[:] = sys.argv[1:]; from deconvnet.kernels.ahead import serve; serve()"

_needed: contextvars.ContextVar[tuple[str, int]] = contextvars.ContextVar("deconvnet.ahead", default=("", 1))
_settled: set[str] = set()  # commands for which nothing more is to be started
_lock = threading.Lock()


class Entry(NamedTuple):
    """A function that is called from Python, or through its address, for given types.

    Attributes
    ----------
    module, name : str
    kinds : list
        Types of the arguments in `notation`.
    seconds : float
        What compiling it took once, with all that is compiled into it.
    """

    module: str
    name: str
    kinds: list[Any]
    seconds: float

    def dispatcher(self) -> Any:
        importlib.import_module(self.module)
        return compiled.dispatchers[self.module, self.name]

    def signature(self) -> tuple[types.Type, ...]:
        return tuple(map(_kind, self.kinds))


def notation(kind: types.Type) -> Any:
    """A numba type as JSON.

    ``"float32"``, ``"float32 2d C"`` or ``"float32 2d C readonly"``, a list for a tuple, an object for a named one.
    """
    if isinstance(kind, types.Array):
        if not kind.aligned:
            raise TypeError(f"no notation for {kind!r}")
        return f"{kind.dtype} {kind.ndim}d {kind.layout}" + ("" if kind.mutable else " readonly")
    if isinstance(kind, types.BaseTuple):
        parts = [notation(part) for part in kind.types]
        named = getattr(kind, "instance_class", None)
        return parts if named is None else {f"{named.__module__}:{named.__qualname__}": parts}
    if not isinstance(kind, (types.Number, types.Boolean)):
        raise TypeError(f"no notation for {kind!r}")
    return str(kind)


def _kind(found: Any) -> types.Type:
    """The type of a `notation`."""
    if isinstance(found, list):
        return types.BaseTuple.from_types(tuple(map(_kind, found)))
    if isinstance(found, dict):
        ((name, parts),) = found.items()
        module, _, named = name.partition(":")
        return types.BaseTuple.from_types(
            tuple(map(_kind, parts)), pyclass=getattr(importlib.import_module(module), named)
        )
    name, *array = found.split()
    number = types.boolean if name == "bool" else getattr(types, name)
    return types.Array(number, int(array[0][:-1]), array[1], readonly="readonly" in array) if array else number


@functools.cache
def entries(name: str) -> list[Entry]:
    """What a command needs, ``"photo"`` or ``"burst"``, the most expensive first."""
    return [Entry(*fields) for fields in json.loads(TABLE.read_text(encoding="utf-8"))[name]]


@contextlib.contextmanager
def needs(name: str) -> Iterator[None]:
    """Whatever of a command is missing on disk is compiled by several processes, when the first of it is called.

    Parameters
    ----------
    name : str
        A key of ``ahead.json``: for work that calls (nearly) all functions that stand there. An empty one changes
        nothing.

    Notes
    -----
    As many processes as `deconvnet.parallel.thread_count` allows threads. With one, without a folder on disk, or
    where Python is part of another program, functions are compiled one by one as they are called.
    """
    token = _needed.set((name, parallel.thread_count()))
    try:
        yield
    finally:
        _needed.reset(token)


def _compile_missing() -> bool:
    """Told when a function is not on disk: whether it is worth looking again."""
    name, threads = _needed.get()
    if threads < 2 or not name or name in _settled or not _is_plain_python():
        return False
    with _lock:
        if name not in _settled:
            missing = [entry for entry in entries(name) if not _is_kept(entry)]
            if sum(entry.seconds for entry in missing) >= LEAST_SECONDS:
                _compile(missing, min(threads, MOST_PROCESSES, len(missing)))
            _settled.add(name)
    return True


def _is_plain_python() -> bool:
    """Whether ``sys.executable`` starts another Python: not where Python is part of another program."""
    return not getattr(sys, "frozen", False) and Path(sys.executable or "none").name.lower().startswith("python")


def _is_kept(entry: Entry) -> bool:
    return compiled.is_kept(entry.dispatcher(), entry.signature())


def _compile(missing: list[Entry], count: int) -> None:
    """Have these entries compiled by so many processes, and wait for them; what they leave out is no error."""
    command = [sys.executable, "-c", _START, *(folder for folder in sys.path if folder)]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    turns, answers, processes = iter(missing), queue.SimpleQueue[bool](), []

    def feed(process: subprocess.Popen[str]) -> None:
        """Give a process one function after the other, until it ends or there are none."""
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it was killed
            for entry in turns:  # each next() is one step of the interpreter: none is taken twice
                process.stdin.write(f"{json.dumps(entry)}\n")
                process.stdin.flush()
                if not process.stdout.readline():
                    break
                answers.put(True)
        answers.put(False)

    progress = {"done": 0, "total": len(missing)}
    try:
        with contextlib.suppress(OSError):  # no more processes are allowed
            for _ in range(count):
                process = subprocess.Popen(command, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0), **options)
                processes.append(process)
                threading.Thread(target=feed, args=(process,), daemon=True).start()
        running = len(processes)
        while running:
            _tell(event.EventStatus.START, progress)
            if answers.get():
                progress["done"] += 1
            else:
                running -= 1
    finally:
        for process in processes:
            process.kill()
            process.wait()
        _tell(event.EventStatus.END, progress)


def _tell(status: event.EventStatus, progress: dict[str, int]) -> None:
    event.broadcast(event.Event(EVENT, status, data=dict(progress)))


def serve() -> None:
    """One of the processes: compiles what the lines of the standard input name, and answers each with a line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that waits, which ends this one
    gc.disable()  # numba makes millions of objects: a sixth of the time, for some tens of megabytes
    for line in sys.stdin:
        entry = Entry(*json.loads(line))
        with contextlib.suppress(Exception):  # it will be raised where it is needed
            entry.dispatcher().compile(entry.signature())
        print(flush=True)


compiled.when_missing.append(_compile_missing)
