"""Options that several subcommands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

__all__ = ["Subparsers", "add_device", "add_quiet", "add_threads"]

if TYPE_CHECKING:  # argparse knows its own type as a generic only while it is checked
    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option ``--device``."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto: the GPU if there is one"
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """The option ``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return count


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option ``--threads``."""
    parser.add_argument(
        "--threads",
        type=_count,
        metavar="N",
        help="processor threads (default: OMP_NUM_THREADS, or as many as the process may use)",
    )
