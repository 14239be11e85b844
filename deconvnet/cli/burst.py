"""The subcommand ``burst`` of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deconvnet.cli.options import Subparsers, add_device, add_quiet, add_threads
from deconvnet.errors import DeconvnetError, say
from deconvnet.progress import step

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_burst"]


def add_burst(commands: Subparsers) -> None:
    """Add the subcommand ``burst`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "burst",
        help="one sharp picture from a burst of shaky photographs",
        description="One sharp picture from a burst of shaky photographs of the same scene.",
    )
    parser.add_argument("frames", nargs="+", metavar="FRAME", help="the frames: two or more pictures, or one folder")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.png", help="the picture to write")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="bits a channel of OUT (default 8)")
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
    method.add_argument("--stride", type=int, default=5, metavar="PX", help="distance of the network's patches (5)")
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
    add_device(parser)
    add_threads(parser)
    add_quiet(parser)
    parser.set_defaults(run=_burst)


def _frame_files(names: list[str]) -> list[Path]:
    """The files of two or more pictures, or of one folder."""
    from deconvnet.io import list_pictures

    files = [Path(name) for name in names]
    if len(files) == 1 and files[0].is_dir():
        files = list_pictures(files[0])
    elif any(file.is_dir() for file in files):
        raise DeconvnetError("name either one folder or picture files, not both")
    for file in files:
        if not file.is_file():
            raise DeconvnetError(f"there is no file {file}")
    if len(files) < 2:
        raise DeconvnetError(f"a burst needs at least two frames, and {files[0]} is the only one")
    return files


def _psf_folder(name: str) -> Path:
    """The folder for pictures of PSFs, made if its parent exists."""
    from deconvnet.io import check_writable

    folder = Path(name)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DeconvnetError(f"the folder {folder} cannot be made: {error.strerror}") from error
    check_writable(folder / "psf_01.png")
    return folder


def _burst(options: argparse.Namespace) -> None:
    from deconvnet.backend import resolve_device
    from deconvnet.io import check_writable, read_image, write_image

    # Everything that can be refused is refused before the long work.
    files = _frame_files(options.frames)
    output = Path(options.output)
    if output.resolve() in [file.resolve() for file in files]:
        raise DeconvnetError(f"{output} is one of the frames: choose another name or folder for the output")
    check_writable(output, options.bits)
    if options.psf_out and options.method != "network":
        raise DeconvnetError(f"--method {options.method} estimates no PSFs: leave --psf-out away")
    device = resolve_device(options.device)
    model = None
    if options.method == "network":
        from deconvnet.networks.io import load_network

        model = load_network(options.model, kind="burst", device=device)

    from deconvnet.restore.burst.deblur import deblur_burst

    folder = _psf_folder(options.psf_out) if options.psf_out is not None else None
    progress = not options.quiet

    def frames() -> Iterator[np.ndarray]:
        with step("reading", len(files), "frame", shown=progress) as reading:
            for file in files:
                yield read_image(file).pixels
                reading.update()

    result = deblur_burst(
        frames(),
        model=model,
        method=options.method,
        stride=options.stride,
        channels=options.channels,
        register=options.register,
        p=options.p,
        refine=options.refine,
        device=device,
        progress=progress,
        return_psfs=folder is not None,
    )
    picture, psfs = (result, None) if folder is None else result
    write_image(output, picture, options.bits)
    if folder is not None and psfs is not None:
        from deconvnet.inspect.psf_picture import draw_psfs

        for index in range(psfs.shape[2]):
            write_image(folder / f"psf_{index + 1:02d}.png", draw_psfs(picture, psfs[:, :, index]))
    if progress:
        say(f"{output}: {picture.shape[1]}×{picture.shape[0]} pixels from {len(files)} frames")
