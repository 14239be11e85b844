"""The folder of a run: who may write into it, and the checkpoint from which it continues bit for bit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
from deconvnet.files import locked
from deconvnet.networks.io import load_arrays, save_arrays

from .optimisers import MovingAverage, Optimiser
from .processes import Processes

__all__ = ["CHECKPOINT", "MODEL", "Progress", "claim_folder", "load_checkpoint", "read_settings", "save_checkpoint"]

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"


class Progress(NamedTuple):
    """How far a run has come.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        That they took.
    running_loss : float or None
        Running mean of the losses; None before the first.
    """

    step: int = 0
    seconds: float = 0.0
    running_loss: float | None = None


@contextlib.contextmanager
def claim_folder(out: str | os.PathLike[str], resume: bool) -> Iterator[Path]:
    """``with claim_folder(out, resume) as folder:`` the folder is ready for a run, and no other one gets it meanwhile.

    Parameters
    ----------
    out : path-like
        Made if it is not there.
    resume : bool
        Whether it must hold a run, or must hold none.

    Yields
    ------
    Path

    Raises
    ------
    DeconvnetError
        If a new run would overwrite another, there is nothing to resume, another run is at work in it, or it cannot
        be written.
    """
    out = Path(out)
    if resume and not (out / CHECKPOINT).exists():
        raise DeconvnetError(f"{out} holds no checkpoint to resume: leave --resume away to start a new run")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DeconvnetError(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    with locked(out, f"another training is writing to {out}: wait for it to end, or choose another --out"):
        if not resume and any((out / name).exists() for name in (CHECKPOINT, MODEL)):
            raise DeconvnetError(f"{out} already holds a run: continue it with --resume, or choose another --out")
        yield out


def read_settings(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that the run in ``out`` was started with."""
    return load_arrays(Path(out) / CHECKPOINT)[1]["settings"]


def save_checkpoint(
    out: Path,
    network: Any,
    optimiser: Optimiser,
    average: MovingAverage,
    progress: Progress,
    settings: Mapping[str, Any],
) -> None:
    """Write everything that `load_checkpoint` needs: weights, moments, average, and how far the run has come.

    Parameters
    ----------
    out : Path
        Folder of the run.
    network : Layer
    optimiser : Optimiser
    average : MovingAverage
    progress : Progress
    settings : dict
        What the run was started with.
    """
    arrays = {f"network/{k}": v for k, v in network.state().items()}
    arrays.update({f"optimiser/{k}": v for k, v in optimiser.state().items()})
    arrays.update({f"average/{k}": v for k, v in average.average.items()})
    record = {**progress._asdict(), "average_updates": average.updates, "settings": settings}
    save_arrays(out / CHECKPOINT, arrays, record)


def load_checkpoint(
    out: Path, network: Any, optimiser: Optimiser, average: MovingAverage, processes: Processes
) -> Progress:
    """Bring network, optimiser and average to where `save_checkpoint` left them; returns how far that was.

    The first of the ``processes`` reads, for all of them.
    """
    arrays, record = processes.from_first(lambda: load_arrays(out / CHECKPOINT))
    arrays.pop("network/active", None)  # version 0.1 had the number of trained stages here; `Task.resume` knows it

    def under(prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}

    network.load_state(under("network/"))
    optimiser.load_state(under("optimiser/"))
    saved = under("average/")
    for name, kept in average.average.items():
        kept[...] = array_module(kept).asarray(saved[name])
    average.updates = record["average_updates"]
    return Progress(**{name: record[name] for name in Progress._fields})
