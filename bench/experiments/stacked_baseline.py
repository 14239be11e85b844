"""The burst paper's Sec. 4.4: a network that sharpens single frames, then accumulation, against training both as one.

Wieschollek et al. 2016, Figs. 8 and 9. The single-frame network is their burst network for bursts of one frame, said
twice: two equal frames exchange nothing, and the accumulation of two equal pictures is that picture. It is trained for
half of the steps; then, for the other half, once more alone, and once together with the accumulation.
"""

from __future__ import annotations

import numpy as np

import deconvnet
from bench.experiments.common import PROGRAM, Experiment, Sizes, unseen_photographs
from bench.experiments.drawing import curves, empty_figure, picture_rows
from bench.experiments.trainings import looks, model_of, read_metrics, train_once
from bench.scoring.burst_scores import make_burst, restore_burst
from bench.scoring.panels import busiest_window
from deconvnet.backend import array_module, resolve_device
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.layers.fba import fba
from deconvnet.networks.burst_filter import FilterBurst
from train import burst
from train.command import read_photographs

__all__ = ["EXPERIMENTS", "FrameTask", "Stacked"]

SHOWN = 128  # pixels of the part of a picture that is drawn
SCORE = "plain"  # name of the validation set
SUPPORT = 17  # px of the larger PSFs; the smaller ones have 7 px, as in all plain bursts
POWER = 11.0  # of the accumulation (Delbracio & Sapiro 2015)


def twice(frames):
    """Bursts (B·N, 2, H, W) of each frame and itself, from bursts (B, N, H, W)."""
    return frames.reshape(-1, 1, *frames.shape[2:]).repeat(2, axis=1)


class Stacked:
    """A single-frame network for every frame, then Fourier burst accumulation: two steps, neither made for the other.

    Parameters
    ----------
    network : FilterBurst
        Trained on frames said twice, as `FrameTask` does.
    """

    name = "stacked"

    def __init__(self, network):
        self.network = network
        self.surround, self.patch, self.centre = network.surround, network.patch, network.centre

    def forward(self, frames, *, sigma=0.0):
        """Sharp centres (B, 33, 33) of bursts (B, N, 65, 65), and None in place of a cache."""
        batch, count = frames.shape[:2]
        sharpened, _ = self.network.forward(twice(frames))
        return fba(sharpened.reshape(batch, count, self.centre, self.centre), POWER, sigma=sigma)[0], None

    def restore(self, frames):
        """The same with smoothed weights, as used on whole pictures."""
        return self.forward(frames, sigma=self.centre / 50)[0]


class FrameTask(burst.BurstTask):
    """Trains the single-frame network, and validates it with the accumulation behind it."""

    def _draw(self, rng):
        count = self.settings["batch"] * self.settings["frames"][1]
        single = self.training[SCORE].batch(rng, count, 1, device=self.device)
        return single._replace(frames=array_module(single.frames).ascontiguousarray(twice(single.frames))), 1.0

    def validate(self):
        return {name: data.score(Stacked(self.network), self.device) for name, data in self.validation.items()}

    def summary(self):
        return {"network": Stacked.name, "psnr": self.validate()}

    def picture(self, path):
        burst.draw_examples(path, Stacked(self.network), self.validation[SCORE], self.best_power[SCORE], self.device)


def _settings(options, steps, **more):
    """Settings of one of the trainings."""
    names = ("images", "noise", "batch", "validation", "lr", "units", "seed")
    return {
        **burst.DEFAULTS,
        **{name: getattr(options, name) for name in names},
        **looks(steps, options.quick),
        "network": "compact",
        "frames": [options.frames, options.frames],
        "psf_loss": 0.0,
        "steps": steps,
        **more,
    }


def _synthesizers(settings, crop):
    """What the networks learn from, and what they are validated on, which has room for the quotient network."""
    seen, unseen = read_photographs(settings["images"], PROGRAM, quiet=True)
    learned, measured = (
        BurstSettings.plain(psf_size=SUPPORT, crop=side, noise=settings["noise"])
        for side in (FilterBurst.surround, crop)
    )
    return BurstSynthesizer(seen, learned), BurstSynthesizer(unseen, measured)


