"""What the training commands share: options of a run, photographs, settings kept on resume, and the way to the loop."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvnet.backend import resolve_device
from deconvnet.errors import DeconvnetError, exit_status, print_out

from .checkpoint import claim_folder, read_settings
from .loop import Schedule, SharedTask, Task, say, train
from .processes import AgreedError, LocalProcesses, Processes, find_processes

if TYPE_CHECKING:
    from deconvnet.blur.photographs import Photographs

__all__ = [
    "add_run_options",
    "command_name",
    "natural",
    "noise_level",
    "odd",
    "positive",
    "rate",
    "read_photographs",
    "run",
    "weight",
]

MAY_CHANGE = {"steps", "validate_every", "checkpoint_every"}  # of the settings, when a run is resumed


def command_name(what: str) -> str:
    """What the user types for a training: this folder is a package of its own in a clone, and installed another's."""
    return f"deconvnet train {what}" if __package__.startswith("deconvnet.") else f"python -m train.{what}"


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def natural(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


def odd(text: str) -> int:
    """The side of a PSF: odd and at least 3, for argparse."""
    value = int(text)
    if value < 3 or value % 2 == 0:
        raise argparse.ArgumentTypeError("must be odd and at least 3: the middle pixel is the PSF's centre")
    return value


def noise_level(text: str) -> float:
    """A standard deviation of noise, in [0, 1), for argparse."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be at least 0 and below 1 (pixel values lie in [0, 1])")
    return value


def rate(text: str) -> float:
    """A learning rate, above 0 and finite, for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return value


def weight(text: str) -> float:
    """A weight or bound, at least 0 and finite, for argparse."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be at least 0 and finite")
    return value


def add_run_options(parser: argparse.ArgumentParser, *, out: str, validation: str) -> argparse._ArgumentGroup:
    """Add the options that say where a run lives and how often it looks up.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    out : str
        Default folder.
    validation : str
        Help of ``--validation``, the number of validation examples.

    Returns
    -------
    group
        Of these options, to add to.
    """
    group = parser.add_argument_group("run")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"))
    group.add_argument("--out", metavar="DIR", help=f"default {out}")
    group.add_argument("--resume", action="store_true", help="continue the run in --out, with its settings")
    group.add_argument("--validate-every", type=positive, metavar="STEPS")
    group.add_argument("--checkpoint-every", type=positive, metavar="STEPS")
    group.add_argument("--validation", type=positive, metavar="N", help=validation)
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    return group


@functools.cache
def _default_photographs() -> tuple[Photographs, Photographs]:
    """Those that need no download; experiments with many trainings read them once."""
    from deconvnet.blur.photographs import default_photographs, split_photographs

    return split_photographs(default_photographs())


def read_photographs(
    folder: str | None, program: str, *, quiet: bool = False, **options: Any
) -> tuple[Photographs, Photographs]:
    """Photographs to learn from and to validate on: those of a folder or packed file, or the default ones.

    Parameters
    ----------
    folder : str or None
        None for the photographs that need no download.
    program : str
        Named in front of the lines that tell which files were skipped.
    quiet : bool
    **options
        Of `deconvnet.blur.photographs.load_photographs`.

    Returns
    -------
    seen, unseen : Photographs
    """
    from deconvnet.blur.packed_photographs import load_packed_photographs
    from deconvnet.blur.photographs import MIN_SIDE, load_photographs, split_photographs

    if not folder:
        return _default_photographs()
    if Path(folder).is_file():
        return split_photographs(load_packed_photographs(folder, min_side=options.get("min_side", MIN_SIDE)))
    with warnings.catch_warnings():  # said below, as a line of this program
        warnings.simplefilter("ignore")
        photographs = load_photographs(folder, progress=not quiet, **options)
    for name, reason in photographs.skipped[:10]:
        say(f"{program}: skipped {name}: {reason}")
    if len(photographs.skipped) > 10:
        say(f"{program}: and {len(photographs.skipped) - 10} other files")
    return split_photographs(photographs)


def _resumed(said: Mapping[str, Any], out: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the run that is resumed; what was said must not contradict them.

    Options that did not exist yet when the run was started have their defaults.
    """
    settings = {**defaults, **read_settings(out)}
    for name, value in said.items():
        if name not in MAY_CHANGE and settings.get(name) != value:
            option = "--" + name.replace("_", "-")
            raise DeconvnetError(
                f"{option} differs from the run in {out} ({settings.get(name)}): leave it away to resume, "
                "or choose another --out"
            )
    return {**settings, **said}


def run(
    program: str,
    said: dict[str, Any],
    *,
    out: str,
    defaults: Mapping[str, Any],
    fresh_settings: Callable[[dict[str, Any]], dict[str, Any]],
    make_task: Callable[..., Task],
    report: Callable[[dict[str, Any]], Iterable[str]],
    several: bool = False,
) -> int:
    """From the options that were said to a finished run; returns the exit status.

    Parameters
    ----------
    program : str
        Name in front of error messages.
    said : dict
        Options of the command line, without those that were not given.
    out : str
        Default folder of the run.
    defaults : dict
        All settings, as they are where nothing else is said.
    fresh_settings : callable
        ``fresh_settings(said)`` gives the settings of a new run.
    make_task : callable
        ``make_task(settings, device, quiet=...)`` gives the task.
    report : callable
        ``report(summary)`` yields lines to print at the end.
    several : bool
        Whether the task is a `train.loop.SharedTask`, which several processes can train.
    """
    folder, resume = said.pop("out", out), said.pop("resume", False)
    quiet, device = said.pop("quiet", False), said.pop("device", "auto")

    processes: Processes = LocalProcesses()
    parted = False  # all processes end at the same place, and none waits for another

    def train_here() -> dict[str, Any]:
        if processes.size > 1 and not several:
            raise AgreedError(f"{program} trains in one process: leave mpirun away")
        where = resolve_device(device)
        if processes.size > 1 and where != "cpu":
            raise AgreedError("several processes train on the processor: add --device cpu, or leave mpirun away")
        with contextlib.ExitStack() as stack:

            def begin() -> dict[str, Any]:
                claimed = stack.enter_context(claim_folder(folder, resume))
                return _resumed(said, claimed, defaults) if resume else fresh_settings(said)

            settings = processes.from_first(begin)
            silence = contextlib.nullcontext() if processes.rank == 0 else contextlib.redirect_stderr(io.StringIO())
            with silence:  # what all would say, the first one says
                task = make_task(settings, where, quiet=quiet)
            if processes.size > 1:
                assert isinstance(task, SharedTask)
                task.processes = processes
                task.network.load_state(processes.from_first(task.network.state))
            schedule = Schedule(**{name: settings[name] for name in Schedule._fields})
            return train(task, schedule, folder, settings, resume=resume, quiet=quiet, processes=processes)

    def command() -> int:
        nonlocal processes, parted
        processes = find_processes()
        try:
            summary = train_here()
        except AgreedError:
            if processes.rank == 0:
                raise
            return 2
        except BaseException:
            parted = True
            raise
        if processes.rank > 0:
            return 0
        for line in report(summary):
            print_out(line)
        print_out(f"in {folder}: model.safetensors, curve.png, validation.png, metrics.csv, summary.json")
        if summary.get("interrupted"):
            say(f"interrupted at step {summary['steps']}; continue with --resume")
            return 130
        return 0

    status = 1
    try:
        status = exit_status(program, command, interrupted="interrupted before the first step")
    finally:
        if parted:
            processes.abort(status)
    return status
