"""Train the network of the final image: `python -m train.image [--images DIR] ...`.

Sharp crops are blurred with camera shake of every size as training goes, with noise of every strength; the network gets
the PSF, true or as wrong as estimates are, and learns to restore the crop.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deconvnet.backend import Array
from deconvnet.files import save_figure
from deconvnet.layers.losses import log_squared_error
from deconvnet.metrics import psnr
from deconvnet.networks.image_network import ImageNetwork, Measured
from deconvnet.ops.border import extend_periodically, extended_shape
from deconvnet.ops.psf import psf_to_otf
from deconvnet.restore.deconvolve.measured import measure
from deconvnet.restore.deconvolve.operators import SATURATED
from deconvnet.restore.deconvolve.solvers import deconvolve, estimate_noise

from .command import add_run_options, positive, read_photographs, run
from .parts import Parts

if TYPE_CHECKING:
    from deconvnet.blur.synthesis import Bursts, BurstSynthesizer

PROGRAM = "train.image"
OUT = "runs/image"
VALIDATION_SEED = 20091  # fixed, so that runs with other seeds are measured on the same pictures
BORDER = 8  # pixels of the crop's border that the loss leaves out
FLOOR = 1e-6  # error below which an example hardly matters any more: 60 dB
#: Rows of the validation: name, standard deviation of the noise, whether PSFs are true.
ROWS = (("1 % noise", 0.01, True), ("3 % noise", 0.03, True), ("1 % noise, PSF estimated", 0.01, False))
#: Least standard deviation of what a true PSF leaves unexplained.
EXACT = 0.002


def disturbed(rng: np.random.Generator, psfs: Array) -> np.ndarray:
    """PSFs (B, k, k) as wrong as estimates are: softer, uneven, without their faint parts."""
    side = psfs.shape[-1]
    offset = np.arange(side) - side // 2
    radius = offset[:, None] ** 2 + offset**2
    found = np.empty_like(psfs)
    for i, psf in enumerate(psfs):
        sigma = rng.uniform(0.15, 0.7)
        gauss = np.exp(-radius / (2 * sigma**2))
        spectrum = np.fft.rfft2(np.fft.ifftshift(gauss / gauss.sum())) * np.fft.rfft2(psf)
        soft = np.maximum(np.fft.irfft2(spectrum, psf.shape), 0)
        grain = np.exp(rng.uniform(0.0, 0.5) * rng.standard_normal(psf.shape))
        rough = soft * grain
        rough *= rough > rng.uniform(0.01, 0.06) * rough.max()
        found[i] = rough / rough.sum()
    return found


def on_grid(frames: Array, psfs: Array) -> tuple[Array, Array, Array]:
    """Blurry crops (B, H, W) continued to a periodic grid, transforms of the PSFs, and where the crops were seen."""
    shape = extended_shape(frames.shape[-2:], psfs.shape[-1])
    seen = np.zeros((len(frames), *shape), frames.dtype)
    seen[:, : frames.shape[1], : frames.shape[2]] = frames < SATURATED
    return extend_periodically(frames, shape), psf_to_otf(psfs, shape), seen


def unexplained(frames: Array, sharp: Array, psfs: Array, reach: int) -> np.ndarray:
    """Standard deviation of what PSFs leave of blurry crops (B, H, W), from the sharp ones, without the noise."""
    shape = frames.shape[-2:]
    predicted = np.fft.irfft2(np.fft.rfft2(sharp) * psf_to_otf(psfs, shape), shape)
    inside = (slice(None), slice(reach, -reach), slice(reach, -reach))
    return (predicted - frames)[inside].std(axis=(-2, -1)).astype(np.float32)


class Case:
    """Blurry crops with PSFs and the noise levels that go with them."""

    def __init__(self, frames: Array, sharp: Array, psfs: Array, noise: Array) -> None:
        self.frames, self.sharp, self.psfs, self.noise = frames, sharp, psfs, noise

    def measured(self, chosen: slice = slice(None)) -> Measured:
        frames, psfs = self.frames[chosen], self.psfs[chosen]
        y, otf, seen = on_grid(frames, psfs)
        return measure(y, otf, self.noise[chosen], seen)

    def inside(self, pictures: Array, border: int) -> Array:
        """The crop's pixels without a border."""
        height, width = self.frames.shape[-2:]
        return pictures[:, border : height - border, border : width - border]


