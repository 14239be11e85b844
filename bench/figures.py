"""The papers' experiments, a command each: `python bench/figures.py NAME` draws OUT/NAME.png and writes OUT/NAME.json.

`python bench/figures.py --help` lists them, `python bench/figures.py NAME --help` the options of one. The burst paper
is Wieschollek et al. 2016, the photo paper Schuler et al. 2015. Trainings live in OUT/NAME/…: they are continued if
they were interrupted, and not repeated once they are finished.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that bench and train are found

from bench.experiments.common import PROGRAM, Sizes
from bench.scoring.report import describe_run, write_json
from deconvnet.errors import DeconvnetError, exit_status
from deconvnet.files import save_figure
from train.command import noise_level, positive, rate

__all__ = ["experiments", "main"]

OUT = "runs/figures"


def experiments():
    """All experiments by name."""
    from bench.experiments import (
        burst_figures,
        photo_figures,
        specific_training_figures,
        stacked_baseline,
        training_figures,
        varying_photo_figures,
    )

    return {
        **burst_figures.EXPERIMENTS,
        **stacked_baseline.EXPERIMENTS,
        **training_figures.EXPERIMENTS,
        **specific_training_figures.EXPERIMENTS,
        **photo_figures.EXPERIMENTS,
        **varying_photo_figures.EXPERIMENTS,
    }


OPTIONS = {
    "model": {"metavar": "MODEL", "help": "name of a network that ships, or a model.safetensors"},
    "models": {"metavar": "MODEL", "nargs": "+", "help": "several of them"},
    "images": {"metavar": "DIR", "help": "photographs, of which only those are used that training leaves out"},
    "image": {"metavar": "FILE", "help": "a picture"},
    "burst": {"metavar": "FILE", "nargs": "+", "help": "the registered frames of a burst"},
    "window": {
        "type": int,
        "nargs": 2,
        "metavar": ("ROW", "COLUMN"),
        "help": "corner of the part that is used (default: of the part with most detail)",
    },
    "categories": {"metavar": "DIR", "nargs": "+", "help": "folders with one kind of photographs each"},
    "levin": {"metavar": "DIR", "help": "the .mat files of the benchmark of Levin et al. 2009"},
    "shake": {
        "metavar": "PATH",
        "help": "recorded hand shake instead of sampled: a gyroscope's text file, or a folder",
    },
    "photographs": {"type": positive, "metavar": "N", "help": "photographs at most"},
    "side": {"type": positive, "metavar": "PX", "help": "side of the part of each photograph that is used"},
    "frames": {"type": positive, "metavar": "N", "help": "frames of a burst"},
    "support": {"type": positive, "metavar": "PX", "help": "support of the PSFs"},
    "smallest": {"type": positive, "metavar": "PX", "help": "smallest support"},
    "psf_size": {"type": positive, "metavar": "PX", "help": "side of the PSFs, odd"},
    "psf_sizes": {"type": positive, "metavar": "PX", "nargs": "+", "help": "supports of the PSFs"},
    "seconds": {"type": float, "help": "duration of the part of the recording that is used"},
    "noise": {"type": noise_level, "metavar": "SIGMA", "help": "standard deviation of the noise"},
    "noises": {"type": noise_level, "metavar": "SIGMA", "nargs": "+", "help": "standard deviations of the noise"},
    "stride": {"type": positive, "metavar": "PX", "help": "distance of neighbouring patches"},
    "steps": {"type": positive, "help": "steps of every training"},
    "batch": {"type": positive, "help": "examples a step"},
    "units": {"type": positive, "metavar": "N", "help": "units of the dense layers"},
    "filters": {"type": positive, "help": "filters of the convolution"},
    "crop": {"type": positive, "metavar": "PX", "help": "side of the training crops"},
    "validation": {"type": positive, "metavar": "N", "help": "validation examples"},
    "validation_crop": {"type": positive, "metavar": "PX", "help": "their side"},
    "lr": {"type": rate, "help": "highest learning rate"},
}


def _parser(known):
    parser = argparse.ArgumentParser(
        prog="python bench/figures.py",
        description="The papers' experiments, one command each: a picture and the numbers behind it.",
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, experiment in known.items():
        one = names.add_parser(
            name, help=experiment.about, description=experiment.about, argument_default=argparse.SUPPRESS
        )
        for option, default in experiment.defaults.items():
            how = dict(OPTIONS[option])
            shown = default.full if isinstance(default, Sizes) else default
            if shown is not None:
                shown = " ".join(map(str, shown)) if isinstance(shown, (list, tuple)) else shown
                how["help"] += f" (default {shown})"
            one.add_argument("--" + option.replace("_", "-"), **how)
        one.add_argument("--out", metavar="DIR", default=OUT, help=f"folder of the results (default {OUT})")
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        one.add_argument("--quick", action="store_true", default=False, help="small sizes: to see that it runs")
        one.add_argument("--quiet", action="store_true", default=False, help="no progress bars")
    return parser


def _fill(options, experiment):
    """Defaults of the options that were not given."""
    for name, default in experiment.defaults.items():
        if not hasattr(options, name):
            if isinstance(default, Sizes):
                default = default.quick if options.quick else default.full
            setattr(options, name, default)


def _run(experiment, options, arguments):
    """Do an experiment, and write its pictures and numbers."""
    out = Path(options.out)
    options.out = out / options.name
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeconvnetError(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    begun = time.perf_counter()
    numbers, figure = experiment.run(options)
    seconds = round(time.perf_counter() - begun, 1)
    table = out / f"{options.name}.json"
    several = figure if isinstance(figure, dict) else {"": figure}
    pictures = [out / f"{options.name}{suffix and '-' + suffix}.png" for suffix in several]
    for picture, one in zip(pictures, several.values()):
        save_figure(picture, one)
    used = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    described = describe_run(arguments, about=experiment.about, options=used, seconds=seconds)
    write_json(table, {**described, "results": numbers})
    if not any(options.out.iterdir()):
        options.out.rmdir()  # an experiment without trainings leaves nothing there
    print(f"in {out}: {', '.join(file.name for file in (*pictures, table))}; {seconds} s")


def main(arguments=None):
    """Entry; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    known = experiments()
    options = _parser(known).parse_args(arguments)
    experiment = known[options.name]
    _fill(options, experiment)
    interrupted = "interrupted; the same command goes on where trainings stopped"
    return exit_status(PROGRAM, lambda: _run(experiment, options, arguments), interrupted=interrupted)


if __name__ == "__main__":
    sys.exit(main())
