"""The subcommand ``models`` of the command line."""

from __future__ import annotations

import argparse

from deconvnet.cli.options import Subparsers
from deconvnet.errors import print_out

__all__ = ["add_models"]


def add_models(commands: Subparsers) -> None:
    """Add the subcommand ``models`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser("models", help="list the trained networks that ship")
    parser.set_defaults(run=_models)


def _models(options: argparse.Namespace) -> None:
    from deconvnet.weights import shipped_models

    print_out("\n".join(f"{name:10s} {title}" for name, title in shipped_models().items()))
