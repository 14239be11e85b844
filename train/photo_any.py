"""Train the network for PSFs of any size: `python -m train.photo_any [--images DIR] [--shake FILE] ...`.

Every batch has PSFs of one size, drawn anew, and crops to match, so that the pyramid has five levels in one step and
nine in another. The one stage that serves them all learns from every level at once.
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

from deconvnet.backend import Array, array_module, to_device, to_host
from deconvnet.blur.simple_paths import sample_pause_psfs, sample_stroke_psfs
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.errors import DeconvnetError
from deconvnet.files import save_figure
from deconvnet.layers.psf_resize import psf_resize
from deconvnet.networks.io import build_network, load_network

from .command import add_run_options, positive, read_photographs, run
from .parts import Parts

if TYPE_CHECKING:
    from deconvnet.blur.photographs import Photographs
    from deconvnet.blur.psf import Shake
    from deconvnet.blur.synthesis import Bursts
    from deconvnet.networks.photo_scale_free import ScaleFreePhoto

PROGRAM = "train.photo_any"
OUT = "runs/photo-any"
OUTLIER = 10.0  # examples with an error above this multiple of the running mean are left out, as in `train.single`
VALIDATION_SEED = 20152
VALIDATION_NOISE = 0.01
CHUNK = 4  # validation photographs at a time
CAMERA = 0.35  # share of the batches that went through a camera
SHARPENED = 0.3  # share of those whose frames were sharpened by it
HALF = 0.3  # relative error at which an example counts half
STROKES, PAUSES = 0.15, 0.15  # shares of the PSFs that are simple paths
ACROSS = 64  # pixels by which crops are larger than five times the PSF's side


def shifted_errors(psfs: Array, truth: Array, reach: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of PSFs with whole-pixel shifts forgiven, and the shifts.

    Parameters
    ----------
    psfs, truth : float array (B, k, k)
    reach : int, optional
        Largest shift down and across; any by default.

    Returns
    -------
    errors : float array (B,)
        ``min_s ‖psf − shift_s(truth)‖² / ‖truth‖²``, on a grid without borders.
    shifts : int array (B, 2)
        Pixels down and right that the truth is moved by.
    """
    psfs, truth = to_host(psfs).astype(np.float64), to_host(truth).astype(np.float64)
    side = psfs.shape[-1]
    n = 2 * side
    reach = side - 1 if reach is None else reach
    product = np.fft.rfft2(psfs, (n, n)) * np.fft.rfft2(truth, (n, n)).conj()
    overlap = np.fft.irfft2(product, (n, n))
    lags = np.arange(-reach, reach + 1)
    overlap = overlap[:, lags[:, None] % n, lags % n].reshape(len(psfs), -1)
    best = overlap.argmax(axis=1)
    energy = (truth**2).sum(axis=(1, 2))
    errors = ((psfs**2).sum(axis=(1, 2)) + energy - 2 * overlap.max(axis=1)) / energy
    return np.maximum(errors, 0), np.stack([lags[best // len(lags)], lags[best % len(lags)]], axis=1)


def move(psfs: Array, shifts: Array) -> Array:
    """PSFs moved by whole pixels down and right; what leaves the grid is lost."""
    xp = array_module(psfs)
    moved = xp.zeros_like(psfs)
    side = psfs.shape[-1]
    for out, psf, (down, right) in zip(moved, psfs, shifts.tolist()):
        rows, columns = (
            (slice(max(s, 0), side + min(s, 0)), slice(max(-s, 0), side - max(s, 0))) for s in (down, right)
        )
        out[rows[0], columns[0]] = psf[rows[1], columns[1]]
    return moved


class MixedShake(BurstSynthesizer):
    """Single photos whose PSFs are also strokes and pauses, and that a camera may have sharpened.

    Parameters
    ----------
    photographs, settings, shake
        As for `BurstSynthesizer`.
    simple : (float, float)
        Shares of strokes and of pauses.
    sharpened : float
        Share of the examples whose frames are sharpened after all that happened to them.
    """

    def __init__(
        self,
        photographs: Photographs,
        settings: BurstSettings,
        shake: Shake | None = None,
        *,
        simple: tuple[float, float] = (STROKES, PAUSES),
        sharpened: float = 0.0,
    ) -> None:
        super().__init__(photographs, settings, shake)
        self.simple, self.sharpened = simple, sharpened

    def psfs(
        self, rng: np.random.Generator, batch: int, frames: int, *, device: str = "cpu"
    ) -> tuple[Array, np.ndarray]:
        psfs, sharp = super().psfs(rng, batch, frames, device=device)
        number = rng.random(batch)
        size = self.settings.psf_size
        low = 0.0
        for share, sample in zip(self.simple, (sample_stroke_psfs, sample_pause_psfs)):
            chosen = np.flatnonzero((number >= low) & (number < low + share) & ~sharp)
            low += share
            if len(chosen):
                support = 1 + (size - 1) * rng.random(len(chosen)) ** self.settings.support_power
                psfs[to_device(chosen, device), 0] = sample(rng, len(chosen), support, size, device=device)
        return psfs, sharp

    def batch(
        self,
        rng: np.random.Generator,
        batch: int,
        frames: int,
        *,
        device: str = "cpu",
        part: slice = slice(None),
    ) -> Bursts:
        made = super().batch(rng, batch, frames, device=device, part=part)
        if self.sharpened:
            amount = rng.uniform(0.2, 1.0, batch) * (rng.random(batch) < self.sharpened)
            made.frames[...] = unsharp_mask(made.frames, to_device(amount[part].astype(np.float32), device))
        return made


def unsharp_mask(frames: Array, amount: Array) -> Array:
    """What a camera's sharpening makes of frames (B, N, H, W): ``y + amount (y − smooth(y))``, 3×3 binomial."""
    xp = array_module(frames)
    smooth = frames
    for axis in (-2, -1):
        padded = xp.pad(smooth, [(0, 0), (0, 0), *((1, 1) if axis == a else (0, 0) for a in (-2, -1))], mode="edge")
        n = frames.shape[axis]
        parts = [padded[..., i : i + n, :] if axis == -2 else padded[..., i : i + n] for i in range(3)]
        smooth = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return xp.clip(frames + amount[:, None, None, None] * (frames - smooth), 0, 1)


def crop_of(psf_size: int) -> int:
    """Side of the training crops of a PSF size: larger for larger PSFs, a multiple of 16."""
    return 16 * round((ACROSS + 5 * psf_size) / 16)


class AnyValidation:
    """Fixed photographs that training never sees, with fixed blurs of one size and noise of 0.01.

    Parameters
    ----------
    photographs : Photographs
    shake : Shake or None
        Half of the blurs are recorded, if there is any.
    psf_size, crop, count : int
    """

    def __init__(self, photographs: Photographs, shake: Shake | None, psf_size: int, crop: int, count: int) -> None:
        preset = dataclasses.replace(
            BurstSettings.plain(psf_size=psf_size, crop=crop, noise=VALIDATION_NOISE),
            supports=(psf_size,),
            recorded=0.5 if shake else 0.0,
        )
        synthesizer = BurstSynthesizer(photographs, preset, shake=shake)
        rng = np.random.default_rng((VALIDATION_SEED, psf_size))
        parts = [synthesizer.batch(rng, min(CHUNK, count - i), 1) for i in range(0, count, CHUNK)]
        self.psf_size = psf_size
        self.frames = np.concatenate([p.frames[:, 0] for p in parts])
        self.psfs = np.concatenate([p.psfs[:, 0] for p in parts])

    def estimates(self, network: Any, device: str, chosen: slice | np.ndarray = slice(None)) -> np.ndarray:
        """PSFs of the finest level (count, k, k), on the CPU."""
        frames = self.frames[chosen]
        parts = [
            to_host(network.estimate_psf(to_device(frames[i : i + CHUNK], device), self.psf_size)[-1][-1])
            for i in range(0, len(frames), CHUNK)
        ]
        return np.concatenate(parts)


class AnyTask:
    """The scale-free network, the photographs it learns from, and those it is measured on (see `train.loop.Task`).

    Parameters
    ----------
    network : ScaleFreePhoto
    settings : dict
    training : dict
        ``{(psf_size, camera): BurstSynthesizer}``.
    validation : list of AnyValidation
    device : {"cpu", "cuda"}
    """

    unit = ""

    def __init__(
        self,
        network: ScaleFreePhoto,
        settings: dict[str, Any],
        training: Mapping[tuple[int, bool], MixedShake],
        validation: Sequence[AnyValidation],
        device: str,
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self.training, self.validation = training, validation
        self.parts = Parts(network)
        # Large PSFs need large crops: they are drawn less often, so that each size gets about the same time.
        odds = np.array([crop_of(size) ** -2.0 for size in settings["psf_sizes"]])
        self.odds = odds / odds.sum()

    def resume(self, step: int) -> None:
        """Nothing changes with the step."""

    def trainable(self, step: int) -> None:
        return None

    def accumulate(self, rng: np.random.Generator, step: int, running: float | None) -> tuple[float, float]:
        begun = time.perf_counter()
        size = int(rng.choice(self.settings["psf_sizes"], p=self.odds))
        camera = bool(rng.random() < self.settings["camera"])
        batch = self.training[size, camera].batch(rng, self.settings["batch"], 1, device=self.device)
        truth = batch.psfs[:, 0]
        synthesis = time.perf_counter() - begun
        # A number of iterations drawn anew makes the stage good at mending what it has made itself.
        self.network.iterations = int(rng.integers(self.settings["iterations"])) + 1

        def learn(network: Any, part: slice) -> tuple[float, float]:
            psfs, cache = network.forward(batch.frames[part, 0], size, train=True)
            losses, dpsfs = self.loss(psfs, truth[part])
            kept = losses[-1] <= (np.inf if running is None else OUTLIER * running)
            if not kept.any():
                return 0.0, 0.0
            where = to_device(kept.astype(np.float32), self.device)[:, None, None] * (len(kept) / kept.sum())
            network.backward([dpsf * where for dpsf in dpsfs], cache)
            return float(losses[-1][kept].mean()), float(kept.sum())

        loss, kept = self.parts.learn(learn, len(truth), len(truth))
        self.network.iterations = self.settings["iterations"]
        return (loss if kept else np.inf if running is None else running), synthesis

    def loss(self, psfs: Sequence[Array], truth: Array) -> tuple[list[np.ndarray], list[Array]]:
        """Relative errors (B,) and the loss's gradient of every PSF, coarse to fine.

        The truth of a coarser level is the true PSF on its pixels. With ``shifts`` it may lie a few pixels off:
        where a picture is cannot be known, and a PSF that is right but moved must not be taught to be blurry.
        What is minimised is the mean of ``h log(1 + error / h)``, h = `HALF`: a PSF that has collapsed to a point has
        an error of ten, and a few of these would own the gradient and teach all others to be soft.
        """
        weight = self.settings["level_loss"]
        losses, gradients = [], []
        for i, psf in enumerate(psfs):
            here = psf.shape[-1]
            finer = (len(psfs) - 1) // self.network.iterations - i // self.network.iterations
            wanted = truth if finer == 0 else psf_resize(truth, (2 ** (-finer / 2),) * 2, here)[0]
            if self.settings["shifts"]:
                reach = max(1, round(here * self.settings["shifts"]))
                wanted = move(wanted, shifted_errors(psf, wanted, reach)[1])
            residual = psf - wanted
            energy = (wanted * wanted).sum(axis=(-2, -1), keepdims=True)
            errors = (residual * residual).sum(axis=(-2, -1), keepdims=True) / energy
            losses.append(to_host(errors[:, 0, 0]))
            factor = 1.0 if i == len(psfs) - 1 else weight
            gradients.append(residual * (2 * factor / len(psf)) / (energy * (1 + errors / HALF)))
        return losses, gradients

    def validate(self) -> dict[str, float]:
        scores = {}
        for data in self.validation:
            errors = shifted_errors(data.estimates(self.network, self.device), data.psfs)[0]
            scores[f"PSF error {data.psf_size} px"] = float(errors.mean())
            scores[f"median {data.psf_size} px"] = float(np.median(errors))
        return scores

    def reference_scores(self) -> dict[str, dict[str, float]]:
        found = {}
        for data in self.validation:
            mean = np.broadcast_to(data.psfs.mean(axis=0), data.psfs.shape)
            found[f"PSF error {data.psf_size} px"] = {"mean PSF": float(shifted_errors(mean, data.psfs)[0].mean())}
        return found

    def summary(self) -> dict[str, Any]:
        return {"network": self.network.name, "psf_error": {k: round(v, 4) for k, v in self.validate().items()}}

    def picture(self, path: Path) -> None:
        draw_examples(path, self.network, self.validation, self.device)


def draw_examples(
    path: Path, network: ScaleFreePhoto, validation: Sequence[AnyValidation], device: str, columns: int = 8
) -> None:
    """True PSFs above their estimates, some of every size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * columns, 2.9 * len(validation)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * len(validation), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, data in enumerate(validation):
        picked = np.unique(np.linspace(0, len(data.psfs) - 1, columns).astype(int))
        truth, found = data.psfs[picked], data.estimates(network, device, picked)
        for j, (a, b, error) in enumerate(zip(truth, found, shifted_errors(found, truth)[0])):
            for k, psf in enumerate((a, b)):
                axes[2 * row + k][j].imshow(psf, cmap="gray", vmin=0, vmax=a.max(), interpolation="nearest")
            axes[2 * row + 1][j].set_title(f"error {error:.2f}", fontsize=7)
    save_figure(path, figure, dpi=130)


DEFAULTS = {
    "images": None,
    "shake": None,
    "from": None,
    "psf_sizes": [9, 13, 17, 21, 25, 33],
    "camera": CAMERA,
    "filters": 32,
    "filter_size": 9,
    "hidden_layers": 1,
    "edge_steps": 4,
    "psf_steps": 12,
    "learned_pairs": 0,
    "levels": 6,
    "iterations": 2,
    "bounds": [],
    "level_loss": 0.3,
    "shifts": 0.08,
    "steps": 125000,
    "batch": 8,
    "optimizer": "adam",
    "lr": 2e-3,
    "lr_schedule": "cosine",
    "clip": 1.0,
    "seed": 0,
    "validate_every": 1000,
    "checkpoint_every": 1000,
    "validation": 48,
    "validation_crop": 240,
    "validation_sizes": [17, 33],
}
NETWORK = (
    "filters",
    "filter_size",
    "hidden_layers",
    "edge_steps",
    "psf_steps",
    "learned_pairs",
    "levels",
    "iterations",
    "bounds",
)


def _odds(text):
    """``"9,13,17"`` as a list of odd numbers."""
    sizes = [positive(part) for part in text.split(",")]
    if any(size < 3 or size % 2 == 0 for size in sizes):
        raise argparse.ArgumentTypeError("PSF sizes must be odd and at least 3")
    return sizes


def _share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m train.photo_any",
        description="Train a network that estimates the blur of a single photo, of any size, with one set of weights.",
        argument_default=argparse.SUPPRESS,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--images", metavar="DIR", help="folder of sharp photographs, or a packed file")
    data.add_argument("--shake", metavar="PATH", help="recorded hand shake: a gyroscope text file")
    data.add_argument("--psf-sizes", type=_odds, metavar="PX,PX,...", help="sides of the PSFs (default 9 to 33)")
    data.add_argument("--camera", type=_share, metavar="SHARE", help=f"of batches taken by a camera (default {CAMERA})")
    net = parser.add_argument_group("network")
    net.add_argument("--from", metavar="MODEL", help="start with the weights of a trained network")
    net.add_argument("--filters", type=positive)
    net.add_argument("--filter-size", type=positive, metavar="PX")
    net.add_argument("--hidden-layers", type=positive)
    net.add_argument("--edge-steps", type=positive, help="steps to a picture of edges (default 4)")
    net.add_argument("--psf-steps", type=positive, help="steps to the PSF (default 12)")
    net.add_argument("--learned-pairs", type=int, help="pairs of learned feature images beside the gradients")
    net.add_argument("--levels", type=positive, help="levels with constants of their own (default 6)")
    net.add_argument("--iterations", type=positive, help="most runs of the stage on every level (default 2)")
    net.add_argument("--bounds", type=_odds, metavar="PX,...", help="PSF sides at which another stage takes over")
    opt = parser.add_argument_group("optimisation")
    opt.add_argument("--level-loss", type=_share, metavar="W", help="weight of the coarser levels' PSFs (default 0.3)")
    opt.add_argument("--shifts", type=_share, help="share of a PSF's side that it may be moved by (default 0.08)")
    opt.add_argument("--steps", type=positive)
    opt.add_argument("--batch", type=positive)
    opt.add_argument("--optimizer", choices=("adam", "sgd", "adadelta"))
    opt.add_argument("--lr", type=float, help="highest learning rate (default 2e-3)")
    opt.add_argument("--lr-schedule", choices=("cosine", "step", "constant"))
    opt.add_argument("--clip", type=float)
    opt.add_argument("--seed", type=int)
    runs = add_run_options(parser, out=OUT, validation="validation photographs of each size (default 48)")
    runs.add_argument("--validation-crop", type=positive, metavar="PX", help="their side (default 240)")
    runs.add_argument("--validation-sizes", type=_odds, metavar="PX,...", help="their PSFs (default 17,33)")
    return parser


def make_task(settings: dict[str, Any], device: str, *, quiet: bool = False) -> AnyTask:
    """The task of a run: photographs, synthesizers, validation sets and network."""
    from deconvnet.blur.psf import load_shake

    network = build_network(
        "scale-free", {name: settings[name] for name in NETWORK}, rng=np.random.default_rng((settings["seed"], 1))
    )
    if settings["from"] is not None:
        network.load_state(load_network(settings["from"], kind="photo").state())
    sizes = settings["psf_sizes"]
    smallest = min(crop_of(size) + size - 1 for size in sizes)
    seen, unseen = read_photographs(settings["images"], PROGRAM, quiet=quiet, min_side=smallest)
    shake = load_shake(settings["shake"]) if settings["shake"] else None
    training = {}
    for size in sizes:
        plain = BurstSettings(
            psf_size=size,
            crop=crop_of(size),
            supports=None,
            support_power=0.35,
            sharp_burst=0.02,
            recorded=0.4 if shake else 0.0,
            noise=(0.001, 0.03),
        )
        taken = dataclasses.replace(
            plain,
            linear=True,
            clip=True,
            exposure=(0.6, 2.0),
            exposed=0.4,
            noise=(0.002, 0.03),
            read_share=(0.0, 0.3),
            grain=(0.0, 0.5),
            jpeg=0.5,
            quality=(75, 98),
        )
        training[size, False] = MixedShake(seen, plain, shake)
        training[size, True] = MixedShake(seen, taken, shake, sharpened=SHARPENED)
    crop = settings["validation_crop"]
    validation = [AnyValidation(unseen, shake, k, crop, settings["validation"]) for k in settings["validation_sizes"]]
    network.to(device)
    print(
        f"{len(seen)} photographs to learn from, {len(unseen)} to validate on; {', '.join(map(str, sizes))} px, "
        f"{sum(p.value.size for p in network.parameters().values())} weights, device {device}",
        file=sys.stderr,
    )
    return AnyTask(network, settings, training, validation, device)


def _fresh_settings(said):
    """Settings of a new run: the defaults and what was said."""
    settings = {**DEFAULTS, **said}
    least = 2 * max(settings["validation_sizes"])
    if settings["validation_crop"] < least:
        raise DeconvnetError(f"--validation-crop {settings['validation_crop']} is too small: use {least}")
    return settings


def _report(summary):
    """Lines that tell how the network did."""
    yield "relative PSF error: " + ", ".join(f"{name} {error:.3f}" for name, error in summary["psf_error"].items())


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m train.photo_any``; returns the exit status."""
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
