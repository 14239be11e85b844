"""Pack a folder of photographs into one file to train from elsewhere: `python -m train.pack_photographs DIR OUT.npz`.

The training commands take the file where they take a folder, and part it into the same photographs to learn from and
to validate on.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from deconvnet.blur.packed_photographs import pack_photographs
from deconvnet.blur.photographs import MIN_SIDE, load_photographs
from deconvnet.errors import exit_status

from .command import positive

PROGRAM = "train.pack_photographs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}", description="Pack a folder of photographs, as 8-bit luminance, into one file."
    )
    parser.add_argument("folder", metavar="DIR", help="folder of photographs, with the folders in it")
    parser.add_argument("out", metavar="OUT.npz")
    parser.add_argument("--megabytes", type=positive, help="largest size of the file: a random choice is packed")
    parser.add_argument("--limit", type=positive, metavar="N", help="read only N photographs, spread evenly")
    parser.add_argument("--min-side", type=positive, default=MIN_SIDE, metavar="PX", help=f"default {MIN_SIDE}")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _run(options: argparse.Namespace) -> None:
    with warnings.catch_warnings():  # counted below
        warnings.simplefilter("ignore")
        photographs = load_photographs(
            options.folder, limit=options.limit, min_side=options.min_side, progress=not options.quiet
        )
    count = pack_photographs(photographs, options.out, megabytes=options.megabytes)
    size = Path(options.out).stat().st_size / 1e6
    skipped = f", {len(photographs.skipped)} files skipped" * bool(photographs.skipped)
    print(f"{count} of {len(photographs)} photographs in {options.out}, {size:.1f} MB{skipped}")


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m train.pack_photographs``; returns the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(PROGRAM, lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
