"""The subcommand ``inspect`` of the command line: pictures of what a network has learned."""

from __future__ import annotations

import argparse

from deconvnet.cli.options import Subparsers

__all__ = ["add_inspect"]


def add_inspect(commands: Subparsers) -> None:
    """Add the subcommand ``inspect`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "inspect",
        help="draw what a network has learned",
        description="Draw what a network has learned: filters, feature images, PSFs, regularisers.",
    )
    parser.add_argument("model", metavar="MODEL", help="a network that ships, or a run's model.safetensors")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder for the pictures")
    parser.add_argument(
        "--image", metavar="PHOTO", help="also draw what every stage of a network for photos makes of this photo"
    )
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from deconvnet.colour import luminance
    from deconvnet.errors import print_out
    from deconvnet.inspect.model import inspect_model
    from deconvnet.io import read_image
    from deconvnet.restore.photo.deblur import checked_photo

    image = luminance(checked_photo(read_image(options.image).pixels)[0]) if options.image else None
    for picture in inspect_model(options.model, options.output, image):
        print_out(str(picture))
