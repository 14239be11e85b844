"""The time that is left of a run, from how far its step is and from what earlier runs took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from deconvnet.progress import Progress

__all__ = ["Pace", "Run"]


class Pace:
    """What every step of earlier runs took; runs of one kind go through the same steps."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, float]]] = {}

    def learn(self, kind: str, size: int, seconds: Mapping[str, float]) -> None:
        """Keep what the steps of a run took.

        Parameters
        ----------
        kind : str
        size : int
            How much there was to do: pixels of all frames.
        seconds : mapping
            Of every step, in their order.
        """
        self._known[kind] = size, dict(seconds)

    def expected(self, kind: str, size: int) -> dict[str, float]:
        """Seconds that each step will take, in proportion to the size; empty if there was no run of this kind."""
        known, seconds = self._known.get(kind, (1, {}))
        return {what: value * size / known for what, value in seconds.items()}


class Run:
    """A run that is going on.

    Parameters
    ----------
    expected : mapping
        Of `Pace.expected`.
    clock : callable
        Seconds.
    """

    def __init__(self, expected: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._expected, self._clock = dict(expected), clock
        self._begun = clock()
        self._now = Progress("", 0, None, "")
        self._since = self._begun

    @property
    def words(self) -> str:
        """What is being done."""
        return self._now.words

    def hear(self, progress: Progress) -> None:
        """A step begins or is further on."""
        if progress.what != self._now.what:
            self._since = self._clock()
        self._now = progress

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begun

    def left(self) -> float | None:
        """Seconds that are left; None as long as nothing is known.

        The step that is running is told by its own count if it has one, otherwise by earlier runs; the ones after it by
        earlier runs. In a first run only the step's own count is known: what comes after it is not told.
        """
        in_step, what = self._clock() - self._since, self._now.what
        names = list(self._expected)
        later = names[names.index(what) + 1 :] if what in names else ([] if what else names)
        if self._now.total and self._now.done:
            here: float | None = in_step * (self._now.total - self._now.done) / self._now.done
        elif what in self._expected:
            here = max(self._expected[what] - in_step, 0.0)
        else:
            here = None if what or not names else 0.0
        return None if here is None else here + sum(self._expected[name] for name in later)

    def share(self) -> float | None:
        """Share of the run that is done, in [0, 1]; None as long as nothing is known."""
        left = self.left()
        return None if left is None else self.elapsed() / max(self.elapsed() + left, 1e-9)
