"""Turn a finished run into a network that ships: float16 weights and a card, in `deconvnet/weights/`.

`python -m train.ship runs/burst --name burst --data "..." --failures "..."`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deconvnet.errors import DeconvnetError, exit_status
from deconvnet.files import replacing
from deconvnet.networks.io import load_arrays, save_arrays
from deconvnet.weights import HERE

TITLES = {"burst": "Burst deblurring, any number of frames", "photo": "PSF of a single photograph"}


def _commit() -> str:
    """Hash of the checkout's commit, or "unknown"."""
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _table(first: str, scores: dict[str, dict[str, Any]]) -> str:
    """Markdown table of rows of scores, ``first`` heading the rows' names."""
    columns = list(dict.fromkeys(name for row in scores.values() for name in row))
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for name, row in scores.items()]
    return "\n".join(lines)


def _burst_scores(summary: dict[str, Any]) -> str:
    return (
        "Scores in dB on photographs that training never saw (mean of the PSNR of "
        f"{summary['settings']['validation']} patches, half as many in the other rows):\n\n"
        + _table("validation bursts", summary["psnr"])
    )


def _photo_scores(summary: dict[str, Any]) -> str:
    settings = summary["settings"]
    count, side = settings["validation"], settings["validation_crop"]
    return (
        f"On {count} photographs of {side}×{side} px that training never saw, blurred by "
        f"{settings['psf_size']} px: error of the PSF, ‖estimate − truth‖²/‖truth‖², beside that of the mean "
        "of all true PSFs, and PSNR in dB of a quick deconvolution.\n\n"
        + _table("", {"relative PSF error": summary["psf_error"]})
        + "\n\n"
        + _table("", {"PSNR": summary["psnr"]})
    )


SCORES = {"burst": _burst_scores, "photo": _photo_scores}


def ship(run: str | Path, name: str, data: str, failures: str, folder: str | Path = HERE) -> None:
    """Write ``NAME.safetensors`` (float16) and ``NAME.md`` from the run in a folder.

    Parameters
    ----------
    run : path-like
        Folder with ``model.safetensors`` and ``summary.json``.
    name : str
    data, failures : str
        What it was trained on, and what it is known to fail at.
    folder : path-like

    Raises
    ------
    DeconvnetError
        If the run is incomplete.
    """
    run, folder = Path(run), Path(folder)
    arrays, record = load_arrays(run / "model.safetensors")
    if not (run / "summary.json").is_file():
        raise DeconvnetError(f"{run} holds no summary.json: let the run end, or end it with Ctrl-C")
    summary = json.loads((run / "summary.json").read_text())
    # Paths say nothing outside of the machine they were given on.
    settings = {k: v for k, v in summary["settings"].items() if k not in ("images", "shake", "from")}
    record["training"] = {"steps": summary["steps"], "scores": summary["psnr"], "settings": settings}
    half = {key: array.astype(np.float16) for key, array in arrays.items()}
    save_arrays(folder / f"{name}.safetensors", half, record)
    size = (folder / f"{name}.safetensors").stat().st_size / 1e6
    card = f"""# {TITLES[record["kind"]]}: {record["network"]}

{sum(a.size for a in arrays.values()) / 1e6:.2g} M weights in float16 ({size:.2g} MB), commit {_commit()}.

- **Data**: {data}
- **Training**: {summary["steps"]} steps, {summary["seconds"] / 60:.0f} minutes, seed {summary["seed"]}; settings
  `{json.dumps(settings)}`
- **Known failures**: {failures}

{SCORES[record["kind"]](summary)}
"""
    with replacing(folder / f"{name}.md") as part:
        part.write_text(card, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Entry; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m train.ship", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--name", default="burst")
    parser.add_argument("--data", required=True, help="what it was trained on, for the card")
    parser.add_argument("--failures", required=True, help="what it is known to fail at, for the card")
    options = parser.parse_args(arguments)
    return exit_status("train.ship", lambda: ship(options.run, options.name, options.data, options.failures))


if __name__ == "__main__":
    sys.exit(main())
