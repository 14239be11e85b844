"""Restoration tables for bursts: synthetic ones of whole photographs, and real ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.scoring.burst_scores import make_burst, restore_burst, without_sharp_frames
from bench.scoring.panels import busiest_window, draw_panels
from bench.scoring.protocol import aligned_score
from bench.scoring.radial import coherent_up_to, draw_agreement, mean_agreement, radial_agreement, worst_gains
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.io import list_pictures, read_image, write_image
from deconvnet.restore.burst.deblur import deblur_burst
from deconvnet.restore.burst.registration import register, sharpness

__all__ = ["grain", "score_bursts", "score_real_bursts"]

SIDE = 160  # of the parts that are drawn
BLOCK = 16  # side of the blocks among which flat ones are looked for


def _draw_burst(path, result, truth):
    part = busiest_window(truth, SIDE)
    names = [name for name in result.pictures if name != "FBA p=11"]
    best = {"FBA best p": f"FBA best p={result.best_power}"}
    shown = [
        (f"{best.get(name, name)}\n{result.scores[name].psnr:.1f} dB", result.pictures[name][part]) for name in names
    ]
    draw_panels(path, [[*shown, ("truth", truth[part])]])


def score_bursts(
    photographs,
    networks,
    *,
    frames,
    supports,
    noise,
    seed,
    shake=None,
    blurry_half=False,
    stride=10,
    refine=True,
    device="cpu",
    pictures=None,
):
    """Restore synthetic bursts of whole photographs.

    Parameters
    ----------
    photographs : dict of str to float32 array (H, W)
    networks : dict of str to Layer
        Burst networks by name.
    frames, supports : list of int
        One row of the table for each support and each number of frames. The smaller bursts of a support are the first
        frames of its largest one.
    noise : float
        Standard deviation.
    seed : int
    shake : Shake, optional
        Recorded shake; a Gaussian process otherwise.
    blurry_half : bool
        Make bursts of twice as many frames, and keep the blurrier half: nobody was lucky.
    stride : int
    refine : bool
        Of `deconvnet.deblur_burst`.
    device : {"cpu", "cuda"}
        Where the networks are.
    pictures : path-like, optional
        Folder for a picture of each case, and for plots of gain and coherence over frequency.

    Returns
    -------
    table : list of dict
        Mean PSNR in dB over the photographs, and what the last network gains; of its mean gain and coherence
        (`bench.scoring.radial`) the least and largest gain of coherent bands, and the frequency they reach to.
    cases : list of dict
        Each burst: all scores with PSNR and SSIM, gain and coherence over frequency, and the PSNR of Fourier burst
        accumulation at every power.

    Notes
    -----
    "FBA best p" is, for each burst, the power that turned out best for it.
    """
    table, cases = [], []
    total = len(photographs) * len(supports) * len(frames)
    with tqdm(total=total, desc="bursts", unit="burst") as bar:
        for support in supports:
            found = {count: [] for count in frames}
            for index, (name, sharp) in enumerate(photographs.items()):
                rng = np.random.default_rng([seed, index, support])
                factor = 2 if blurry_half else 1
                longest, truth = make_burst(sharp, factor * max(frames), support, noise, rng, shake)
                for count in frames:
                    burst = longest[: factor * count]
                    burst = without_sharp_frames(burst, truth) if blurry_half else burst
                    result = restore_burst(burst, truth, networks, stride=stride, refine=refine, device=device)
                    found[count].append(result)
                    cases.append({"photograph": name, "support": support, "frames": count, **_record(result)})
                    if pictures:
                        _draw_burst(Path(pictures) / f"{Path(name).stem}_{support}px_{count}.png", result, truth)
                    bar.update()
            for count, results in found.items():
                curves = {name: mean_agreement([r.agreements[name] for r in results]) for name in results[0].pictures}
                table.append(_row(support, count, results, networks, curves))
                if pictures:
                    title = f"{support} px, {count} frames, mean of {len(results)}"
                    draw_agreement(Path(pictures) / f"gain_{support}px_{count}.png", curves, title)
    return table, cases


def _record(result):
    """What JSON keeps of a `BurstResult`."""
    scores = {name: {"psnr": s.psnr, "ssim": s.ssim} for name, s in result.scores.items()}
    agreements = {
        name: {key: [round(float(v), 4) for v in values] for key, values in found._asdict().items()}
        for name, found in result.agreements.items()
    }
    powers = {str(p): s.psnr for p, s in result.powers.items()}
    return {"scores": scores, "FBA psnr": powers, "agreement": agreements}


def _row(support, count, results, networks, curves):
    """Means over the bursts of one kind."""
    row = {"support": support, "frames": count, "bursts": len(results)}
    for name in results[0].scores:
        row[name] = float(np.mean([r.scores[name].psnr for r in results]))
    ours = list(networks)[-1]
    row["above FBA"] = row[ours] - row["FBA best p"]
    row["above best frame"] = row[ours] - row["best frame"]
    row["SSIM"] = float(np.mean([r.scores[ours].ssim for r in results]))
    return row | _contrast(curves[ours])


def _contrast(found):
    """What tables keep of an `Agreement`."""
    least, most = worst_gains(found)
    return {"least gain": least, "largest gain": most, "coherent up to": coherent_up_to(found)}


def grain(picture, guide):
    """Unevenness of the flat parts of a picture: what is left of its noise.

    Parameters
    ----------
    picture, guide : float array (H, W)
        Grain is measured in the flattest tenth of the guide's blocks of 16×16 px, nearly black and white ones left
        out: with one guide for several pictures, at the same places of all of them.

    Returns
    -------
    float
        Root mean square of what remains there when the plane that fits each block best is taken away.

    Notes
    -----
    Noise of any coarseness up to the blocks' side counts, and so does detail that the guide does not show.
    """
    rows, columns = (n // BLOCK for n in guide.shape)

    def blocks(image):
        cut = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
        return cut.transpose(0, 2, 1, 3).reshape(rows * columns, -1).astype(np.float64)

    v, u = np.mgrid[:BLOCK, :BLOCK].reshape(2, -1)
    planes, _ = np.linalg.qr(np.stack([np.ones(u.size), u, v], axis=1))

    def unevenness(values):
        return ((values - values @ planes @ planes.T) ** 2).mean(axis=1)

    shown = blocks(guide)
    usable = np.flatnonzero((shown.min(axis=1) > 0.02) & (shown.max(axis=1) < 0.98))
    if not len(usable):
        usable = np.arange(len(shown))
    flattest = usable[np.argsort(unevenness(shown[usable]))[: max(1, len(usable) // 10)]]
    return float(np.sqrt(unevenness(blocks(picture)[flattest]).mean()))


def _middle(picture, side):
    if side is None:
        return picture
    top, left = (max(0, (n - side) // 2) for n in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _read_real(folder, named, side):
    """Frames of a burst and the pictures beside it that were named, cut to the middle."""
    files = [file for file in list_pictures(folder) if file.name not in named]
    if len(files) < 2:
        raise DeconvnetError(f"{folder} holds fewer than two frames: name a folder with a burst")
    frames = [_middle(read_image(file).pixels, side) for file in files]
    return frames, {
        name: _middle(read_image(folder / name).pixels, side) for name in named if (folder / name).is_file()
    }


def _windows(picture):
    """Parts to look at: the busiest of each third of the picture, along its longer side; fewer if it is small."""
    axis = int(np.argmax(picture.shape[:2]))
    length = picture.shape[axis]
    bounds = np.linspace(0, length, min(3, max(1, length // SIDE)) + 1).astype(int)
    found = []
    for first, last in itertools.pairwise(bounds):
        part = list(busiest_window(picture[first:last] if axis == 0 else picture[:, first:last], SIDE))
        part[axis] = slice(part[axis].start + first, part[axis].stop + first)
        found.append(tuple(part))
    return found


def score_real_bursts(
    folders,
    network,
    *,
    reference=None,
    beside=(),
    registration="none",
    side=None,
    stride=10,
    refine=True,
    device="cpu",
    pictures=None,
):
    """Restore real bursts, and put the results beside each other.

    Parameters
    ----------
    folders : list of Path
        Each with the frames of a burst.
    network : Layer
        A burst network, on the device.
    reference : str, optional
        Name of a sharp picture of the scene in each folder, where there is one: scores are relative to it.
    beside : sequence of str
        Names of pictures in the folders that are no frames but the results of others.
    registration : {"none", "auto", "translation", "homography"}
        ``"none"`` for frames that lie on each other already.
    side : int, optional
        Use only the middle, of so many pixels each way.
    stride : int
    refine : bool
        Of `deconvnet.deblur_burst`.
    device : {"cpu", "cuda"}
        Where the networks are.
    pictures : path-like, optional
        Folder for the pictures: up to three parts side by side, and our whole picture.

    Returns
    -------
    list of dict
        One row per burst and picture: sharpness (`restore.burst.registration.sharpness`) relative to the mean's,
        `grain` in percent at places that are flat in the mean; where there is a reference, PSNR, SSIM, the least and
        largest radial gain of the coherent bands and the frequency these reach to (`bench.scoring.radial`).

    Notes
    -----
    Sharpness alone says little: overshoot and noise raise it too. Read it with the grain, and look at the pictures.
    """
    table = []
    named = ([reference] if reference else []) + list(beside)
    for folder in tqdm(folders, desc="real bursts", unit="burst"):
        frames, others = _read_real(folder, named, side)
        found = register(frames, registration)
        kept = [np.clip(frame, 0, 1) for frame in found.frames]
        typical = kept[int(np.argsort([sharpness(f) for f in kept])[len(kept) // 2])]
        how = {"register": "none", "device": device}  # they lie on each other by now
        shown = {"typical frame": typical}
        shown["mean"] = deblur_burst(kept, method="mean", **how)
        shown["FBA p=11"] = deblur_burst(kept, method="fba", **how)
        shown["network"] = deblur_burst(kept, model=network, stride=stride, refine=refine, progress=True, **how)
        for name in others:
            if others[name].shape[:2] == frames[0].shape[:2]:
                others[name] = others[name][found.crop]
            elif name == reference:
                raise DeconvnetError(f"{folder / name} does not have the size of the frames: scores need that")
        shown |= {name: picture for name, picture in others.items() if name in beside}
        truth = others.get(reference)
        guide = luminance(shown["mean"])
        agreement = {}
        for name, picture in shown.items():
            row = {"burst": folder.name, "frames": len(kept), "picture": name}
            row["sharpness"] = sharpness(picture) / sharpness(shown["mean"])
            if picture.shape[:2] == guide.shape:
                row["grain %"] = 100 * grain(luminance(picture), guide)
                if truth is not None:
                    score = aligned_score(luminance(picture), luminance(truth))
                    agreement[name] = radial_agreement(picture, truth)
                    row |= {"dB": score.psnr, "SSIM": score.ssim, **_contrast(agreement[name])}
            table.append(row)
        if pictures:
            write_image(Path(pictures) / f"{folder.name}_network.png", shown["network"])
            if agreement:
                draw_agreement(Path(pictures) / f"{folder.name}_gain.png", agreement, folder.name)
            alike = {n: p for n, p in shown.items() if p.shape[:2] == guide.shape}
            alike |= {} if truth is None else {"reference": truth}
            parts = _windows(shown["network"])
            rows = [
                [(name if i == 0 else "", picture[part]) for name, picture in alike.items()]
                for i, part in enumerate(parts)
            ]
            draw_panels(Path(pictures) / f"{folder.name}.png", rows)
    return table
