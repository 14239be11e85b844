"""The burst paper's figures that need no training: growing bursts, bursts without a sharp frame, varying blur.

Wieschollek et al. 2016, Figs. 6, 7 and 10. The frames are photographs blurred here, so that every picture has a score.
"""

from __future__ import annotations

import numpy as np

import deconvnet
from bench.experiments.camera_path import fragments_of_path, gyroscope_path, path_psfs, random_path
from bench.experiments.common import Experiment, Sizes, add_noise, read_grey, unseen_photographs
from bench.experiments.drawing import curves, empty_figure, mosaic, picture_rows, psf_picture
from bench.scoring.burst_scores import make_burst, restore_burst, without_sharp_frames
from bench.scoring.panels import busiest_window
from bench.scoring.protocol import score
from deconvnet.backend import resolve_device
from deconvnet.blur.convolve import convolve
from deconvnet.blur.filter_flow import filter_flow, patch_grid
from deconvnet.blur.psf import load_shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.restore.burst.fba import fourier_burst_accumulation, mean
from deconvnet.restore.burst.patches import restore_frames
from deconvnet.restore.burst.registration import sharpness

__all__ = ["EXPERIMENTS"]

SHOWN = 128  # pixels of the part of a picture that is drawn
GRID = (5, 5)  # patches of the spatially varying blur
FRAGMENTS = 8  # of one camera path, a frame each (Wieschollek et al. 2016, Sec. 4.5)


def _load(options):
    """The network, on the device where it runs."""
    options.device = resolve_device(options.device)
    return deconvnet.load_model(options.model, kind="burst", device=options.device)


def _photographs(options):
    """``(name, pixels, generator)`` of every photograph."""
    found = unseen_photographs(options.images, options.photographs, options.side)
    return [(name, pixels, np.random.default_rng((options.seed, i))) for i, (name, pixels) in enumerate(found.items())]


def _restored(network, frames, truth, options):
    """Pictures, and PSNR in dB, of all methods."""
    result = restore_burst(frames, truth, {"network": network}, stride=options.stride, device=options.device)
    return result.pictures, {name: found.psnr for name, found in result.scores.items()}


def _means(each):
    """Mean over photographs of what each method scored."""
    first, *_ = each.values()
    return {name: float(np.mean([scores[name] for scores in each.values()])) for name in first}


def _part(truth, side=SHOWN):
    """The part that is drawn."""
    return busiest_window(truth, side)


def _mixed_burst(rng, sharp, options):
    """Frames (N, H, W) with shake of any strength, from the worst to the best, and the truth."""
    support = rng.uniform(options.smallest, options.support, options.frames)
    size = options.support | 1
    if options.shake is None:
        psfs = sample_gp_psfs(rng, options.frames, support, size)
    else:
        psfs = sample_recorded_psfs(rng, load_shake(options.shake), options.frames, support, size)
    frames = add_noise(rng, convolve(np.repeat(sharp[None], len(psfs), axis=0), psfs, border="valid"), options.noise)
    reach = size // 2
    truth = sharp[reach : sharp.shape[0] - reach, reach : sharp.shape[1] - reach]
    return frames[np.argsort([score(frame, truth).psnr for frame in frames])], truth


