"""The parser of the command line, and how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from deconvnet._version import __version__
from deconvnet.cli.app import add_app
from deconvnet.cli.batch import add_batch
from deconvnet.cli.burst import add_burst
from deconvnet.cli.info import add_info
from deconvnet.cli.inspect import add_inspect
from deconvnet.cli.models import add_models
from deconvnet.cli.photo import add_photo
from deconvnet.cli.train import add_train
from deconvnet.errors import Terminated, exit_status, print_out, say
from deconvnet.parallel import threads

__all__ = ["main"]

EXIT_STATUS = """\
exit status:
  0  all went well        1  some items of a batch failed
  2  refused: one line on standard error says what to do
  130, 143  interrupted by Ctrl-C, by SIGTERM"""


class _Parser(argparse.ArgumentParser):
    """Explains what argparse makes of a file whose name begins with a dash."""

    arguments: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        dashed = [name for name in _Parser.arguments if name.startswith("-") and Path(name).exists()]
        if dashed:
            message += f" (a file name that begins with a dash goes behind --, or as ./{dashed[0]})"
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="deconvnet",
        description="Learned blind deconvolution of photographs and hand-held bursts.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deconvnet {__version__}")
    commands: Any = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (add_burst, add_photo, add_batch, add_train, add_inspect, add_models, add_info, add_app):
        add(commands)
    return parser


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code that they come from."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its lines on damaged files: one is said already
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"deconvnet: {message}")
        yield


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: no half-written file stays behind."""

    def end(*_: Any) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tolerant_streams() -> None:
    """Characters that a stream's encoding does not have become question marks: no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit status: 0; 1 if items of a batch failed; 2 for anything that the user can mend (one line on standard
        error); 130 after Ctrl-C, 143 after SIGTERM.
    """
    _tolerant_streams()
    _Parser.arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:
        if end.code == 0:  # --help or --version, which may still wait in a buffer
            raise SystemExit(exit_status("deconvnet", lambda: print_out("", end=""))) from None
        raise
    with _plain_warnings(), _termination(), threads(getattr(options, "threads", None)):
        return exit_status("deconvnet", lambda: options.run(options), interrupted="interrupted, nothing written")
