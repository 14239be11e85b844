"""Restoration tables: `python bench/quality.py SET… [--limit K] [--json FILE] [--pictures DIR]`.

What a SET can be is said by `--help`. Each prints a table; `--json` keeps every case, the versions, the commit and the
models; `--pictures` draws the results side by side.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this is run as a file, and needs its neighbours

from bench.scoring.burst_tables import score_bursts, score_real_bursts
from bench.scoring.data import SAMPLED_PSFS, blurred_photographs, burst_folders, paired_files, sharp_photographs
from bench.scoring.data import chosen_psfs as make_psfs
from bench.scoring.photo_tables import score_cases, score_pairs
from bench.scoring.protocol import load_levin
from bench.scoring.report import describe_run, format_table, write_json
from deconvnet.blur.psf import load_shake
from deconvnet.errors import DeconvnetError, exit_status
from deconvnet.networks.io import load_network
from deconvnet.restore.burst.registration import METHODS as REGISTRATIONS
from deconvnet.restore.deconvolve.solvers import METHODS
from deconvnet.restore.photo.psf import check_psf_options
from train.command import noise_level

SETS = f"""sets (several can be named, and folders may not contain a colon):
  levin:FOLDER         .mat files of the benchmark of Levin et al. 2009 (x sharp, y blurry, f PSF)
  sun[:FOLDER]         sharp photographs × PSFs (--psfs, or {SAMPLED_PSFS} sampled ones of each --support) and --noise;
                       with no folder, the photographs that scikit-image carries
  burst[:FOLDER]       bursts made of sharp photographs: frames, mean, Fourier burst accumulation (FBA), networks
  real-burst:FOLDER    the folder's pictures are the registered frames of a burst; or bursts are in folders within it
  pairs:BLURRY:SHARP   two folders with pictures of equal names

