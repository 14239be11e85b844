"""Networks trained for one kind of pictures or one strength of noise, each tested on its own kind and on the others.

Schuler et al. 2015, Secs. 5.1 and 5.2, Figs. 9 and 10. All networks get the same number of steps; with a model to start
from, all of them go on from that one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

import deconvnet
from bench.experiments.common import PROGRAM, Experiment, Sizes
from bench.experiments.drawing import empty_figure, number_grid, picture_rows
from bench.experiments.text_pages import text_pages
from bench.experiments.trainings import PHOTO_TRAINING, model_of, train_photo
from bench.scoring.panels import busiest_window, with_psf
from bench.scoring.protocol import score
from deconvnet.backend import resolve_device
from deconvnet.blur.packed_photographs import pack_photographs
from deconvnet.blur.photographs import Photographs, default_photographs
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.errors import DeconvnetError
from deconvnet.metrics import psf_error
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve
from train.command import read_photographs
from train.photo import PhotoValidation

__all__ = ["EXPERIMENTS"]

SHOWN = 160  # pixels of the part of a picture that is drawn
BORDER = 15  # px left out of the scores


class Kind(NamedTuple):
    """What a network is trained for, and tested on."""

    label: str
    images: str | None
    noise: float


def _start(options):
    """Settings of trainings that go on from a model."""
    if options.model is None:
        return {}
    network = deconvnet.load_model(options.model, kind="photo")
    if network.depth < len(network.stage_names):
        raise DeconvnetError(f"{options.model} has untrained stages: finish its training first")
    options.psf_size = network.psf_size
    return {"from": options.model, "stages": network.config["scales"][-1]["stages"]}


def _test_set(kind, options):
    """Photographs of a kind that its training leaves out, blurred."""
    least = options.validation_crop + options.psf_size - 1
    _, unseen = read_photographs(kind.images, PROGRAM, quiet=True, **({"min_side": least} if kind.images else {}))
    plain = BurstSettings.plain(psf_size=options.psf_size, crop=options.validation_crop, noise=kind.noise)
    settings = dataclasses.replace(plain, supports=(options.psf_size,))
    return PhotoValidation(BurstSynthesizer(unseen, settings), options.validation)


def _restored(frames, psfs, noise):
    """Sharp pictures by the final deconvolution."""
    how = {"noise": max(noise, 0.005), "psf_error": ESTIMATED_PSF}
    return [deconvolve(frame, psf, **how) for frame, psf in zip(frames, psfs)]


def _compare(options, kinds):
    """Train a network for every kind, test each on all kinds; numbers and figure."""
    from tqdm import tqdm

    start = _start(options)
    networks = {}
    for kind in kinds:
        folder = options.out / kind.label.replace(" ", "-").replace("%", "percent")
        train_photo(folder, options, images=kind.images, noise=kind.noise, **start)
        networks[kind.label] = deconvnet.load_model(
            model_of(folder), kind="photo", device=resolve_device(options.device)
        )
    labels = [kind.label for kind in kinds]
    errors, psnr = np.zeros((2, len(kinds), len(kinds)))
    known, blurry, rows = {}, {}, []
    bar = tqdm(total=len(kinds) ** 2, desc="testing", unit="set", disable=options.quiet)
    for j, kind in enumerate(kinds):
        test = _test_set(kind, options)

        def psnrs(pictures, test=test):
            return [score(picture, sharp, BORDER).psnr for picture, sharp in zip(pictures, test.sharp)]

        blurry[kind.label] = float(np.mean(psnrs(test.frames)))
        known[kind.label] = float(np.mean(psnrs(_restored(test.frames, test.psfs, kind.noise))))
        found = []
        for i, label in enumerate(labels):
            psfs = test.estimates(networks[label], resolve_device(options.device))[-1]
            pictures = _restored(test.frames, psfs, kind.noise)
            each = psnrs(pictures)
            errors[i, j], psnr[i, j] = psf_error(psfs, test.psfs).mean(), np.mean(each)
            found.append((psfs, pictures, each))
            bar.update()
        rows.append(_example(test, found, labels, j))
    bar.close()
    numbers = {
        "trained for (rows), tested on (columns)": labels,
        "PSF error": errors.tolist(),
        "PSNR in dB": psnr.tolist(),
        "PSNR of the blurry photos": blurry,
        "PSNR with the true PSF": known,
    }
    columns = len(kinds) + 2
    height = 1.9 * len(rows) + 0.4
    figure = empty_figure(1.75 * columns + 0.3, 2.6 + height)
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.6, height))
    left, right = upper.subplots(1, 2)
    rows_for = [f"for {label}" for label in labels]
    columns_on = [f"on {label}" for label in labels]
    number_grid(left, errors, rows_for, columns_on, title="PSF error", digits=3, least=0.05, low_is_good=True)
    number_grid(right, psnr, rows_for, columns_on, title="PSNR in dB", digits=2, least=0.5, low_is_good=False)
    title = f"trained for {options.steps} steps each; the test photo whose gain by its own network is the median"
    picture_rows(rows, figure=lower, row_names=columns_on, title=title)
    return numbers, figure


def _example(test, found, labels, own):
    """A row of pictures: the test photo with the median gain of its own network over the first other one."""
    other = 0 if own else 1
    gains = np.subtract(found[own][2], found[other][2])
    k = int(np.argsort(gains)[len(gains) // 2])
    part = busiest_window(test.sharp[k], SHOWN)
    row = [("blurry, true PSF", with_psf(test.frames[k][part], test.psfs[k], share=5))]
    row += [
        (f"for {label}\n{each[k]:.1f} dB", with_psf(pictures[k][part], psfs[k], share=5))
        for label, (psfs, pictures, each) in zip(labels, found)
    ]
    return [*row, ("truth", test.sharp[k][part])]


def _own_kinds(options):
    """Packed files of what needs no download: photographs (or those of --images), pages of text, and both, by name."""
    count = 8 if options.quick else 40
    pages = Photographs(text_pages(count), [f"page_{i:02d}" for i in range(count)])
    if options.images is None:
        photographs = default_photographs(leaves=0)
    else:
        seen, unseen = read_photographs(options.images, PROGRAM, quiet=options.quiet)
        photographs = Photographs(seen.images + unseen.images, seen.names + unseen.names)
    both = Photographs(photographs.images + pages.images, photographs.names + pages.names)
    files = {}
    for name, kind in (("all kinds", both), ("photographs", photographs), ("text", pages)):
        files[name] = options.out / f"{name.replace(' ', '-')}.npz"
        if not files[name].exists():
            pack_photographs(kind, files[name])
    return files


def content(options):
    """Fig. 9: networks for all kinds of pictures and for each category."""
    if options.categories is None:
        return _compare(options, [Kind(name, str(file), options.noise) for name, file in _own_kinds(options).items()])
    kinds = [Kind("all kinds", options.images, options.noise)]
    kinds += [Kind(Path(folder).name, folder, options.noise) for folder in options.categories]
    if len({kind.label for kind in kinds}) < len(kinds):
        raise DeconvnetError("two --categories have folders of one name: rename one")
    return _compare(options, kinds)


def noise(options):
    """Fig. 10: networks for 1 % and for 5 % noise."""
    return _compare(options, [Kind(f"{100 * s:g} % noise", options.images, s) for s in options.noises])


EXPERIMENTS = {
    "photo-content": Experiment(
        "photo paper, Fig. 9: training on one kind of pictures, tested on its own kind and the others; photographs and "
        "generated pages of text, or folders of --categories",
        content,
        # 224 px and a PSF of 33 fit into pictures of 256 px, a usual size of data sets with categories.
        {**PHOTO_TRAINING, "validation_crop": Sizes(224, 40), "model": None, "categories": None, "noise": 0.01},
    ),
    "photo-noise": Experiment(
        "photo paper, Fig. 10: training with weak and with strong noise, tested on both",
        noise,
        {**PHOTO_TRAINING, "model": None, "noises": [0.01, 0.05]},
    ),
}
