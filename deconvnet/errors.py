"""The one exception that means "the user can mend this", how a command ends with it, and lines that harm nothing."""

from __future__ import annotations

import contextlib
import math
import numbers
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "DeconvnetError",
    "Terminated",
    "exit_status",
    "is_number",
    "is_whole",
    "one_of",
    "print_out",
    "say",
    "short",
]


class DeconvnetError(ValueError):
    """Input, file or device that cannot be used; the message is one line and says what to do.

    The command lines print the message and exit with status 2; a library user catches it like
    any `ValueError`.
    """


def is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether what somebody hands over is a finite real number within these bounds, and no bool."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= float(value) <= most
    )


def is_whole(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether it is a whole number within these bounds, and no bool."""
    return isinstance(value, numbers.Integral) and is_number(value, least, most)


def one_of(value: Any, names: Iterable[str], what: str) -> None:
    """Refuse what is none of some names.

    Parameters
    ----------
    value : object
    names : iterable of str
    what : str
        What the message calls it: "method".

    Raises
    ------
    DeconvnetError
    """
    if not (isinstance(value, str) and value in names):
        raise DeconvnetError(f"unknown {what} {short(value)}: use one of {', '.join(names)}")


def short(value: Any) -> str:
    """What messages call a value of any kind: one line that is not long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, but the status tells them apart."""


def say(line: str) -> None:
    """Print a line on standard error, if there is one: what cannot be said must not cost what was computed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)


def print_out(text: str, end: str = "\n") -> None:
    """Print what a command was asked for on standard output, now.

    Raises
    ------
    DeconvnetError
        If nobody can read it: a pipe that was closed, a full disk. Standard output leads nowhere from then on.
    """
    try:
        print(text, end=end, flush=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):  # what Python still holds would fail again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        reason = getattr(error, "strerror", None) or error
        raise DeconvnetError(f"standard output cannot be written: {reason}") from error


def exit_status(program: str, command: Callable[[], int | None], *, interrupted: str = "interrupted") -> int:
    """Run a command; what the user can mend becomes one line on standard error, without a traceback.

    Parameters
    ----------
    program : str
        Name in front of the line.
    command : callable
        Without arguments; returns None if all went well, or an exit status.
    interrupted : str
        What to say after Ctrl-C.

    Returns
    -------
    int
        Exit status: what the command returned, or 0; 2 after a `DeconvnetError` or if there is not enough memory;
        130 after Ctrl-C; 143 after SIGTERM, where that is raised as `Terminated`.
    """
    try:
        return command() or 0
    except DeconvnetError as error:
        message, status = str(error), 2
    except MemoryError:
        message, status = "not enough memory: use fewer or smaller pictures", 2
    except Terminated:
        message, status = interrupted, 143
    except KeyboardInterrupt:
        message, status = interrupted, 130
    say(f"{program}: {message}")
    return status