def make_case(rng: np.random.Generator, batch: Bursts, share: float) -> Case:
    """A `Case` of a batch of bursts of one frame; ``share`` of them get disturbed PSFs."""
    frames, psfs = batch.frames[:, 0], batch.psfs[:, 0]
    noise = np.array([max(estimate_noise(frame), EXACT) for frame in frames], np.float32)
    wrong = rng.random(len(frames)) < share
    if wrong.any():
        psfs = psfs.copy()
        true = psfs[wrong]
        psfs[wrong] = disturbed(rng, true)
        reach = psfs.shape[-1] // 2
        shape = frames.shape[-2:]
        blurred = np.fft.irfft2(np.fft.rfft2(batch.sharp[wrong]) * psf_to_otf(true, shape), shape)
        error = unexplained(blurred, batch.sharp[wrong], psfs[wrong], reach)
        # A user does not know it exactly either.
        noise[wrong] = np.hypot(noise[wrong], error * np.exp(0.3 * rng.standard_normal(len(error))))
    return Case(frames, batch.sharp, psfs, noise.astype(np.float32))


class ImageTask:
    """The network, the pictures it learns from, and those it is measured on (see `train.loop.Task`)."""

    unit = " dB"

    def __init__(
        self,
        network: ImageNetwork,
        settings: dict[str, Any],
        training: Sequence[tuple[BurstSynthesizer, int]],
        validation: Mapping[str, Case],
    ) -> None:
        self.network, self.settings, self.training, self.validation = network, settings, training, validation
        self.parts = Parts(network)

    def resume(self, step: int) -> None:
        """Nothing changes with the step."""

    def trainable(self, step: int) -> None:
        return None

    def accumulate(self, rng: np.random.Generator, step: int, running: float | None) -> tuple[float, float]:
        begun = time.perf_counter()
        synthesizer, batch = self.training[int(rng.random() < self.settings["large"])]
        case = make_case(rng, synthesizer.batch(rng, batch, 1), self.settings["estimated"])
        synthesis = time.perf_counter() - begun

        def learn(network: Any, part: slice) -> tuple[float, float]:
            pictures, cache = network.forward(case.measured(part), train=True)
            loss, slope = log_squared_error(case.inside(pictures, BORDER), case.inside(case.sharp[part], BORDER), FLOOR)
            dpictures = np.zeros_like(pictures)
            case.inside(dpictures, BORDER)[...] = slope
            network.backward(dpictures, cache)
            return float(loss), len(pictures)

        return self.parts.learn(learn, len(case.frames), len(case.frames))[0], synthesis

    def restored(self, case: Case) -> Array:
        parts = [self.network.forward(case.measured(slice(i, i + 4)))[0] for i in range(0, len(case.frames), 4)]
        return np.concatenate(parts)

    def validate(self) -> dict[str, float]:
        border = self.settings["validation_border"]
        found = {
            name: float(
                psnr(case.inside(self.restored(case), border), case.inside(case.sharp, border), batch=True).mean()
            )
            for name, case in self.validation.items()
        }
        return found

    def reference_scores(self) -> dict[str, dict[str, float]]:
        border = self.settings["validation_border"]
        scores = {}
        for name, case in self.validation.items():
            pictures = np.stack(
                [deconvolve(f, p, noise=float(n)) for f, p, n in zip(case.frames, case.psfs, case.noise)]
            )
            truth = case.inside(case.sharp, border)
            scores[name] = {
                "blurry": float(psnr(case.inside(case.frames, border), truth, batch=True).mean()),
                "quotient": float(psnr(case.inside(self._parts(case, "quotients"), border), truth, batch=True).mean()),
                "sparse": float(psnr(case.inside(self._parts(case, "sparse"), border), truth, batch=True).mean()),
                "hyper-Laplacian": float(psnr(case.inside(pictures, border), truth, batch=True).mean()),
            }
        return scores

    @staticmethod
    def _parts(case, name):
        """What `measure` makes of all crops: "sparse", or the middling one of the "quotients"."""
        found = [getattr(case.measured(slice(i, i + 4)), name) for i in range(0, len(case.frames), 4)]
        return np.concatenate([part if name == "sparse" else part[1] for part in found])

    def summary(self) -> dict[str, Any]:
        return {"network": self.network.name, "references": self.reference_scores()}

    def picture(self, path: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 9), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(ROWS), 4)
        for row, (name, case) in zip(axes, self.validation.items()):
            hyper = deconvolve(case.frames[0], case.psfs[0], noise=float(case.noise[0]))
            mine = self.network.forward(case.measured(slice(0, 1)))[0][0][: hyper.shape[0], : hyper.shape[1]]
            pictures = {"blurry": case.frames[0], "hyper-Laplacian": hyper, "network": mine, "sharp": case.sharp[0]}
            for ax, (title, picture) in zip(row, pictures.items()):
                ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
                ax.set_axis_off()
                ax.set_title(f"{title}, {name}: {psnr(picture, case.sharp[0]):.1f} dB", fontsize=7)
        save_figure(path, figure, dpi=130)


