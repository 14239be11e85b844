"""The subcommand ``burst`` of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from deconvnet.cli.options import Subparsers, add_device, add_json, add_output, add_part, add_quiet, add_threads
from deconvnet.errors import DeconvnetError, say

__all__ = ["add_burst"]


def add_burst(commands: Subparsers) -> None:
    """Add the subcommand ``burst`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "burst",
        help="one sharp picture from a burst of shaky photographs",
        description="One sharp picture from a burst of shaky photographs of the same scene.",
    )
    parser.add_argument("frames", nargs="+", metavar="FRAME", help="the frames: two or more pictures, or one folder")
    add_output(parser)
    method = parser.add_argument_group("method")
    method.add_argument(
        "--method",
        choices=("network", "fba", "mean"),
        default="network",
        help="trained network (default), Fourier burst accumulation, or mean",
    )
    method.add_argument(
        "--model",
        default="burst",
        metavar="MODEL",
        help="a network that ships (deconvnet models), or the model.safetensors of a training run (default burst)",
    )
    method.add_argument("--p", type=float, default=11.0, help="power of the Fourier burst accumulation (default 11)")
    method.add_argument("--stride", type=int, default=10, metavar="PX", help="distance of the network's patches (10)")
    method.add_argument("--channels", choices=("luma", "rgb"), default="luma", help="what the network runs on (luma)")
    method.add_argument(
        "--no-refine",
        dest="refine",
        action="store_false",
        help="take the network's PSFs as they are: faster, less sharp",
    )
    method.add_argument("--psf-out", metavar="DIR", help="also draw the estimated PSFs, one picture per frame")
    motion = parser.add_mutually_exclusive_group()
    motion.add_argument(
        "--register",
        choices=("auto", "translation", "homography"),
        default="auto",
        help="camera motion between the frames (default auto: the simplest that fits)",
    )
    motion.add_argument(
        "--no-register", dest="register", action="store_const", const="none", help="the frames are registered already"
    )
    add_part(parser)
    add_device(parser)
    add_threads(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=_burst)


def _frame_files(names: list[str]) -> tuple[list[Path], bool]:
    """The files of two or more pictures, or of one folder, and whether it was a folder.

    Of a folder, pictures that this package wrote are no frames: an earlier result may lie in it.
    """
    from deconvnet.files.metadata import written_here
    from deconvnet.io import list_pictures

    files = [Path(name) for name in names]
    if not (len(files) == 1 and files[0].is_dir()):
        if any(file.is_dir() for file in files):
            raise DeconvnetError("name either one folder or picture files, not both")
        return files, False
    found = []
    for file in list_pictures(files[0]):
        if written_here(file):
            say(f"deconvnet: {file} is left out: it is a result, no frame")
        else:
            found.append(file)
    if not found:
        raise DeconvnetError(f"no frames in {files[0]}: its pictures are results")
    return found, True


def _burst(options: argparse.Namespace) -> None:
    from deconvnet.cli.running import item_from, run_and_report
    from deconvnet.work.items import BurstItem

    files, lenient = _frame_files(options.frames)
    frames = tuple(str(file) for file in files)

    def described(result: dict[str, Any]) -> str:
        return f"{options.output}: {result['width']}×{result['height']} pixels from {result['frames']} frames"

    run_and_report(item_from(BurstItem, options, frames=frames, lenient=lenient), options, described)
