"""Time against size, log-log, with the peers."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["draw"]

STYLES = {
    "paper": ("Schuler et al. 2015", "0.6", "s"),
    "torch": ("PyTorch", "C1", "^"),
    "ours": ("deconvnet", "C0", "o"),
}


def draw(path, tables):
    """Draw the single-photo table, one panel per PSF size, and how time grows.

    Parameters
    ----------
    path : path-like
        Picture file, written beside and renamed.
    tables : list of Table
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_name = {table.name: table for table in tables}
    photos = [row for name in ("photo", "growth_photo") if name in by_name for row in by_name[name].rows]
    sizes = sorted({row["psf"] for row in photos if "psf" in row})
    grown = [row for row in photos if "unit" in row]
    panels = len(sizes) + bool(grown)
    if not panels:
        return
    figure = Figure(figsize=(3.6 * panels, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    devices = sorted({row["device"] for row in photos})
    for ax, psf in zip(axes, sizes):
        for key, (label, colour, marker) in STYLES.items():
            for device in devices:
                rows = [r for r in photos if r.get("psf") == psf and r["device"] == device]
                points = [(r["side"] ** 2 / 1e6, r[key]) for r in rows if isinstance(r.get(key), (int, float))]
                if not points or (key == "paper" and device != devices[0]):
                    continue
                line = "-" if device == "cpu" or key == "paper" else "--"
                name = label if key == "paper" else f"{label}, {device}"
                ax.plot(*zip(*points), color=colour, marker=marker, linestyle=line, label=name)
        ax.set_title(f"PSF of {psf}×{psf} px")
    if grown:
        for device in devices:
            points = [(r["unit"], r["seconds"]) for r in grown if r["device"] == device]
            axes[-1].plot(*zip(*points), color="C0", marker="o", label=f"deconvnet, {device}")
        axes[-1].set_title("growth, PSF of 17×17 px")
    for ax in axes:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("megapixels")
        ticks = sorted({float(x) for line in ax.lines for x in line.get_xdata()})
        ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        ax.minorticks_off()
        ax.grid(True, alpha=0.2)
        ax.legend(fontsize=7)
    axes[0].set_ylabel("seconds")
    path = Path(path)
    beside = path.with_name(f".{path.stem}.part{path.suffix or '.png'}")
    figure.savefig(beside, dpi=120)
    os.replace(beside, path)
