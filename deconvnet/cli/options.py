"""Options that several subcommands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

__all__ = ["Subparsers", "add_device", "add_json", "add_output", "add_part", "add_quiet", "add_threads", "count"]

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


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument("--json", action="store_true", help="say on standard output, as JSON, what was done")


def count(text: str) -> int:
    """A whole number from 1 up: for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option ``--threads``."""
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="processor threads (default: OMP_NUM_THREADS, or as many as the process may use)",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """The options ``--output`` and ``--bits``."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT.png", help="the picture to write; its suffix tells the format"
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(8, 16, 32),
        help="bits a channel of OUT, 32 being floats (default: those of the input, as far as the format has them)",
    )


def _rectangle(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("four whole numbers x,y,width,height are wanted, in pixels") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError("x and y must be at least 0, width and height at least 1")
    return x, y, width, height


def add_part(parser: argparse.ArgumentParser) -> None:
    """The options ``--only`` and ``--preview``."""
    part = parser.add_argument_group("to try something")
    part.add_argument(
        "--only",
        type=_rectangle,
        metavar="X,Y,W,H",
        help="restore and write only this part, in pixels from the top left",
    )
    part.add_argument(
        "--preview",
        action="store_true",
        help="restore only a part (--only, or 512×512 pixels of the middle), and write it beside what it was",
    )
