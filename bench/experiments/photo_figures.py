"""The photo paper's figures of a trained network: PSF samples, error by PSF size, error by crop size, filters and maps.

Schuler et al. 2015, Figs. 7, 13, 19 and 20, and 2, 16, 17 and 18. The photographs are blurred here, or come from the
benchmark of Levin et al. 2009.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

import deconvnet
from bench.experiments.common import Experiment, Sizes, on_one_side, read_grey, unseen_photographs
from bench.experiments.drawing import curves, empty_figure, mosaic, picture_rows, psf_picture
from bench.scoring.data import blurred_photographs
from bench.scoring.panels import busiest_window
from bench.scoring.protocol import BORDER, aligned_score, load_levin, score
from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.blur.psf import load_shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.errors import DeconvnetError
from deconvnet.inspect.figures import filters_figure, maps_figure, psfs_figure
from deconvnet.inspect.model import stage_maps
from deconvnet.metrics import aligned_psf_error, error_ratio, psf_error
from deconvnet.restore.deconvolve.solvers import ESTIMATED_PSF, deconvolve
from deconvnet.restore.photo.psf import estimate_psf

__all__ = ["EXPERIMENTS", "estimated_psf", "load_photo_network"]

SHOWN = 160  # pixels of the part of a picture that is drawn


def load_photo_network(options):
    """The network of ``options.model`` on the CPU or the GPU, ``options.device``, which is decided here."""
    options.device = resolve_device(options.device)
    return deconvnet.load_model(options.model, kind="photo", device=options.device)


def estimated_psf(network, grey, device):
    """PSF (k, k) of a photo (H, W), by the scale of the network whose result looks best; NumPy."""
    return to_host(estimate_psf(network, to_device(np.ascontiguousarray(grey), device), refine=False))


def psf_samples(options):
    """Fig. 7: the blurs that training draws, of two supports."""
    shake = None if options.shake is None else load_shake(options.shake)
    across = 6
    figure = empty_figure(3.4 * len(options.psf_sizes), 3.9 if shake is None else 7.6)
    kinds = ["Gaussian process"] + ([] if shake is None else ["recorded shake"])
    numbers, rows = {}, []
    for kind in kinds:
        row = []
        for size in options.psf_sizes:
            rng = np.random.default_rng((options.seed, size))
            if kind == "recorded shake":
                psfs = sample_recorded_psfs(rng, shake, across**2, size)
            else:
                psfs = sample_gp_psfs(rng, across**2, size)
            row.append((f"{kind}, {size} px", mosaic(np.stack([psf_picture(psf) for psf in psfs]), across)))
            place = np.arange(size) - size // 2
            spread = np.sqrt((psfs * (place[:, None] ** 2 + place**2)).sum(axis=(1, 2)))
            numbers[f"{kind}, {size} px"] = {
                "root mean square distance from the middle, px": float(spread.mean()),
                "share of the pixels that are hit": float((psfs > 0).mean()),
                "brightest pixel's share of the light": float(psfs.max(axis=(1, 2)).mean()),
            }
        rows.append(row)
    return numbers, picture_rows(rows, figure=figure, title="blurs, each scaled to its own maximum")


def _cases(options):
    """Blurry photographs with everything known: the benchmark's, or photographs blurred with every size of PSF."""
    if options.levin is not None:
        return load_levin(options.levin)
    photographs = unseen_photographs(options.images, options.photographs, options.side)
    cases = []
    for size in options.psf_sizes:
        if size % 2 == 0:
            raise DeconvnetError(f"a PSF of {size} pixels has no centre: give odd --psf-sizes")
        psfs = sample_gp_psfs(np.random.default_rng((options.seed, size)), len(photographs), size)
        named = {f"{size} px, PSF {i + 1}": psf for i, psf in enumerate(psfs)}
        # As many cases as photographs: each has a PSF of its own.
        cases += blurred_photographs(photographs, named, options.noise, options.seed, limit=len(photographs))
    return cases


