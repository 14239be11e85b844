"""The parser of the command line, and how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Iterator, Sequence

from deconvnet._version import __version__
from deconvnet.cli.burst import add_burst
from deconvnet.cli.inspect import add_inspect
from deconvnet.cli.models import add_models
from deconvnet.cli.photo import add_photo
from deconvnet.errors import exit_status, say
from deconvnet.parallel import threads

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deconvnet", description="Learned blind deconvolution of photographs and hand-held bursts."
    )
    parser.add_argument("--version", action="version", version=f"deconvnet {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (add_burst, add_photo, add_inspect, add_models):
        add(commands)
    return parser


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"deconvnet: {message}")
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 2 for anything that the user can mend (one line on standard error), 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    with _plain_warnings(), threads(getattr(options, "threads", None)):
        return exit_status("deconvnet", lambda: options.run(options), interrupted="interrupted, nothing written")
