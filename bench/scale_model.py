"""What many photos cost on many workers: a simulation from seconds that were measured, and how near it comes.

`deconvnet batch IN OUT --scheduler local --jobs 2 --json > batch.json` measures;
`python bench/scale_model.py batch.json --workers 2 --took 61` says what the same items should have taken, and then what
a million of them take on more workers. Items go to the next worker that is free; a worker may die, and what it was at
is done again, as Dask does.
"""

from __future__ import annotations

import argparse
import heapq
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

#: Workers in the table.
WORKERS = (2, 16, 128, 1024)


class Run(NamedTuple):
    """A simulated batch.

    Attributes
    ----------
    seconds : float
        From the start to the end of the last item.
    idle : float
        Seconds that the first worker without work waits for the last one.
    again : int
        Items that were begun again.
    """

    seconds: float
    idle: float
    again: int


def simulate(items, workers, rng, *, start=0.0, mean_life=np.inf, restart=0.0):
    """A batch on as many workers.

    Parameters
    ----------
    items : float array (n,)
        Seconds of each, in the order in which they are given out.
    workers : int
    rng : numpy.random.Generator
    start, restart : float
        Seconds until a worker takes its first item, and until one that died is replaced.
    mean_life : float
        Seconds until a worker dies, exponentially distributed.

    Returns
    -------
    Run
    """
    free = [start] * workers
    again = 0
    for seconds in items:
        life = rng.exponential(mean_life) if np.isfinite(mean_life) else np.inf
        while life < seconds:  # the next worker begins it anew
            heapq.heapreplace(free, free[0] + life + restart)
            again += 1
            life = rng.exponential(mean_life)
        heapq.heapreplace(free, free[0] + seconds)
    return Run(max(free), max(free) - min(free), again)


def main():
    """Print what the simulation makes of the measured batch, and a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("batch", help="what deconvnet batch --json said")
    parser.add_argument("--workers", type=int, default=2, help="of that batch (default 2)")
    parser.add_argument("--took", type=float, help="seconds that it took")
    parser.add_argument("--start", type=float, default=5.0, help="seconds until a worker is at work (default 5)")
    parser.add_argument("--bursts", action="store_true", help="a table of bursts, not of photos")
    parser.add_argument("--items", type=int, default=1_000_000, help="in the table (default a million)")
    parser.add_argument("--mean-life", type=float, default=24.0, help="hours until a worker dies (default 24)")
    parser.add_argument("--megabytes", type=float, default=0.2, help="read and written for an item (default 0.2)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    done = [item for item in json.loads(Path(options.batch).read_text())["items"] if item["status"] == "done"]
    measured = np.array([item["seconds"] for item in done])
    found = simulate(measured, options.workers, rng, start=options.start)
    took = "" if options.took is None else f", measured {options.took:.1f} s"
    print(f"{len(done)} items on {options.workers} workers: simulated {found.seconds:.1f} s{took}")
    wanted = np.array([item["seconds"] for item in done if (len(item["inputs"]) > 1) == options.bursts])
    kind = "bursts" if options.bursts else "photos"
    low, middle, high = np.quantile(wanted, [0.05, 0.5, 0.95])
    print(f"{kind}: {wanted.mean():.2f} s on average, median {middle:.2f}, {low:.2f} to {high:.2f} (5 to 95 %)")
    items = rng.choice(wanted, options.items)
    life = {"mean_life": options.mean_life * 3600, "restart": options.start}
    print("| workers | hours | of them all busy | begun again | MB/s from and to the store |")
    print("|---:|---:|---:|---:|---:|")
    for workers in WORKERS:
        run = simulate(items, workers, rng, start=options.start, **life)
        busy = items.sum() / (workers * run.seconds)
        rate = options.megabytes * len(items) / run.seconds
        print(f"| {workers} | {run.seconds / 3600:.2f} | {100 * busy:.1f} % | {run.again} | {rate:.1f} |")


if __name__ == "__main__":
    main()
