"""The process that restores for the page: it stays, tells how far it is, and can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from deconvnet import parallel
from deconvnet.progress import Progress, watched
from deconvnet.work.items import Item
from deconvnet.work.workers import Outcome, attempt

__all__ = ["Worker"]

#: Seconds between two looks at what the process says, and the least between two things that it says of one step.
LOOK = 0.1


def _serve(connection: Connection, threads: int | None) -> None:
    """In the process: restore what comes until nobody asks any more."""
    import deconvnet.restore.burst.deblur
    import deconvnet.restore.photo.deblur  # noqa: F401  both take a while, and nobody waits yet

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that serves the page
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lock, said = threading.Lock(), ("", -LOOK)

    def tell(progress: Progress) -> None:
        nonlocal said
        with lock:  # steps are updated from several threads
            words, now = progress.words, time.monotonic()
            if words == said[0] and now - said[1] < LOOK and progress.done != progress.total:
                return
            said = words, now
            connection.send(progress)

    with parallel.threads(threads), contextlib.suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            with watched(tell):
                outcome = attempt(item)
            connection.send(outcome)


class Worker:
    """Runs work items one after the other in a process of its own.

    A run that needs more memory than there is ends that process and not the page.

    Parameters
    ----------
    threads : int or None
        For the restoration; None for as many as the process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._stopped = False

    def start(self) -> None:
        """Start the process if it does not run."""
        if self._process is not None and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._threads), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is seen

    async def run(self, item: Item, tell: Callable[[Progress], None]) -> Outcome:
        """Run an item when those before it are done.

        Parameters
        ----------
        item : PhotoItem or BurstItem
        tell : callable
            Gets every `Progress` that the process sends.

        Returns
        -------
        Outcome
            ``failed`` if it was stopped, or if the process died.
        """
        async with self._turn:
            self._stopped = False
            self.start()
            connection = self._connection
            assert connection is not None
            try:
                connection.send(item)
                while True:
                    while not connection.poll():
                        await asyncio.sleep(LOOK)
                    message = connection.recv()
                    if isinstance(message, Outcome):
                        return message
                    tell(message)
            except (EOFError, OSError):
                why = "stopped" if self._stopped else "the process that restored has died: there was not enough memory"
                return Outcome(item, "failed", why)

    def stop(self) -> None:
        """End what is running: its output is not written."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None
