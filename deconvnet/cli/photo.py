"""The subcommand ``photo`` of the command line."""

from __future__ import annotations

import argparse
from typing import Any

from deconvnet.cli.options import Subparsers, add_device, add_json, add_output, add_part, add_quiet, add_threads

__all__ = ["add_photo"]


def add_photo(commands: Subparsers) -> None:
    """Add the subcommand ``photo`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "photo",
        help="a sharp picture from one shaky photograph",
        description="A sharp picture from one shaky photograph.",
    )
    parser.add_argument("photo", metavar="IN", help="the shaky photograph, grey or colour, of any depth")
    add_output(parser)
    parser.add_argument(
        "--model",
        default="photo",
        metavar="NAME|FILE",
        help="a model that ships (deconvnet models), or a model.safetensors of train.photo (default photo)",
    )
    blur = parser.add_argument_group("blur")
    blur.add_argument(
        "--psf-size",
        default="auto",
        metavar="auto|17|33|65|…",
        help="largest side of the PSF, odd (default auto: it finds itself, up to 151)",
    )
    blur.add_argument(
        "--no-refine", dest="refine", action="store_false", help="take the network's PSF as it is, at the model's sizes"
    )
    blur.add_argument(
        "--psf-sharpen",
        type=float,
        default=0.0,
        metavar="SIGMA",
        help="deconvolve the estimated PSF with a Gaussian of this many pixels (default 0: not)",
    )
    blur.add_argument(
        "--psf-threshold",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="zero what is below this share of the estimated PSF's maximum (default 0.05)",
    )
    blur.add_argument("--psf", metavar="KNOWN.png", help="the PSF, if it is known; no model is needed then")
    blur.add_argument("--psf-out", metavar="PSF.png", help="also write the PSF, scaled to its maximum, as a picture")
    blur.add_argument("--varying", action="store_true", help="the blur changes over the picture: the camera turned")
    parser.add_argument(
        "--nonblind",
        metavar="hyper-laplacian|wiener|FILE",
        default="hyper-laplacian",
        help="method of the final deconvolution, or the model.safetensors of train.image (default hyper-laplacian)",
    )
    parser.add_argument(
        "--noise", type=float, metavar="SIGMA", help="noise of the photo, in 0..1 (estimated); more is smoother"
    )
    parser.add_argument(
        "--tiles",
        action="store_true",
        help="never hold the whole photo: from and to .tif (also BigTIFF) and .zarr, with the extra tiles; large "
        "photos are restored in tiles anyway",
    )
    add_part(parser)
    add_device(parser)
    add_threads(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=_photo)


def _photo(options: argparse.Namespace) -> None:
    from deconvnet.cli.running import item_from, run_and_report
    from deconvnet.work.items import PhotoItem

    def described(result: dict[str, Any]) -> str:
        psf = "×".join(str(side) for side in reversed(result["psf_size"]))
        trust = "" if result["confidence"] is None else f", confidence {result['confidence']:.2f}"
        return f"{options.output}: {result['width']}×{result['height']} pixels, PSF of {psf}{trust}"

    run_and_report(item_from(PhotoItem, options), options, described)
