"""Train a burst deblurring network: `python -m train.burst [--images DIR] [--network quotient] ...`.

Bursts are synthesised from sharp photographs as training goes: the user's folder, or, with nothing
named, the photographs that scikit-image carries and dead leaves.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.files import save_figure
from deconvnet.layers.fba import fba
from deconvnet.layers.losses import clipped_squared_error, log_squared_error, relative_psf_error, squared_error
from deconvnet.metrics import psnr
from deconvnet.networks.io import build_network
from deconvnet.networks.protocols import PsfBurstNetwork
from deconvnet.parallel import run as run_chunks

from .command import (
    add_run_options,
    command_name,
    natural,
    noise_level,
    odd,
    positive,
    rate,
    read_photographs,
    run,
    weight,
)
from .loop import say
from .parts import Parts
from .processes import LocalProcesses, Processes
from .recipes import BURST, with_recipe

if TYPE_CHECKING:
    from deconvnet.blur.synthesis import Bursts, BurstSynthesizer

PROGRAM = "train.burst"
OUT = "runs/burst"
FBA_POWERS = (3, 5, 7, 11, 15, 20, 30, 50)
LOSSES = {"log": log_squared_error, "mse": squared_error, "clipped": clipped_squared_error}
ROWS = 32 * 14  # frames in a batch of the default size: other frame counts keep the product
VALIDATION_SEED = 20161  # fixed, so that runs with other seeds are measured on the same bursts


def central(patches: Array, side: int) -> Array:
    """The central ``side`` × ``side`` pixels."""
    top = (patches.shape[-2] - side) // 2
    left = (patches.shape[-1] - side) // 2
    return patches[..., top : top + side, left : left + side]


class ValidationSet:
    """Fixed bursts of photographs that training never sees, and what needs no network on them.

    Parameters
    ----------
    synthesizer : BurstSynthesizer
    count, frames : int
    network : Layer
        Tells the sides of patch and predicted centre.
    """

    def __init__(self, synthesizer: BurstSynthesizer, count: int, frames: int, network: Any) -> None:
        rng = np.random.default_rng(VALIDATION_SEED)
        parts = [synthesizer.batch(rng, min(16, count - i), frames) for i in range(0, count, 16)]
        self.frames = np.concatenate([p.frames for p in parts])
        self.truth = central(np.concatenate([p.sharp for p in parts]), network.centre)
        self.side, self.centre = network.patch, network.centre

    def references(self) -> tuple[dict[str, float], int]:
        """PSNR of the typical frame, the best frame, the mean, and FBA at p = 11 and at its best p."""
        patches = central(self.frames, self.side)
        each = np.stack(
            [psnr(central(patches[:, i], self.centre), self.truth, batch=True) for i in range(patches.shape[1])]
        )
        scores = {
            "typical frame": float(np.median(each, axis=0).mean()),
            "best frame": float(each.max(axis=0).mean()),
            "mean": float(psnr(central(patches.mean(axis=1), self.centre), self.truth, batch=True).mean()),
        }
        by_power: dict[int, float] = {}
        for power in FBA_POWERS:
            fused = np.concatenate([self.fuse(patches[i : i + 16], power) for i in range(0, len(patches), 16)])
            by_power[power] = float(psnr(central(fused, self.centre), self.truth, batch=True).mean())
        best = max(by_power, key=by_power.__getitem__)
        scores["FBA p=11"] = by_power[11]
        scores["FBA best p"] = by_power[best]
        return scores, best

    def fuse(self, patches: Array, power: float) -> Array:
        """Patchwise Fourier burst accumulation with magnitudes smoothed as published (σ = side/50)."""
        return fba(patches, power, sigma=self.side / 50)[0]

    def score(self, network: Any, device: str) -> float:
        """PSNR of the network."""
        found = []
        for i in range(0, len(self.truth), 16):
            frames = central(self.frames[i : i + 16], network.surround)
            prediction, _ = network.forward(to_device(np.ascontiguousarray(frames), device))
            found.append(psnr(to_host(prediction), self.truth[i : i + 16], batch=True))
        return float(np.concatenate(found).mean())


class BurstTask:
    """A burst network, the bursts it learns from, and those it is measured on (see `train.loop.Task`)."""

    unit = " dB"

    def __init__(
        self,
        network: Any,
        settings: dict[str, Any],
        training: dict[str, BurstSynthesizer],
        validation: dict[str, tuple[BurstSynthesizer, int, int]],
        device: str,
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self.training = training  # {"plain": synthesizer, "camera": synthesizer}: those that are used
        self.validation = {name: ValidationSet(*args, network) for name, args in validation.items()}
        found = {name: data.references() for name, data in self.validation.items()}
        self.references = {name: references for name, (references, _) in found.items()}
        self.best_power = {name: power for name, (_, power) in found.items()}
        self.loss = LOSSES[settings["loss"]]
        self.processes: Processes = LocalProcesses()
        self.parts = Parts(network)

    def _draw(self, rng: np.random.Generator) -> tuple[Bursts | None, float]:
        """This process's share of a batch, None if there is nothing for it, and how much of the batch that is."""
        fewest, most = self.settings["frames"]
        # Half of the batches have all frames, the others any number: the network must take both.
        frames = most if fewest == most or rng.random() < 0.5 else int(rng.integers(fewest, most + 1))
        batch = max(1, round(self.settings["batch"] * most / frames))
        names = list(self.training)
        name = names[int(rng.integers(len(names)))]
        part = self.processes.share(batch)
        if part.start == part.stop:
            return None, 0.0
        bursts = self.training[name].batch(rng, batch, frames, device=self.device, part=part)
        return bursts, (part.stop - part.start) / batch

    def fit(self, rng: np.random.Generator) -> None:
        """Set the network's fixed normalisation from a sample of training bursts."""
        frames = np.concatenate([s.batch(rng, 64, self.settings["frames"][1]).frames for s in self.training.values()])
        frames = np.ascontiguousarray(central(frames, self.network.surround))
        run_chunks(lambda *_: self.network.fit(frames), 1)  # linear algebra on one thread: the same bits for any number

    def trainable(self, step: int) -> set[str] | None:
        return None

    def accumulate(self, rng: np.random.Generator, step: int, running: float | None) -> tuple[float, float]:
        begun = time.perf_counter()
        bursts, share = self._draw(rng)
        if bursts is None:
            return 0.0, time.perf_counter() - begun
        synthesis = time.perf_counter() - begun
        weight = self.settings["psf_loss"] if isinstance(self.network, PsfBurstNetwork) else 0

        def learn(network: Any, part: slice) -> tuple[float, float]:
            xp = array_module(bursts.frames)
            frames = xp.ascontiguousarray(central(bursts.frames[part], network.surround))
            truth = xp.ascontiguousarray(central(bursts.sharp[part], network.centre))
            prediction, cache = network.forward(frames, train=True)
            loss, dprediction = self.loss(prediction, truth)
            options = {}
            if weight:
                psf_loss, dpsfs = relative_psf_error(cache.psfs, bursts.psfs[part])
                loss += weight * psf_loss
                options["dpsfs"] = weight * dpsfs
            network.backward(dprediction, cache, **options)
            return float(loss), len(frames)

        count = max(1, self.settings["parts"] // self.processes.size)
        loss, _ = self.parts.learn(learn, len(bursts.frames), count, scale=share)
        return share * loss, synthesis

    def resume(self, step: int) -> None:
        pass

    def validate(self) -> dict[str, float]:
        return {name: data.score(self.network, self.device) for name, data in self.validation.items()}

    def reference_scores(self) -> dict[str, dict[str, float]]:
        return self.references

    def summary(self) -> dict[str, Any]:
        scores = {}
        for name, data in self.validation.items():
            references = self.references[name]
            network = data.score(self.network, self.device)
            scores[name] = {
                **{key: round(value, 2) for key, value in references.items()},
                "FBA best p is": self.best_power[name],
                "network": round(network, 2),
                "network above mean": round(network - references["mean"], 2),
                "network above FBA best p": round(network - references["FBA best p"], 2),
                "network above best frame": round(network - references["best frame"], 2),
            }
        return {"network": self.network.name, "psnr": scores}

    def picture(self, path: Path) -> None:
        name = next(iter(self.validation))
        draw_examples(path, self.network, self.validation[name], self.best_power[name], self.device)


def draw_examples(path: Path, network: Any, data: ValidationSet, power: float, device: str, rows: int = 6) -> None:
    """Rows of a validation picture: three frames, best frame, FBA, network, truth; PSNR above each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picked = np.linspace(0, len(data.truth) - 1, rows).astype(int)
    frames = data.frames[picked]
    truth = data.truth[picked]
    prediction, _ = network.forward(to_device(np.ascontiguousarray(central(frames, network.surround)), device))
    fused = central(data.fuse(np.ascontiguousarray(central(frames, network.patch)), power), network.centre)
    cut = central(frames, network.centre)
    each = np.stack([psnr(cut[:, i], truth, batch=True) for i in range(cut.shape[1])])
    best = cut[np.arange(rows), each.argmax(axis=0)]
    columns = [(f"frame {i + 1}", cut[:, i]) for i in range(min(3, cut.shape[1]))]
    columns += [("best frame", best), (f"FBA p={power}", fused), (network.name, to_host(prediction)), ("truth", truth)]
    figure = Figure(figsize=(1.5 * len(columns), 1.62 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for i in range(rows):
        low, high = truth[i].min(), truth[i].max()
        for j, (title, pictures) in enumerate(columns):
            ax = axes[i][j]
            ax.imshow(pictures[i], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            ax.set_axis_off()
            score = "" if title == "truth" else f"{psnr(pictures[i], truth[i]):.1f} dB"
            ax.set_title(f"{title}\n{score}" if i == 0 else score, fontsize=7)
    save_figure(path, figure, dpi=130)


def _frame_range(text: str) -> list[int]:
    """``"14"`` or ``"2-14"`` as (fewest, most)."""
    try:
        parts = [int(p) for p in text.split("-")]
        fewest, most = parts[0], parts[-1]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: write 14, or 2-14 for a range") from None
    if len(parts) > 2 or not 2 <= fewest <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: at least two frames, the smaller number first")
    return [fewest, most]


DEFAULTS: dict[str, Any] = {
    "recipe": "default",
    "images": None,
    "shake": None,
    "network": "quotient",
    "fusion": "softmax",
    "blur": "mixed",
    "frames": [2, 14],
    "psf_size": 25,
    "noise": 0.01,
    "steps": 1500,
    "batch": 32,
    "parts": min(8, os.cpu_count() or 1),
    "loss": "log",
    "psf_loss": 0.1,
    "optimizer": "adam",
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "clip": 1.0,
    "seed": 0,
    "validate_every": 250,
    "checkpoint_every": 250,
    "validation": 128,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command_name("burst"),
        description="Train a burst deblurring network on photographs, blurred as training goes.",
        argument_default=argparse.SUPPRESS,  # what was not said is filled from DEFAULTS, or from the run resumed
    )
    parser.add_argument(
        "--recipe", choices=tuple(BURST), help="defaults of all other options: ours, or the published ones"
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--images", metavar="DIR", help="folder of sharp photographs, or a packed file (default: those of scikit-image)"
    )
    data.add_argument("--shake", metavar="PATH", help="recorded hand shake: a gyroscope text file, or a folder of them")
    data.add_argument("--blur", choices=("mixed", "plain", "camera"), help="the papers' setting, a camera's, or both")
    data.add_argument("--frames", type=_frame_range, metavar="N", help="frames a burst, 14 or 2-14 (default 2-14)")
    data.add_argument("--psf-size", type=odd, metavar="PX", help="side of the PSFs, odd (default 25)")
    data.add_argument(
        "--noise", type=noise_level, help="standard deviation of the plain setting's noise (default 0.01)"
    )
    net = parser.add_argument_group("network and optimisation")
    net.add_argument("--network", choices=("quotient", "compact", "paper"))
    net.add_argument(
        "--fusion",
        choices=("softmax", "eq6"),
        help="of compact and paper: learned logits of the frames' weights (default), or weights as in Eq. (6)",
    )
    net.add_argument("--steps", type=positive, help=f"default {DEFAULTS['steps']}")
    net.add_argument("--batch", type=positive, help="bursts a step at the full number of frames (default 32)")
    net.add_argument(
        "--parts",
        type=positive,
        metavar="N",
        help="of a batch, learned side by side, each with gradients of its own in memory (default: as many as "
        "processors, at most 8)",
    )
    net.add_argument("--loss", choices=tuple(LOSSES), help="of the predicted patch (default log: as PSNR counts)")
    net.add_argument("--psf-loss", type=weight, metavar="W", help="weight of the PSFs' relative error (default 0.1)")
    net.add_argument("--optimizer", choices=("adam", "sgd", "adadelta"))
    net.add_argument("--lr", type=rate, help="highest learning rate (default 1e-3)")
    net.add_argument("--lr-schedule", choices=("cosine", "step", "constant"))
    net.add_argument("--clip", type=weight, help="gradients longer than this are shortened (default 1; 0: none)")
    net.add_argument("--seed", type=natural)
    add_run_options(parser, out=OUT, validation="validation bursts (default 128)")
    return parser


def _fresh_settings(said: dict[str, Any]) -> dict[str, Any]:
    """Settings of a new run: the defaults and what was said."""
    settings = with_recipe(DEFAULTS, BURST, said)
    if settings["network"] == "quotient" and "fusion" in said:
        raise DeconvnetError("--fusion is of the networks compact and paper: name one with --network")
    if "psf_loss" not in said and settings["network"] != "quotient":
        settings["psf_loss"] = 0.0
    if settings["network"] == "paper":
        settings["frames"] = said.get("frames", [14, 14])
        settings["parts"] = said.get("parts", min(2, settings["parts"]))  # the gradients of each have 443 megabytes
    return settings


def make_task(settings: dict[str, Any], device: str, *, quiet: bool = False) -> BurstTask:
    """The task of a run: photographs, synthesizers, validation sets and a fresh network."""
    from deconvnet.blur.psf import load_shake
    from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer

    seen, unseen = read_photographs(settings["images"], PROGRAM, quiet=quiet)
    shake = load_shake(settings["shake"]) if settings["shake"] else None
    name = settings["network"]
    config = {"psf_size": settings["psf_size"]} if name == "quotient" else {"fusion": settings["fusion"]}
    if name == "paper":
        config["frames"] = settings["frames"][1]
    network = build_network(name, config, rng=np.random.default_rng((settings["seed"], 1)))
    presets = {
        "plain": BurstSettings.plain(psf_size=settings["psf_size"], crop=network.surround, noise=settings["noise"]),
        "camera": BurstSettings.camera(psf_size=settings["psf_size"], crop=network.surround),
    }
    # Mild shake must not be overcorrected, and bursts without any must pass unharmed: measured apart.
    camera = presets["camera"]
    measured = {
        **presets,
        "mild": dataclasses.replace(
            camera,
            supports=tuple(s for s in (2, 3, 4) if s <= settings["psf_size"]) or (1,),
            sharp_frame=0.0,
            sharp_burst=0.0,
        ),
        "sharp": dataclasses.replace(camera, sharp_burst=1.0),
    }
    blurs = ("plain", "camera") if settings["blur"] == "mixed" else (settings["blur"],)
    learned = dict(presets)
    if settings["blur"] == "mixed":
        # With 17 and 7 px alone, a network takes every burst that looks like a plain one to be blurred by as much,
        # and overcorrects milder ones by decibels.
        others = tuple(s for s in (2, 3, 5, 11) if s <= settings["psf_size"])
        learned["plain"] = dataclasses.replace(
            presets["plain"], supports=2 * (presets["plain"].supports or ()) + others
        )
    training = {b: BurstSynthesizer(seen, learned[b], shake=shake) for b in blurs}
    frames, count = settings["frames"][1], settings["validation"]
    # Every run is measured on all of them, whatever it learns from.
    validation = {
        b: (BurstSynthesizer(unseen, preset, shake=shake), count if b == "plain" else max(1, count // 2), frames)
        for b, preset in measured.items()
    }
    task = BurstTask(network, settings, training, validation, device)
    task.fit(np.random.default_rng((settings["seed"], 2)))
    network.to(device)
    say(
        f"{len(seen)} photographs to learn from, {len(unseen)} to validate on; network {name}, "
        f"{sum(p.value.size for p in network.parameters().values()) / 1e6:.1f} M weights, device {device}"
    )
    return task


def _report(summary: dict[str, Any]) -> Iterator[str]:
    """Lines that tell how the network did."""
    for name, scores in summary["psnr"].items():
        yield f"{name} validation bursts, PSNR in dB: " + ", ".join(f"{k} {v}" for k, v in scores.items())


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m train.burst``; returns the exit status."""
    said = vars(_parser().parse_args(arguments))
    return run(
        PROGRAM,
        said,
        out=OUT,
        defaults=DEFAULTS,
        fresh_settings=_fresh_settings,
        make_task=make_task,
        report=_report,
        several=True,
    )


if __name__ == "__main__":
    sys.exit(main())