def growing(options):
    """Fig. 6: the frames of a burst are sorted from worst to best, and the methods get the first 2, 3, … of them."""
    from tqdm import tqdm

    network = _load(options)
    photographs = _photographs(options)
    counts = list(range(2, options.frames + 1))
    drawn = sorted({*counts[:5], counts[-1]})
    each, shown, drawn_truth = {}, {}, None
    bar = tqdm(total=len(photographs) * len(counts), desc="bursts", unit="burst", disable=options.quiet)
    for photograph, sharp, rng in photographs:
        frames, truth = _mixed_burst(rng, sharp, options)
        if drawn_truth is None:
            part = _part(truth)
            drawn_truth = truth[part]
        found = []
        for count in counts:
            pictures, scores = _restored(network, frames[:count], truth, options)
            found.append(scores)
            if not each and count in drawn:
                shown[count] = {name: (scores[name], picture[part]) for name, picture in pictures.items()}
            bar.update()
        each[photograph] = {name: [scores[name] for scores in found] for name in found[0]}
    bar.close()
    methods = ("best frame", "mean", "FBA p=11", "FBA best p", "network")
    means = {name: np.mean([scores[name] for scores in each.values()], axis=0).tolist() for name in methods}
    figure = empty_figure(1.5 * (len(drawn) + 1) + 0.3, 10.6)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.4, 7.2))
    curves(
        upper.subplots(),
        {name: (counts, values) for name, values in means.items()},
        title=f"bursts sorted from worst to best frame; mean of {len(photographs)} photograph(s)",
        x_label="frames",
        y_label="PSNR in dB",
    )
    names = [name for name in methods if name != "FBA best p"]
    rows = [[(f"{n} frames\n{found[name][0]:.1f} dB", found[name][1]) for n, found in shown.items()] for name in names]
    rows[0].append(("truth", drawn_truth))
    picture_rows(rows, figure=lower, row_names=names)
    return {"frames": counts, "PSNR in dB, mean": means, "PSNR in dB, each": each}, figure


def growing_real(options):
    """Fig. 6 as published: frames of a real burst, sorted by their sharpness, since there is no truth."""
    from tqdm import tqdm

    if not options.burst or len(options.burst) < 2:
        raise DeconvnetError("a real burst needs its registered frames: --burst FILE FILE …")
    network = _load(options)
    whole = [read_grey(path) for path in options.burst]
    if len({frame.shape for frame in whole}) > 1:
        raise DeconvnetError("the frames have different sizes: give the registered frames of one burst")
    if options.window is None:
        part = busiest_window(sum(whole) / len(whole), options.side)
    else:
        part = tuple(slice(start, start + options.side) for start in options.window)
        if min(whole[0][part].shape) < options.side:
            raise DeconvnetError(f"a part of {options.side} px does not fit at --window: choose another or less --side")
    frames = np.stack([frame[part] for frame in whole])
    frames = frames[np.argsort([sharpness(frame) for frame in frames])]
    counts = sorted({*range(2, len(frames) + 1)[:5], len(frames)})
    shown = {}
    for count in tqdm(counts, desc="bursts", unit="burst", disable=options.quiet):
        shown[count] = {
            "best frame": frames[count - 1],
            "mean": mean(frames[:count]),
            "FBA p=11": fourier_burst_accumulation(frames[:count]),
            "network": restore_frames(network, frames[:count], stride=options.stride, device=options.device)[0],
        }
    unit = sharpness(shown[counts[-1]]["mean"])
    numbers = {n: {name: float(sharpness(p) / unit) for name, p in found.items()} for n, found in shown.items()}
    drawn = _part(shown[counts[-1]]["network"], 2 * SHOWN)
    names = list(shown[counts[0]])
    rows = [[(f"{n} frames\n×{numbers[n][name]:.2f}", shown[n][name][drawn]) for n in counts] for name in names]
    title = "a real burst sorted by sharpness; × sharpness relative to the mean of all frames"
    figure = picture_rows(rows, row_names=names, title=title)
    return {"frames": [str(path) for path in options.burst], "relative sharpness by frames": numbers}, figure


def no_sharp_frame(options):
    """Fig. 7: of twice as many frames with PSFs of 14×14 px the better half is thrown away, so that none is sharp."""
    from tqdm import tqdm

    network = _load(options)
    shake = None if options.shake is None else load_shake(options.shake)
    rows, each = [], {}
    for photograph, sharp, rng in tqdm(_photographs(options), desc="bursts", unit="burst", disable=options.quiet):
        frames, truth = make_burst(sharp, 2 * options.frames, options.support, options.noise, rng, shake)
        pictures, scores = _restored(network, without_sharp_frames(frames, truth), truth, options)
        each[photograph] = scores
        part = _part(truth)
        row = [(f"{name}\n{value:.1f} dB", pictures[name][part]) for name, value in scores.items() if name != "mean"]
        rows.append([*row, ("truth", truth[part])])
    title = f"{options.frames} frames, PSFs of {options.support}×{options.support} px; as many better frames left out"
    return {"PSNR in dB, mean": _means(each), "PSNR in dB, each": each}, picture_rows(rows, title=title)