def psf_size(options):
    """Fig. 13: how much worse than with the true PSF a photo gets, by the PSF's size."""
    from tqdm import tqdm

    network = load_photo_network(options)
    table, pictures = [], {}
    for case in tqdm(_cases(options), desc="photos", unit="photo", disable=options.quiet):
        psf = estimated_psf(network, case.blurry, options.device)
        restored = deconvolve(case.blurry, psf, psf_error=ESTIMATED_PSF)
        known = deconvolve(case.blurry, case.psf)
        found = {name: aligned_score(p, case.sharp) for name, p in (("blurry", case.blurry), ("network", restored))}
        found["true PSF"] = aligned_score(known, case.sharp)
        size = max(case.psf.shape)
        table.append(
            {
                "photo": case.name,
                "PSF size": size,
                "PSF error": aligned_psf_error(psf, case.psf),
                "error ratio": error_ratio(found["network"].ssd, found["true PSF"].ssd),
                "error ratio of the blurry photo": error_ratio(found["blurry"].ssd, found["true PSF"].ssd),
                **{f"PSNR, {name}": s.psnr for name, s in found.items()},
            }
        )
        pictures[size] = (case, psf, restored, table[-1])
    sizes = sorted({row["PSF size"] for row in table})
    figure = empty_figure(10, 5.2)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.3, 1.9))
    axes = upper.subplots(1, 3)
    for ax, title, names in (
        (axes[0], "PSNR in dB", ("PSNR, blurry", "PSNR, network", "PSNR, true PSF")),
        (axes[1], "error ratio (1: as with the true PSF)", ("error ratio", "error ratio of the blurry photo")),
        (axes[2], "relative error of the PSF", ("PSF error",)),
    ):
        lines = {
            name: (sizes, [float(np.mean([row[name] for row in table if row["PSF size"] == size])) for size in sizes])
            for name in names
        }
        curves(ax, lines, title=title, x_label="PSF size in px")
    examples = []
    for size in (sizes[0], sizes[-1]):
        case, psf, restored, row = pictures[size]
        part = busiest_window(case.sharp, SHOWN)
        true, estimate = on_one_side(case.psf, psf)
        examples.append((f"true PSF, {size} px", psf_picture(true)))
        examples.append((f"estimate, error {row['PSF error']:.2f}", psf_picture(estimate)))
        examples.append((f"blurry, {row['PSNR, blurry']:.1f} dB", case.blurry[part]))
        examples.append((f"network, {row['PSNR, network']:.1f} dB", restored[part]))
    picture_rows([examples], figure=lower, title="a photo with the smallest and one with the largest PSF")
    mean = {
        name: float(np.mean([row[name] for row in table])) for name in table[0] if name not in ("photo", "PSF size")
    }
    good = float(np.mean([row["error ratio"] <= 2 for row in table]))
    return {"mean": mean, "share with an error ratio of at most 2": good, "photos": table}, figure


def crop_size(options):
    """Figs. 19 and 20: the error of the PSF when only a part of the photo is seen."""
    from tqdm import tqdm

    network = load_photo_network(options)
    sizes = network.trained_sizes()
    largest = sizes[0] if options.psf_size is None else options.psf_size
    if largest not in sizes:
        raise DeconvnetError(f"--psf-size {largest}: the model has {', '.join(map(str, sizes))}")
    network = network.up_to(largest)
    photographs = unseen_photographs(options.images, options.photographs, options.side)
    least = 2 * largest
    available = options.side - largest + 1
    if available < least:
        raise DeconvnetError(f"--side {options.side} is too small for PSFs of {largest}: use {least + largest - 1}")
    sides = np.unique(np.geomspace(least, available, 6).round().astype(int))
    supports = sorted({max(3, round(share * largest)) for share in (0.5, 0.75, 1.0)})
    errors = np.zeros((len(supports), len(sides), len(photographs)))
    shown = []
    bar = tqdm(total=errors.size, desc="PSFs", unit="PSF", disable=options.quiet)
    for s, support in enumerate(supports):
        psf = sample_gp_psfs(np.random.default_rng((options.seed, support)), 1, support, largest)[0]
        for w, case in enumerate(blurred_photographs(photographs, {"": psf}, options.noise, options.seed)):
            for i, side in enumerate(sides):
                top = (available - side) // 2
                part = case.blurry[top : top + side, top : top + side]
                found = estimated_psf(network, part, options.device)
                errors[s, i, w] = psf_error(found, psf)
                if s == len(supports) - 1 and w == 0:
                    shown.append((side, part, found, errors[s, i, w]))
                bar.update()
    bar.close()
    figure = empty_figure(1.5 * (len(shown) + 1), 7.2)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.4, 3.8))
    lines = {f"PSF of {support} px": (sides, errors[s].mean(axis=1)) for s, support in enumerate(supports)}
    title = f"relative PSF error, mean of {len(photographs)} photograph(s)"
    curves(upper.subplots(), lines, title=title, x_label="side of the seen part in px", log=True)
    rows = [[(f"{side} px", part) for side, part, _, _ in shown]]
    rows.append([(f"error {error:.2f}", psf_picture(found)) for _, _, found, error in shown])
    rows[1].append(("true PSF", psf_picture(psf)))
    picture_rows(rows, figure=lower)
    numbers = {
        "sides": sides.tolist(),
        "PSF error": {f"{support} px": errors[s].mean(axis=1).tolist() for s, support in enumerate(supports)},
        "photographs": list(photographs),
    }
    return numbers, figure


def disks(side=192):
    """Four disks blurred with Gaussians of growing size, the toy picture of Fig. 18; float32 (side, side)."""
    place = np.arange(side) - side / 2 + 0.5
    total = np.full((side, side), 0.1)
    for i, (down, right) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        distance = np.hypot(place[:, None] - down * side / 4, place - right * side / 4)
        total += 0.8 * gaussian_filter((distance < side / 7).astype(float), 0.5 + i)
    return total.astype(np.float32)


