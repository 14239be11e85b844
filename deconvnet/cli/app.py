"""The subcommand ``app`` of the command line."""

from __future__ import annotations

import argparse
import importlib.util

from deconvnet.cli.options import Subparsers, add_threads, count
from deconvnet.errors import DeconvnetError

__all__ = ["add_app"]


def add_app(commands: Subparsers) -> None:
    """Add the subcommand ``app`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "app",
        help="a page in the browser, on this computer",
        description="A page in the browser: drop a photograph or a burst, compare, download. It is served on this "
        "computer and for this computer alone; nothing is sent elsewhere.",
    )
    parser.add_argument("--port", type=count, metavar="N", help="default: the first free one from 8765 on")
    parser.add_argument("--no-browser", dest="show", action="store_false", help="do not open the page in the browser")
    add_threads(parser)
    parser.set_defaults(run=_app)


def _app(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("nicegui") is None:
        raise DeconvnetError("the page needs what is not installed: pip install 'deconvnet[app]'")
    from deconvnet.app.server import serve

    serve(options.port, show=options.show, threads=options.threads)