def varying(options):
    """Fig. 10: eight parts of one camera path blur a photograph, differently from place to place."""
    from tqdm import tqdm

    network = _load(options)
    shake = None if options.shake is None else load_shake(options.shake)
    rows, each, grids = [], {}, None
    for photograph, sharp, rng in tqdm(_photographs(options), desc="bursts", unit="burst", disable=options.quiet):
        path = random_path(rng) if shake is None else gyroscope_path(rng, shake, options.seconds)
        centres = [patch_grid(n, count).centres for n, count in zip(sharp.shape, GRID)]
        psfs = path_psfs(fragments_of_path(path, FRAGMENTS), centres, sharp.shape, options.support | 1)
        frames = np.stack([add_noise(rng, filter_flow(sharp, local), options.noise) for local in psfs])
        reach = psfs.shape[-1] // 2
        truth = sharp[reach : sharp.shape[0] - reach, reach : sharp.shape[1] - reach]
        pictures, scores = _restored(network, frames, truth, options)
        each[photograph] = scores
        part = _part(truth, 2 * SHOWN)
        drawn = ("typical frame", "best frame", "FBA p=11", "network")
        rows.append([(f"{name}\n{scores[name]:.1f} dB", pictures[name][part]) for name in drawn])
        rows[-1].append(("truth", truth[part]))
        if grids is None:
            tiles = [np.stack([psf_picture(psf) for row in local for psf in row]) for local in psfs]
            grids = [(f"frame {i + 1}", mosaic(t, GRID[1])) for i, t in enumerate(tiles)]
    height = 2.1 * len(rows) + 0.2
    figure = empty_figure(9.5, height + 1.7)
    upper, lower = figure.subfigures(2, 1, height_ratios=(height, 1.7))
    kind = "recorded" if shake else "sampled"
    picture_rows(rows, figure=upper, title=f"{FRAGMENTS} frames from parts of one {kind} camera path")
    picture_rows([grids], figure=lower, title="PSFs over the first picture (each scaled to its own maximum)")
    return {"path": kind, "PSNR in dB, mean": _means(each), "PSNR in dB, each": each}, figure


COMMON = {"model": "burst", "images": None, "shake": None, "noise": 0.01, "stride": Sizes(5, 11)}

EXPERIMENTS = {
    "burst-growing": Experiment(
        "burst paper, Fig. 6: frames sorted from worst to best, the first 2, 3, … of them restored in every way",
        growing,
        {
            **COMMON,
            "photographs": Sizes(3, 1),
            "side": Sizes(320, 96),
            "frames": Sizes(14, 4),
            "support": 17,
            "smallest": 3,
        },
    ),
    "burst-growing-real": Experiment(
        "burst paper, Fig. 6 as published: the same with the frames of a real burst (--burst), which has no scores",
        growing_real,
        {"model": "burst", "burst": None, "window": None, "side": Sizes(320, 128), "stride": Sizes(5, 11)},
    ),
    "burst-no-sharp-frame": Experiment(
        "burst paper, Fig. 7: bursts of 14×14-px PSFs without any sharp frame",
        no_sharp_frame,
        {**COMMON, "photographs": Sizes(3, 1), "side": Sizes(384, 112), "frames": Sizes(14, 6), "support": 14},
    ),
    "burst-varying": Experiment(
        "burst paper, Fig. 10: blur that varies over the picture, eight parts of one camera path by filter flow",
        varying,
        {**COMMON, "photographs": Sizes(3, 1), "side": Sizes(384, 160), "support": 17, "seconds": 0.5},
    ),
}