def _layers_figure(stage, blurry):
    """Fig. 2: what every layer of a first stage's features makes of a picture (H, W) without its mean."""
    features = stage.features
    x = features.conv.forward(blurry[None, None])[0]
    steps = [("filters", x)]
    for layer in (*features.hidden, features.out):
        x = np.tanh(x)
        steps.append(("tanh", x))
        x = layer.forward(x)[0]
        steps.append(("recombined", x))
    tiles = []
    for name, images in steps:
        reach = max(float(np.quantile(np.abs(images), 0.995)), 1e-9)
        shown = images[0, :, ::2, ::2] / (2 * reach) + 0.5
        tiles.append((f"{len(shown)} × {name}, ±{reach:.2g}", mosaic(np.clip(shown, 0, 1), 4 if len(shown) > 4 else 2)))
    return picture_rows([tiles], width=3.0, title="first stage, layer by layer (zero is grey)")


def _symmetry(bank):
    """Mean over filters of the largest correlation with their own mirror images and their half turn."""
    flat = bank.reshape(-1, *bank.shape[-2:])
    flat = flat - flat.mean(axis=(1, 2), keepdims=True)
    turned = (flat[:, ::-1], flat[:, :, ::-1], flat[:, ::-1, ::-1])
    power = (flat**2).sum(axis=(1, 2))
    return float(np.mean(np.max([(flat * t).sum(axis=(1, 2)) / power for t in turned], axis=0)))


def filters_and_maps(options):
    """Figs. 2, 16, 17 and 18: filters of every stage and model, and what the first model makes of two pictures."""
    networks = [deconvnet.load_model(model, kind="photo") for model in options.models]
    figures, symmetry = {}, {}
    for m, (model, network) in enumerate(zip(options.models, networks), start=1):
        for i, stage in enumerate(network.all_stages()[: network.depth]):
            name = network.stage_names[i]
            figures[f"filters-{m}-{i + 1}"] = filters_figure(stage, f"{model}: {name}")
            symmetry[f"{model}: {name}"] = _symmetry(stage.features.conv.filters.value)
    numbers = {"symmetry of the filters": symmetry}
    network, psf = networks[0], None
    if options.image:
        photo = read_grey(options.image)
    else:
        psf = sample_gp_psfs(np.random.default_rng(options.seed), 1, network.trained_sizes()[-1])[0]
        photographs = unseen_photographs(options.images, 1, options.side)
        (case,) = blurred_photographs(photographs, {"": psf}, options.noise, options.seed)
        photo = case.blurry
    for name, picture in (("disks", disks()), ("photo", photo)):
        maps = stage_maps(network, picture)
        figures[f"maps-{name}"] = maps_figure(picture, maps[0], f"{name}: {maps[0].name}")
        figures[f"layers-{name}"] = _layers_figure(network.all_stages()[0], maps[0].blurry)
    figures["psfs"] = psfs_figure(maps, psf, "PSF after every stage")
    if psf is not None:
        finest = [m for m in maps if m.latent.shape == case.sharp.shape]
        numbers["PSF error by stage"] = {m.name: aligned_psf_error(m.psf, psf) for m in finest}
        numbers["PSNR in dB by stage"] = {m.name: score(m.latent, case.sharp, BORDER).psnr for m in finest}
    return numbers, figures


EXPERIMENTS = {
    "photo-psf-samples": Experiment(
        "photo paper, Fig. 7: blurs sampled from the Gaussian process, and from recorded shake if there is some",
        psf_samples,
        {"shake": None, "psf_sizes": [33, 17]},
    ),
    "photo-psf-size": Experiment(
        "photo paper, Fig. 13: error by the size of the PSF, on Levin et al.'s benchmark or on blurred photographs",
        psf_size,
        {
            "model": "photo",
            "levin": None,
            "images": None,
            "photographs": Sizes(3, 1),
            "side": Sizes(288, 128),
            "psf_sizes": Sizes([5, 9, 13, 17, 21, 25, 29, 33], [5, 9]),
            "noise": 0.01,
        },
    ),
    "photo-crop-size": Experiment(
        "photo paper, Figs. 19 and 20: error of the PSF by the size of the part of the photo that is seen",
        crop_size,
        {
            "model": "photo",
            "psf_size": None,
            "images": None,
            "photographs": Sizes(8, 2),
            "side": Sizes(400, 128),
            "noise": 0.01,
        },
    ),
    "photo-filters-and-maps": Experiment(
        "photo paper, Figs. 2, 16, 17 and 18: learned filters of one or more models, what the first stage makes of "
        "disks and of a blurry photo",
        filters_and_maps,
        {"models": ["photo"], "image": None, "images": None, "side": Sizes(256, 128), "noise": 0.01},
    ),
}
