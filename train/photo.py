"""Train a network that finds the blur of a single photo: `python -m train.photo [--images DIR] [--psf-size 17] ...`.

Sharp crops are blurred with synthetic camera shake as training goes, and the network learns to estimate the PSF
(Schuler et al. 2015). Stages are added one by one; a scale for larger PSFs is put on a trained one with ``--from``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deconvnet.backend import Array, to_device, to_host
from deconvnet.errors import DeconvnetError
from deconvnet.files import save_figure
from deconvnet.layers.image_estimation import blurry_spectrum, estimate_image
from deconvnet.layers.losses import relative_psf_error, squared_psf_error
from deconvnet.metrics import psf_error, psnr, squared_difference
from deconvnet.networks.io import build_network, load_network

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
from .recipes import PHOTO, with_recipe

if TYPE_CHECKING:
    from deconvnet.blur.synthesis import BurstSynthesizer

PROGRAM = "train.photo"
OUT = "runs/photo"
OUTLIER = 10.0  # examples with an error above this multiple of the running mean are left out (Sec. 3.3)
RATES = {"adam": 3e-3, "sgd": 1e-2, "adadelta": 0.01}  # the last is the paper's
#: The error of each PSF, and their mean with its gradient.
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., tuple[Array, Array]]]] = {
    "relative": (psf_error, relative_psf_error),
    "squared": (functools.partial(squared_difference, batch=True), squared_psf_error),
}
BETA_NAME = ".quotient.log_beta"
FIXED_BETA = 1e-4  # β_k (Sec. 3.1.2), of transforms that keep the energy
VALIDATION_SEED = 20151  # fixed, so that runs with other seeds are measured on the same photographs and blurs
CHUNK = 4  # validation photographs at a time
BETA = 1e-2  # of the quotient that shows what a PSF is worth


def deconvolve(frames: np.ndarray, psfs: np.ndarray) -> np.ndarray:
    """A quick look at what a PSF is worth: the quotient of image and PSF, with a fixed regulariser."""
    y_hat, grid = blurry_spectrum(frames, 2 * psfs.shape[-1])
    return estimate_image(y_hat, psfs, BETA, grid, frames.shape[-2:])[0]


class PhotoValidation:
    """Fixed photographs that training never sees, with fixed blurs.

    Parameters
    ----------
    synthesizer : BurstSynthesizer
    count : int
    """

    def __init__(self, synthesizer: BurstSynthesizer, count: int) -> None:
        rng = np.random.default_rng(VALIDATION_SEED)
        parts = [synthesizer.batch(rng, min(CHUNK, count - i), 1) for i in range(0, count, CHUNK)]
        self.frames = np.concatenate([p.frames[:, 0] for p in parts])
        self.sharp = np.concatenate([p.sharp for p in parts])
        self.psfs = np.concatenate([p.psfs[:, 0] for p in parts])

    def estimates(self, network: Any, device: str, chosen: Any = slice(None)) -> list[np.ndarray]:
        """PSFs after every stage of the finest scale, a list of arrays (count, k, k) on the CPU."""
        frames = self.frames[chosen]
        parts = [
            network.estimate_psf(to_device(frames[i : i + CHUNK], device))[-1] for i in range(0, len(frames), CHUNK)
        ]
        return [np.concatenate([to_host(psfs) for psfs in stage]) for stage in zip(*parts)]

    def errors(self, network: Any, device: str) -> list[float]:
        """Mean relative PSF error after every stage of the finest scale."""
        return [float(psf_error(psfs, self.psfs).mean()) for psfs in self.estimates(network, device)]

    def references(self) -> dict[str, float]:
        """Error without a network: the mean of all true PSFs as the estimate."""
        mean = np.broadcast_to(self.psfs.mean(axis=0), self.psfs.shape)
        return {"mean PSF": float(psf_error(mean, self.psfs).mean())}

    def pictures_psnr(self, network: Any, device: str) -> dict[str, float]:
        """PSNR of the blurry photographs, and of those deconvolved with the estimated and with the true PSFs."""
        border = self.psfs.shape[-1]
        scores = {"blurry": psnr(self.frames, self.sharp, border=border, batch=True)}
        for name, psfs in (("estimated PSF", self.estimates(network, device)[-1]), ("true PSF", self.psfs)):
            scores[name] = psnr(deconvolve(self.frames, psfs), self.sharp, border=border, batch=True)
        return {name: round(float(values.mean()), 2) for name, values in scores.items()}


class PhotoTask:
    """A single-photo network, the photographs it learns from, and those it is measured on (see `train.loop.Task`).

    Parameters
    ----------
    network : Pyramid
    settings : dict
    training : BurstSynthesizer
    validation : PhotoValidation
    device : {"cpu", "cuda"}
    learned : int
        Stages that come trained, counted through all scales; the others are added one by one.

    Notes
    -----
    Schuler et al. 2015, Sec. 3.3: a new stage is trained alone for ``frozen_steps`` steps, then with those before it;
    the next one comes after ``stage_steps``. Coarser scales stay as they are unless ``train_coarse``.
    """

    unit = ""

    def __init__(
        self,
        network: Any,
        settings: dict[str, Any],
        training: BurstSynthesizer,
        validation: PhotoValidation,
        device: str,
        learned: int,
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self.training, self.validation = training, validation
        self.parts = Parts(network)
        self.learned = learned
        self.stages = len(network.stage_names)
        self.finest = self.stages - len(network.scales[-1].stages)  # first stage of the finest scale
        self._fix_beta()

    def _plan(self, step: int) -> tuple[int, int]:
        """``(depth, first)``: stages that are run at a step, and the first of those that are trained."""
        lowest = 0 if self.settings["train_coarse"] else self.finest
        new = self.stages - self.learned
        if new == 0:
            return self.stages, lowest
        added, since = divmod(step, self.settings["stage_steps"])
        if added >= new:
            return self.stages, lowest
        depth = self.learned + added + 1
        alone = depth > lowest + 1 and since < self.settings["frozen_steps"]
        return depth, depth - 1 if alone else lowest

    def trainable(self, step: int) -> set[str]:
        depth, first = self._plan(step)
        prefixes = tuple(self.network.stage_prefixes()[first:depth])
        names = {name for name in self.network.parameters() if name.startswith(prefixes)}
        if self.settings["beta"] == "fixed":
            names = {name for name in names if not name.endswith(BETA_NAME)}
        return names

    def _fix_beta(self) -> None:
        """Set β_k of the stages that did not come trained; nothing trains it."""
        if self.settings["beta"] == "fixed":
            for stage in self.network.all_stages()[self.learned :]:
                stage.quotient.log_beta.value[...] = np.log(FIXED_BETA)

    def resume(self, step: int) -> None:
        self.network.depth = self._plan(step - 1)[0] if step else max(1, self.learned)

    def accumulate(self, rng: np.random.Generator, step: int, running: float | None) -> tuple[float, float]:
        begun = time.perf_counter()
        depth, first = self._plan(step)
        if self.network.depth != depth:
            self.network.grow(depth)
            self._fix_beta()
        batch = self.training.batch(rng, self.settings["batch"], 1, device=self.device)
        truth = batch.psfs[:, 0]
        synthesis = time.perf_counter() - begun
        errors_of, judge = LOSSES[self.settings["loss"]]
        weight = self.settings["stage_loss"]

        def learn(network: Any, part: slice) -> tuple[float, float]:
            psfs, cache = network.forward(batch.frames[part, 0], train=True)
            errors = errors_of(psfs[-1], truth[part])
            kept = errors <= (np.inf if running is None else OUTLIER * running)
            if not kept.any():
                return 0.0, 0.0
            wanted = truth[part][kept]
            loss, dlast = judge(psfs[-1][kept], wanted)
            dpsfs = [0 * psf for psf in psfs]
            dpsfs[-1][kept] = dlast
            for i in range(max(first, self.finest), depth - 1 if weight else 0):
                dpsfs[i][kept] = weight * judge(psfs[i][kept], wanted)[1]
            network.backward(dpsfs, cache, first=first)
            return float(loss), float(kept.sum())

        # An example is work enough for a thread, and its gradients are small.
        loss, kept = self.parts.learn(learn, len(truth), len(truth))
        return (loss if kept else math.nan if running is None else running), synthesis

    def validate(self) -> dict[str, float]:
        errors = self.validation.errors(self.network, self.device)
        return {"PSF error": errors[-1], **{f"stage {i + 1}": error for i, error in enumerate(errors[:-1])}}

    def reference_scores(self) -> dict[str, dict[str, float]]:
        return {"PSF error": self.validation.references()}

    def summary(self) -> dict[str, Any]:
        errors = self.validation.errors(self.network, self.device)
        first = self.finest
        return {
            "network": self.network.name,
            "psf_sizes": self.network.psf_sizes,
            "stages": self.network.depth,
            "psf_error": {
                **{name: round(error, 4) for name, error in self.validation.references().items()},
                **{self.network.stage_names[first + i]: round(error, 4) for i, error in enumerate(errors)},
            },
            "psnr": self.validation.pictures_psnr(self.network, self.device),
        }

    def picture(self, path: Path) -> None:
        draw_examples(path, self.network, self.validation, self.device)


def draw_examples(path: Path, network: Any, data: PhotoValidation, device: str, rows: int = 6) -> None:
    """Rows of a validation picture: true PSF, estimate after each stage, photo before and after, truth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picked = np.unique(np.linspace(0, len(data.psfs) - 1, rows).astype(int))
    truth, frames, sharp = data.psfs[picked], data.frames[picked], data.sharp[picked]
    estimates = data.estimates(network, device, picked)
    restored = deconvolve(frames, estimates[-1])
    border = truth.shape[-1]
    columns = [("true PSF", truth, None)]
    columns += [(f"stage {i + 1}", psfs, psf_error(psfs, truth)) for i, psfs in enumerate(estimates)]
    for title, pictures in (("blurry", frames), ("restored", restored)):
        columns.append((title, pictures, psnr(pictures, sharp, border=border, batch=True)))
    columns += [("sharp", sharp, None)]
    figure = Figure(figsize=(1.7 * len(columns), 1.85 * len(picked)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(picked), len(columns), squeeze=False)
    for j, (title, pictures, scores) in enumerate(columns):
        is_psf = pictures.shape[-1] == truth.shape[-1]
        for i, picture in enumerate(pictures):
            # One scale for all PSFs of a row, and [0, 1] for photographs: what looks equal is equal.
            axes[i][j].imshow(
                picture, cmap="gray", vmin=0, vmax=truth[i].max() if is_psf else 1, interpolation="nearest"
            )
            axes[i][j].set_axis_off()
            score = "" if scores is None else f"error {scores[i]:.2f}" if is_psf else f"{scores[i]:.1f} dB"
            axes[i][j].set_title(f"{title}\n{score}" if i == 0 else score, fontsize=7)
    save_figure(path, figure, dpi=130)


DEFAULTS: dict[str, Any] = {
    "recipe": "default",
    "images": None,
    "shake": None,
    "psf_size": 17,
    "smallest": None,
    "noise": 0.01,
    "crop": 128,
    "from": None,
    "stages": 3,
    "filters": 32,
    "filter_size": None,
    "hidden_layers": 1,
    "features": None,
    "targets": "learned",
    "beta": "learned",
    "train_coarse": False,
    "steps": 6000,
    "stage_steps": None,
    "frozen_steps": 1000,
    "loss": "relative",
    "stage_loss": 0.3,
    "batch": 4,
    "optimizer": "adam",
    "lr": None,
    "lr_schedule": "cosine",
    "clip": 1.0,
    "seed": 0,
    "validate_every": 500,
    "checkpoint_every": 250,
    "validation": 48,
    "validation_crop": 256,
}


def _numbers(text: str) -> list[int]:
    """``"2,2,4"`` as a list of whole numbers from 1 on."""
    return [positive(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command_name("photo"),
        description="Train a network that estimates the blur of a single photo, on photographs blurred as training "
        "goes. A run learns one scale: train 17 first, then 25 with --from its model, then 33 with --from that.",
        argument_default=argparse.SUPPRESS,  # what was not said is filled from DEFAULTS, or from the run resumed
    )
    parser.add_argument(
        "--recipe", choices=tuple(PHOTO), help="defaults of all other options: ours, or the published ones"
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--images", metavar="DIR", help="folder of sharp photographs, or a packed file (default: those of scikit-image)"
    )
    data.add_argument(
        "--shake", metavar="PATH", help="recorded hand shake for half of the blurs: a gyroscope text file"
    )
    data.add_argument("--psf-size", type=odd, metavar="PX", help="side of the PSFs, odd: 17, 25, 33, ... (default 17)")
    data.add_argument(
        "--smallest", type=positive, metavar="PX", help="blurs of every size from this on (default: all of --psf-size)"
    )
    data.add_argument(
        "--noise", type=noise_level, metavar="SIGMA", help="standard deviation of the noise (default 0.01)"
    )
    data.add_argument("--crop", type=positive, metavar="PX", help="side of the blurry crops (default 128)")
    net = parser.add_argument_group("network")
    net.add_argument("--from", metavar="MODEL", help="go on from a trained model, or put this scale on its scales")
    net.add_argument("--stages", type=positive, help="stages of the scale (default 3)")
    net.add_argument("--filters", type=positive, help="filters of each stage (default 32)")
    net.add_argument("--filter-size", type=positive, metavar="PX", help="their side (default about half of the PSF's)")
    net.add_argument("--hidden-layers", type=positive, help="recombinations with a tanh after the filters (default 1)")
    net.add_argument("--features", type=_numbers, metavar="N,N,...", help="feature pairs of each stage (default 2,2,4)")
    net.add_argument(
        "--targets",
        choices=("learned", "gradients"),
        help="blurry feature images: learned (default), or the picture's two gradients",
    )
    net.add_argument(
        "--beta", choices=("learned", "fixed"), help="regulariser of the PSF (default learned; fixed: 1e-4)"
    )
    net.add_argument("--train-coarse", action="store_true", help="train the coarser scales too")
    opt = parser.add_argument_group("optimisation")
    opt.add_argument("--steps", type=positive, help=f"default {DEFAULTS['steps']}")
    opt.add_argument(
        "--stage-steps", type=positive, help="steps before the next stage is added (default: equal shares)"
    )
    opt.add_argument("--frozen-steps", type=natural, help="steps that a new stage is trained alone (default 1000)")
    opt.add_argument("--loss", choices=tuple(LOSSES), help="error of the PSF, relative to its energy (default) or not")
    opt.add_argument("--stage-loss", type=weight, metavar="W", help="weight of the earlier stages' PSFs (default 0.3)")
    opt.add_argument("--batch", type=positive, help="photographs a step (default 4)")
    opt.add_argument("--optimizer", choices=tuple(RATES), help="default adam; the paper's is adadelta")
    opt.add_argument("--lr", type=rate, help="highest learning rate (default 3e-3, sgd 1e-2, adadelta 0.01)")
    opt.add_argument("--lr-schedule", choices=("cosine", "step", "constant"))
    opt.add_argument("--clip", type=weight, help="gradients longer than this are shortened (default 1; 0: none)")
    opt.add_argument("--seed", type=natural)
    runs = add_run_options(parser, out=OUT, validation="validation photographs (default 48)")
    runs.add_argument("--validation-crop", type=positive, metavar="PX", help="their side (default 256)")
    return parser


def _fresh_settings(said: dict[str, Any]) -> dict[str, Any]:
    """Settings of a new run: the defaults and what was said."""
    settings = with_recipe(DEFAULTS, PHOTO, said)
    if settings["lr"] is None:
        settings["lr"] = RATES[settings["optimizer"]]
    if settings["smallest"] is not None and settings["smallest"] > settings["psf_size"]:
        raise DeconvnetError(
            f"--smallest {settings['smallest']} is larger than --psf-size {settings['psf_size']}: choose a smaller one"
        )
    least = 2 * settings["psf_size"]
    for name in ("crop", "validation_crop"):
        if settings[name] < least:
            option = "--" + name.replace("_", "-")
            raise DeconvnetError(
                f"{option} {settings[name]} is too small for PSFs of {settings['psf_size']}: use {least}"
            )
    return settings


def _build(settings: dict[str, Any]) -> tuple[Any, int]:
    """``(network, stages that come trained)``: fresh, or the model of ``--from`` with what it lacks."""
    from deconvnet.networks.photo_pyramid import scale_config

    size, stages = settings["psf_size"], settings["stages"]
    features = settings["features"]
    if features is not None and len(features) != stages:
        raise DeconvnetError(f"--features names {len(features)} stages and --stages is {stages}: name as many")
    wish = scale_config(
        size,
        stages,
        filters=settings["filters"],
        filter_size=settings["filter_size"],
        hidden_layers=settings["hidden_layers"],
        features=features,
        targets=settings["targets"],
    )
    rng = np.random.default_rng((settings["seed"], 1))
    if settings["from"] is None:
        network = build_network("pyramid", {"scales": [wish]}, rng=rng)
        return network, 0
    old = load_network(settings["from"], kind="photo")
    scales = old.config["scales"]
    if old.psf_size > size:
        raise DeconvnetError(
            f"{settings['from']} is for PSFs of {old.psf_size} already: give --psf-size {old.psf_size} or a larger one"
        )
    if old.psf_size < size and old.depth < len(old.stage_names):
        raise DeconvnetError(
            f"{settings['from']} has only {old.depth} of its {len(old.stage_names)} stages trained: "
            "finish that run with --resume before you put a scale on it"
        )
    if old.psf_size == size:
        if scales[-1]["stages"] > stages:
            raise DeconvnetError(f"{settings['from']} has {scales[-1]['stages']} stages: give --stages as many or more")
        wish = {
            **scales[-1],
            "stages": stages,
            "features": scales[-1]["features"] + wish["features"][scales[-1]["stages"] :],
        }
        scales = scales[:-1]
    network = build_network("pyramid", {"scales": [*scales, wish]}, rng=rng)
    known = network.state()
    known.update(old.state())
    network.load_state(known)
    network.grow(old.depth)
    return network, old.depth


def make_task(settings: dict[str, Any], device: str, *, quiet: bool = False) -> PhotoTask:
    """The task of a run: photographs, synthesizers, validation set and network."""
    from deconvnet.blur.psf import load_shake
    from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer

    size = settings["psf_size"]
    network, learned = _build(settings)
    new = len(network.stage_names) - learned
    if settings["stage_steps"] is None:
        settings["stage_steps"] = max(1, settings["steps"] // max(1, new))
    seen, unseen = read_photographs(settings["images"], PROGRAM, quiet=quiet, min_side=settings["crop"] + size - 1)
    shake = load_shake(settings["shake"]) if settings["shake"] else None
    smallest = settings["smallest"] or size
    preset = dataclasses.replace(
        BurstSettings.plain(psf_size=size, crop=settings["crop"], noise=settings["noise"]),
        supports=tuple(range(smallest, size + 1)),
        recorded=0.5 if shake else 0.0,
    )
    training = BurstSynthesizer(seen, preset, shake=shake)
    # Measured with the largest blurs only, the hardest, so that runs with other --smallest can be compared.
    measured = dataclasses.replace(preset, crop=settings["validation_crop"], supports=(size,))
    validation = PhotoValidation(BurstSynthesizer(unseen, measured, shake=shake), settings["validation"])
    network.to(device)
    say(
        f"{len(seen)} photographs to learn from, {len(unseen)} to validate on; PSFs of "
        f"{', '.join(map(str, network.psf_sizes))} px, {len(network.stage_names)} stages, {learned} of them trained, "
        f"{sum(p.value.size for p in network.parameters().values())} weights, device {device}"
    )
    return PhotoTask(network, settings, training, validation, device, learned)


def _report(summary: dict[str, Any]) -> Iterator[str]:
    """Lines that tell how the network did."""
    yield "relative PSF error: " + ", ".join(f"{name} {error:.3f}" for name, error in summary["psf_error"].items())
    yield "PSNR in dB: " + ", ".join(f"{name} {value:.2f}" for name, value in summary["psnr"].items())


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m train.photo``; returns the exit status."""
    said = vars(_parser().parse_args(arguments))
    return run(
        PROGRAM,
        said,
        out=OUT,
        defaults=DEFAULTS,
        fresh_settings=_fresh_settings,
        make_task=make_task,
        report=_report,
    )


if __name__ == "__main__":
    sys.exit(main())