def _task_maker(kind, surround, start=None):
    """``make_task`` for `bench.experiments.trainings.train_once`: a fresh network, or another training's weights."""

    def make_task(settings, device):
        if start is None:
            units, rng = settings["units"], np.random.default_rng((settings["seed"], 1))
            network = FilterBurst("compact", w1=max(1, units // 4), w2=max(1, units // 2), g=units, rng=rng)
        else:
            network = deconvnet.load_model(start, kind="burst")
        learned, measured = _synthesizers(settings, surround)
        validation = {SCORE: (measured, settings["validation"], settings["frames"][1])}
        task = kind(network, settings, {SCORE: learned}, validation, device)
        if start is None:
            task.fit(np.random.default_rng((settings["seed"], 2)))
        network.to(device)
        return task

    return make_task


def stacked_baseline(options):
    """Sec. 4.4."""
    device = resolve_device(options.device)
    ours = deconvnet.load_model(options.model, kind="burst", device=device)
    half = max(1, options.steps // 2)
    first = options.out / "single-frame"
    train_once(first, _settings(options, half), _task_maker(FrameTask, ours.surround), options)
    start = str(model_of(first))
    folders = {"stacked": options.out / "single-frame-continued", "joint": options.out / "joint"}
    settings = _settings(options, half, **{"from": start, "seed": options.seed + 1})
    for name, kind in (("stacked", FrameTask), ("joint", burst.BurstTask)):
        train_once(folders[name], settings, _task_maker(kind, ours.surround, start), options)
    networks = {name: deconvnet.load_model(model_of(f), kind="burst", device=device) for name, f in folders.items()}
    networks["stacked"] = Stacked(networks["stacked"])
    networks["network"] = ours

    data = burst.ValidationSet(_synthesizers(settings, ours.surround)[1], options.validation, options.frames, ours)
    references, _ = data.references()
    patches = {**references, **{name: data.score(network, device) for name, network in networks.items()}}

    before = read_metrics(first, SCORE)
    lines = {"single-frame network, then accumulation": before}
    for name, label in (("stacked", "the same, trained on"), ("joint", "both trained as one")):
        steps, scores = read_metrics(folders[name], SCORE)
        lines[label] = ([before[0][-1], *(half + s for s in steps)], [before[1][-1], *scores])

    pictures, rows = {}, []
    photographs = unseen_photographs(options.images, options.photographs, options.side)
    for i, (photograph, sharp) in enumerate(photographs.items()):
        rng = np.random.default_rng((options.seed, i))
        frames, truth = make_burst(sharp, options.frames, SUPPORT, options.noise, rng)
        result = restore_burst(
            frames, truth, networks, stride=options.stride, device=device, progress=not options.quiet
        )
        pictures[photograph] = {name: found.psnr for name, found in result.scores.items()}
        part = busiest_window(truth, SHOWN)
        drawn = ("typical frame", "FBA p=11", *networks)
        rows.append([(f"{name}\n{pictures[photograph][name]:.1f} dB", result.pictures[name][part]) for name in drawn])
        rows[-1].append(("truth", truth[part]))
    height = 2.1 * len(rows) + 0.3
    figure = empty_figure(10.5, 3.6 + height)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.6, height))
    shown = {name: patches[name] for name in ("FBA p=11", "best frame", "network")}
    curves(
        upper.subplots(),
        lines,
        title=f"{len(data.truth)} validation patches, {options.frames} frames, PSFs of {SUPPORT} and 7 px",
        x_label="step",
        y_label="PSNR in dB",
        references=shown,
    )
    picture_rows(rows, figure=lower)
    curve = {label: {"steps": steps, "PSNR in dB": scores} for label, (steps, scores) in lines.items()}
    return {"PSNR in dB, validation patches": patches, "PSNR in dB, pictures": pictures, "training": curve}, figure


EXPERIMENTS = {
    "burst-stacked-baseline": Experiment(
        "burst paper, Sec. 4.4 (Figs. 8 and 9): sharpening single frames, then accumulation, against joint training",
        stacked_baseline,
        {
            "model": "burst",
            "images": None,
            "steps": Sizes(2000, 6),
            "batch": Sizes(32, 2),
            "units": Sizes(1024, 32),
            "lr": 1e-3,
            "frames": Sizes(14, 7),
            "noise": 0.01,
            "validation": Sizes(64, 4),
            "photographs": Sizes(2, 1),
            "side": Sizes(192, 96),
            "stride": Sizes(8, 16),
        },
    ),
}