--limit K takes the first K cases of levin and pairs, the first K bursts of real-burst, K photographs, spread evenly
over the folder, for burst, and for sun K photographs under one PSF each.
"""
FOLDERS = {"levin": (1, 1), "sun": (0, 1), "burst": (0, 1), "real-burst": (1, 1), "pairs": (2, 2)}


def parse_set(text):
    """``"name:FOLDER:FOLDER"`` as the name and the folders, for argparse.

    Parameters
    ----------
    text : str

    Returns
    -------
    (str, list of Path)

    Raises
    ------
    argparse.ArgumentTypeError
        If the name is unknown, or the folders are too few, too many or not there.
    """
    name, *folders = text.split(":")
    if name not in FOLDERS:
        raise argparse.ArgumentTypeError(f"unknown set {name!r}: use one of {', '.join(FOLDERS)}")
    fewest, most = FOLDERS[name]
    if not fewest <= len(folders) <= most:
        wanted = {"pairs": "pairs:BLURRY:SHARP"}.get(name, f"{name}:FOLDER")
        raise argparse.ArgumentTypeError(f"{text!r}: write {wanted}")
    for folder in folders:
        if not folder or not Path(folder).is_dir():
            raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {folder!r}")
    return name, [Path(folder) for folder in folders]


def _at_least(least):
    def whole(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return whole


def _psf_size(text):
    if text in ("auto", "true"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor true nor a number of pixels") from None


def _parser():
    parser = argparse.ArgumentParser(
        description="Restoration tables.", epilog=SETS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=parse_set, metavar="SET", help="name:FOLDER, see below")
    parser.add_argument("--limit", type=_at_least(1), metavar="K", help="at most K cases of each set")
    parser.add_argument("--json", metavar="FILE", help="write tables, cases, versions, commit and models")
    parser.add_argument("--pictures", metavar="DIR", help="folder for pictures side by side; made if need be")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    blur = parser.add_argument_group("blur made here (sun, burst)")
    blur.add_argument(
        "--support", type=_at_least(1), nargs="+", default=[17], metavar="PX", help="of the PSFs (default 17)"
    )
    blur.add_argument("--noise", type=noise_level, default=0.01, help="standard deviation (default 0.01)")
    blur.add_argument("--shake", metavar="PATH", help="recorded shake instead of a Gaussian process")
    blur.add_argument("--psfs", metavar="PATH", help="sun: a .mat file, a picture, or a folder of pictures of PSFs")
    blur.add_argument("--size", type=_at_least(65), metavar="PX", help="only the middle of each photograph (or burst)")
    blur.add_argument(
        "--mosaic", type=_at_least(65), metavar="PX", help="sun: join photographs to pictures of this side"
    )
    blur.add_argument("--unseen", action="store_true", help="only photographs that training on the folder leaves out")
    blur.add_argument("--seed", type=int, default=0)
    photo = parser.add_argument_group("photos (levin, sun, pairs)")
    photo.add_argument("--photo-model", default="photo", metavar="NAME|FILE", help="default photo")
    photo.add_argument(
        "--psf-size", type=_psf_size, default="auto", metavar="auto|true|PX", help="true: as large as the true PSF"
    )
    photo.add_argument(
        "--no-refine",
        dest="refine",
        action="store_false",
        help="the networks' PSFs as they are (photos: at the model's sizes)",
    )
    photo.add_argument("--nonblind", metavar="|".join((*METHODS, "FILE")), default=METHODS[0])
    photo.add_argument("--nonblind-noise", type=float, metavar="SIGMA", help="for the deconvolution (estimated)")
    photo.add_argument("--varying", action="store_true", help="pairs: the blur changes over the picture")
    photo.add_argument("--peers", action="store_true", help="scikit-image's non-blind methods with the true PSF too")
    photo.add_argument(
        "--rivals", action="store_true", help="levin, sun: published blind methods, told the size of the PSF, too"
    )
    burst = parser.add_argument_group("bursts (burst, real-burst)")
    burst.add_argument(
        "--burst-model", nargs="+", default=["burst"], metavar="NAME|FILE", help="gains are the last one's (burst)"
    )
    burst.add_argument("--frames", type=_at_least(2), nargs="+", default=[14], metavar="N", help="default 14")
    burst.add_argument("--blurry-half", action="store_true", help="burst: leave out the sharper half of 2N frames")
    burst.add_argument("--stride", type=int, choices=range(1, 17), default=10, metavar="1…16", help="default 10")
    burst.add_argument("--reference", metavar="NAME", help="real-burst: file name of the sharp picture in each folder")
    burst.add_argument("--beside", nargs="+", default=[], metavar="NAME", help="real-burst: results of others there")
    burst.add_argument("--register", choices=REGISTRATIONS, default="none", help="real-burst: default none")
    return parser


class _Models:
    """Networks, each read once, when it is first asked for."""

    def __init__(self, device):
        from deconvnet.backend import resolve_device

        self.device, self.loaded = resolve_device(device), {}

    def __call__(self, name, kind):
        if name not in self.loaded:
            self.loaded[name] = load_network(name, kind=kind, device=self.device)
        return self.loaded[name]

    def record(self):
        return {name: {"network": n.name, "training": n.training} for name, n in self.loaded.items()}


def _photo_set(name, folders, options, models, pictures):
    """Table and further results of levin, sun or pairs."""
    network = models(options.photo_model, "photo")
    size = options.psf_size
    if size != "true":
        check_psf_options(network, size, 0.0, 0.0, options.refine)
    how = {
        "psf_size": size,
        "refine": options.refine,
        "nonblind": options.nonblind,
        "noise": options.nonblind_noise,
        "device": models.device,
        "pictures": pictures,
    }
    if name == "pairs":
        if size == "true":
            raise DeconvnetError("--psf-size true: nobody knows the true PSFs of pairs; use auto or a size")
        return score_pairs(paired_files(*folders, options.limit), network, varying=options.varying, **how)
    if name == "levin":
        cases = load_levin(folders[0], options.limit)
    else:
        shake = load_shake(options.shake) if options.shake else None
        psfs = make_psfs(options.psfs, options.support, shake, options.seed)
        least = 3 * max(max(psf.shape) for psf in psfs.values()) + 30
        photographs = _photographs(folders, options, least)
        cases = blurred_photographs(photographs, psfs, options.noise, options.seed, options.limit)
    return score_cases(cases, network, peers=options.peers, rivals=options.rivals, **how)


def _photographs(folders, options, least):
    folder = folders[0] if folders else None
    how = {"limit": options.limit, "unseen": options.unseen, "side": options.size, "least": least}
    return sharp_photographs(folder, joined=options.mosaic, **how)


def _burst_set(name, folders, options, models, pictures):
    """Table and further results of burst or real-burst."""
    networks = {}
    for model in options.burst_model:  # a run's folder is a better name than model.safetensors, if it tells them apart
        short = Path(model).parent.name or model
        networks[model if short in networks else short] = models(model, "burst")
    if len(networks) == 1:
        networks = {"network": networks.popitem()[1]}
    if name == "real-burst":
        table = score_real_bursts(
            burst_folders(folders[0], options.limit),
            networks[list(networks)[-1]],
            reference=options.reference,
            beside=options.beside,
            registration=options.register,
            side=options.size,
            stride=options.stride,
            refine=options.refine,
            device=models.device,
            pictures=pictures,
        )
        return table, {"bursts": len({row["burst"] for row in table})}
    shake = load_shake(options.shake) if options.shake else None
    table, cases = score_bursts(
        _photographs(folders, options, 65 + max(options.support) - 1),
        networks,
        frames=options.frames,
        supports=options.support,
        noise=options.noise,
        seed=options.seed,
        shake=shake,
        blurry_half=options.blurry_half,
        stride=options.stride,
        refine=options.refine,
        device=models.device,
        pictures=pictures,
    )
    return table, {"cases": cases}


def _run(options, arguments):
    models = _Models(options.device)
    if options.json and not Path(options.json).resolve().parent.is_dir():
        raise DeconvnetError(f"there is no folder {Path(options.json).resolve().parent} to write to: make it first")
    results = []
    for name, folders in options.sets:
        title = ":".join([name, *map(str, folders)])
        pictures = None
        if options.pictures:
            pictures = Path(options.pictures) / name
            try:
                pictures.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DeconvnetError(f"{pictures} cannot be made: {error.strerror}") from error
        run = _burst_set if name in ("burst", "real-burst") else _photo_set
        table, more = run(name, folders, options, models, pictures)
        facts = {key: value for key, value in more.items() if not isinstance(value, list)}
        digits = {c: 3 for row in table for c in row if any(word in c for word in ("SSIM", "gain", "coherent"))}
        print(f"\n{title} (PSNR in dB)\n{format_table(table, digits)}")
        print("; ".join(f"{key}: {value}" for key, value in facts.items()))
        results.append({"set": title, "table": table, **more})
        if options.json:  # after each set, so that what is done stays when the next one fails
            settings = {key: value for key, value in vars(options).items() if key != "sets"}
            record = describe_run(arguments, settings=settings, models=models.record(), results=results)
            write_json(options.json, record)


def main(arguments=None):
    """Entry; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    return exit_status("quality", lambda: _run(options, arguments))


if __name__ == "__main__":
    sys.exit(main())
