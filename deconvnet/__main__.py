"""The command line: `python -m deconvnet burst FRAME... -o OUT.png`, also installed as `deconvnet`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deconvnet import DeconvnetError, __version__

__all__ = ["main"]


def _add_burst(commands):
    burst = commands.add_parser(
        "burst",
        help="one sharp picture from a burst of blurry frames",
        description="Restore one sharp picture from a hand-held burst of blurry frames of the same scene.",
    )
    burst.add_argument("frames", nargs="+", metavar="FRAME", help="two or more pictures, or a folder of them")
    burst.add_argument("-o", "--output", required=True, metavar="OUT.png", help="the picture to write")
    burst.add_argument("--model", metavar="FILE", help="model.safetensors of a training run")
    burst.add_argument("--method", choices=("network", "fba", "mean"), default="network")
    burst.add_argument("--p", type=float, default=11.0, help="exponent of --method fba (default 11)")
    burst.add_argument("--stride", type=int, default=5, metavar="PX", help="distance of patches (default 5)")
    burst.add_argument("--channels", choices=("luma", "rgb"), default="luma")
    how = burst.add_mutually_exclusive_group()
    how.add_argument("--register", choices=("auto", "translation", "homography"), default="auto")
    how.add_argument("--no-register", action="store_const", const="none", dest="register")
    burst.add_argument("--psf-out", metavar="DIR", help="draw each frame's estimated PSFs into this folder")
    burst.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    burst.add_argument("--quiet", action="store_true", help="no progress bars")
    burst.set_defaults(run=_burst)


def _burst(options):
    from deconvnet.io import check_writable, frame_files, read_image, write_image
    from deconvnet.restore.burst import deblur_burst
    from deconvnet.restore.psf_picture import draw_psfs

    output = check_writable(options.output)  # before any long work
    files = frame_files(options.frames)
    result = deblur_burst(
        [read_image(file) for file in files],
        model=options.model,
        method=options.method,
        p=options.p,
        stride=options.stride,
        channels=options.channels,
        register_by=options.register,
        device=options.device,
        progress=not options.quiet,
        details=True,
    )
    write_image(output, result.picture)
    if options.psf_out:
        if result.psfs is None:
            raise DeconvnetError("this method estimates no PSFs: --psf-out needs a quotient network")
        folder = Path(options.psf_out)
        folder.mkdir(parents=True, exist_ok=True)
        for i, file in enumerate(files):
            write_image(folder / f"{file.stem}_psf.png", draw_psfs(result.frames[i], result.psfs[:, :, i]))
    return 0


def main(arguments=None):
    """Entry of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="deconvnet", description="Learned blind deconvolution.")
    parser.add_argument("--version", action="version", version=f"deconvnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_burst(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except DeconvnetError as error:
        print(f"deconvnet: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("deconvnet: not enough memory: use fewer or smaller frames", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deconvnet: interrupted, nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