DEFAULTS = {
    "images": None,
    "shake": None,
    "width": 32,
    "depth": 5,
    "noise": [0.001, 0.05],
    "estimated": 0.4,
    "large": 0.2,
    "crop": 128,
    "steps": 20000,
    "batch": 8,
    "optimizer": "adam",
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "clip": 1.0,
    "seed": 0,
    "validate_every": 500,
    "checkpoint_every": 500,
    "validation": 24,
    "validation_border": 20,
}


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m train.image",
        description="Train the network that makes the final image from a blurry one and its PSF.",
        argument_default=argparse.SUPPRESS,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--images", metavar="DIR", help="folder of sharp photographs (default: those of scikit-image)")
    data.add_argument("--shake", metavar="PATH", help="recorded hand shake for some of the blurs")
    data.add_argument("--estimated", type=float, metavar="SHARE", help="examples with disturbed PSFs (default 0.4)")
    data.add_argument("--large", type=float, metavar="SHARE", help="batches with PSFs of 33 to 65 px (default 0.2)")
    data.add_argument("--crop", type=positive, metavar="PX", help="side of the blurry crops (default 128)")
    net = parser.add_argument_group("network")
    net.add_argument("--width", type=positive, help="channels, at most 32 (default 32)")
    net.add_argument("--depth", type=positive, help="convolutions of each of the two networks (default 5)")
    opt = parser.add_argument_group("optimisation")
    opt.add_argument("--steps", type=positive, help=f"default {DEFAULTS['steps']}")
    opt.add_argument("--batch", type=positive, help="pictures a step (default 8)")
    opt.add_argument("--lr", type=float, help="highest learning rate (default 1e-3)")
    opt.add_argument("--lr-schedule", choices=("cosine", "step", "constant"))
    opt.add_argument("--seed", type=int)
    add_run_options(parser, out=OUT, validation="validation pictures a row (default 24)")
    return parser


def make_task(settings: dict[str, Any], device: str, *, quiet: bool = False) -> ImageTask:
    """The task of a run: photographs, synthesizers, validation set and network."""
    from deconvnet.blur.psf import load_shake
    from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer

    rng = np.random.default_rng((settings["seed"], 1))
    network = ImageNetwork(width=settings["width"], depth=settings["depth"], rng=rng)
    crop = settings["crop"]
    seen, unseen = read_photographs(settings["images"], PROGRAM, quiet=quiet, min_side=crop + 32)
    shake = load_shake(settings["shake"]) if settings["shake"] else None
    plain = BurstSettings(
        psf_size=33,
        crop=crop,
        supports=tuple(range(3, 34)),
        recorded=0.4,
        clip=True,
        exposure=(0.8, 1.6),
        exposed=0.3,
        noise=tuple(settings["noise"]),
        scales=(1.0, 0.5),
    )
    large = dataclasses.replace(plain, psf_size=65, crop=crop + 32, supports=tuple(range(33, 66, 2)))
    training = [
        (BurstSynthesizer(seen, plain, shake=shake), settings["batch"]),
        (BurstSynthesizer(seen, large, shake=shake), max(1, settings["batch"] // 2)),
    ]
    validation = {}
    for name, noise, true in ROWS:
        fixed = dataclasses.replace(
            plain, crop=192, psf_size=17, supports=(17,), exposed=0.0, noise=(noise, noise), scales=(1.0,)
        )
        rng = np.random.default_rng(VALIDATION_SEED)
        batch = BurstSynthesizer(unseen, fixed, shake=shake).batch(rng, settings["validation"], 1)
        validation[name] = make_case(rng, batch, 0.0 if true else 1.0)
    return ImageTask(network, settings, training, validation)


def _fresh_settings(said):
    return {**DEFAULTS, **said}


def _report(summary):
    for name, scores in summary["references"].items():
        found = {**scores, "network": summary["validation"][name]}
        yield f"{name}: " + ", ".join(f"{what} {value:.2f}" for what, value in found.items())


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m train.image``; returns the exit status."""
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
