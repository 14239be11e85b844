"""The subcommand ``photo`` of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from deconvnet.cli.options import Subparsers, add_device, add_quiet, add_threads
from deconvnet.errors import DeconvnetError, say

__all__ = ["add_photo"]


def add_photo(commands: Subparsers) -> None:
    """Add the subcommand ``photo`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser(
        "photo",
        help="a sharp picture from one shaky photograph",
        description="A sharp picture from one shaky photograph.",
    )
    parser.add_argument("photo", metavar="IN", help="the shaky photograph, grey or colour, 8 or 16 bit")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT.png",
        help="the picture to write; 16 bit stay 16 bit where the format has them",
    )
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
        metavar="auto|17|25|33|…",
        help="side of the PSF, odd (default auto: that of the model's that fits best)",
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
        choices=("hyper-laplacian", "wiener"),
        default="hyper-laplacian",
        help="method of the final deconvolution (default hyper-laplacian)",
    )
    parser.add_argument(
        "--noise", type=float, metavar="SIGMA", help="noise of the photo, in 0..1 (estimated); more is smoother"
    )
    add_device(parser)
    add_threads(parser)
    add_quiet(parser)
    parser.set_defaults(run=_photo)


def _same_file(a: str | Path, b: str | Path) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def _photo(options: argparse.Namespace) -> None:
    from deconvnet.backend import resolve_device
    from deconvnet.colour import luminance
    from deconvnet.inspect.psf_picture import draw_psf_grid
    from deconvnet.io import WITH_ALPHA, WRITABLE, check_writable, read_image, write_image
    from deconvnet.networks.io import load_network
    from deconvnet.restore.photo.deblur import deblur
    from deconvnet.restore.photo.psf import check_psf_options

    # Everything that can be refused is refused before the long work.
    output = Path(options.output)
    inputs = [options.photo] + ([options.psf] if options.psf else [])
    written = [output] + ([Path(options.psf_out)] if options.psf_out else [])
    for out in written:
        check_writable(out)
        for name in inputs:
            if _same_file(out, name):
                raise DeconvnetError(f"{out} would replace what is read: choose another name")
    if len(written) == 2 and _same_file(*written):
        raise DeconvnetError(f"{output} is named for the picture and for the PSF: choose two names")
    if options.psf and options.varying:
        raise DeconvnetError("a known PSF holds for the whole photo: leave either --psf or --varying away")
    device = resolve_device(options.device)
    model: Any = None
    psf = None
    if options.psf:
        psf = luminance(read_image(options.psf).pixels)
    else:
        model = load_network(options.model, kind="photo", device=device)
        check_psf_options(model, options.psf_size, options.psf_sharpen, options.psf_threshold, options.refine)
    pixels, bits = read_image(options.photo, keep_alpha=output.suffix.lower() in WITH_ALPHA)
    bits = 16 if bits > 8 and 16 in WRITABLE[output.suffix.lower()] else 8
    sharp, psf = deblur(
        pixels,
        model=model,
        psf_size=options.psf_size,
        refine=options.refine,
        psf_sharpen=options.psf_sharpen,
        psf_threshold=options.psf_threshold,
        psf=psf,
        nonblind=options.nonblind,
        noise=options.noise,
        varying=options.varying,
        device=device,
        progress=not options.quiet,
        return_psf=True,
    )
    write_image(output, sharp, bits)
    if options.psf_out:
        suffix = Path(options.psf_out).suffix.lower()
        if psf.ndim == 2:  # as it is, so that it can be read again with --psf
            write_image(options.psf_out, psf / psf.max(), max(WRITABLE[suffix]))
        else:
            write_image(options.psf_out, draw_psf_grid(psf))
    if not options.quiet:
        size = f"{psf.shape[-1]}×{psf.shape[-2]}"
        say(f"{output}: {sharp.shape[1]}×{sharp.shape[0]} pixels, PSF of {size}")
