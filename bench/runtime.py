"""Timing tables: `python bench/runtime.py [--device cpu|cuda|all] [--quick] [--peers torch] [--json FILE] ...`.

A single photograph's PSF, a burst, a training step, every kernel, first calls, and how time and memory grow; each
against PyTorch with the same weights and, where there is one, against the papers' figures. Results are compared before
anything is timed; times are medians of runs that take turns. `bench/performance_section.py` puts the JSON into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # Python itself looks beside this file only

from bench.peers.torch_peer import find_peer
from bench.scoring.report import write_json
from bench.timing.burst import burst_table
from bench.timing.end_to_end import end_to_end_table
from bench.timing.growth import growth_tables
from bench.timing.kernels import KERNELS, kernel_table
from bench.timing.loads import busy_table, threads_table
from bench.timing.machine import ceilings, describe
from bench.timing.measure import Device
from bench.timing.photo import photo_table
from bench.timing.plot import draw
from bench.timing.refinement import REFINEMENT
from bench.timing.startup import startup_table
from bench.timing.table import Table
from bench.timing.training import training_table
from deconvnet.backend import gpu_available
from deconvnet.errors import DeconvnetError, exit_status

PROGRAM = "bench/runtime.py"
TABLES = ("end_to_end", "photo", "burst", "training", "kernels", "busy", "threads", "growth", "startup")


def _parser():
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.splitlines()[0].partition(":")[0])
    parser.add_argument("--device", choices=("cpu", "cuda", "all"), default="cpu", help="default cpu")
    parser.add_argument("--quick", action="store_true", help="every table at small sizes, in less than a minute")
    parser.add_argument("--full", action="store_true", help="whole frames in the burst table: may take an hour")
    parser.add_argument("--peers", choices=("torch", "none"), default="torch", help="what to compare with")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--before", metavar="PYTHON", help="an interpreter with another version installed, to run beside"
    )
    parser.add_argument("--only", metavar="TEXT", help="rows of the end-to-end table that contain this")
    parser.add_argument("--json", metavar="FILE", help="write all results, after every table")
    parser.add_argument("--plot", metavar="FILE.png", help="draw time against size")
    return parser


def _merged(tables):
    """Tables of the same name, of several devices, as one."""
    merged = {}
    for table in tables:
        if table.name in merged:
            merged[table.name].rows.extend(table.rows)
        else:
            merged[table.name] = Table(table.name, table.title, table.columns, table.note, list(table.rows))
    return list(merged.values())


def _write(path, machine, settings, ceilings_found, tables):
    """All results so far."""
    record = {
        "machine": machine,
        "settings": settings,
        "ceilings": ceilings_found,
        "tables": [table.to_json() for table in _merged(tables)],
    }
    write_json(path, record)


def _measured(name, device, peer, ceiling, options):
    """The tables of one name on one device."""
    if name == "end_to_end":
        if device.name != "cpu":
            return []
        return [end_to_end_table(quick=options.quick, before=options.before, only=options.only)]
    if name == "photo":
        return [photo_table(device, peer, ceiling, quick=options.quick)]
    if name == "burst":
        return [burst_table(device, peer, ceiling, quick=options.quick, full=options.full)]
    if name == "training":
        return [training_table(device, peer, quick=options.quick)]
    if name == "kernels":
        return [kernel_table(device, peer, quick=options.quick, kernels=(*KERNELS, *REFINEMENT))]
    if name == "busy":
        return [busy_table(device, peer, quick=options.quick)] if device.name == "cpu" else []
    if name == "threads":
        return [threads_table(device, quick=options.quick)] if device.name == "cpu" else []
    if name == "growth":
        return growth_tables(device, quick=options.quick)
    return [startup_table(quick=options.quick)] if device.name == "cpu" else []


def _run(options):
    """Measure, print and write what the options say; returns 1 if a row could not be measured."""
    begun = time.perf_counter()
    names = ["cpu", "cuda"] if options.device == "all" else [options.device]
    if options.device == "all" and not gpu_available():
        print("no usable GPU: the CPU only", file=sys.stderr)
        names = ["cpu"]
    devices = [Device(name) for name in names]
    for path in filter(None, (options.json, options.plot)):
        if not Path(path).resolve().parent.is_dir():
            raise DeconvnetError(f"there is no folder for {path}: make it, or name another file")
    machine = describe(names)
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(
        f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"
        + f", {machine['gpu']}" * bool(machine["gpu"])
    )
    print(f"{versions}; commit {machine['commit']}; {machine['date']}")
    if options.quick:
        print("quick: small sizes, few runs, PyTorch without compiling; not for quoting")
    settings = {"quick": options.quick, "full": options.full, "peers": options.peers}
    found, tables = {}, []
    for device in devices:
        peer = find_peer(options.peers, device.name)
        found[device.name] = ceilings(device, quick=options.quick)
        best = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in found[device.name].items())
        print(f"ceilings, {device.name}, float32: {best}")
        for name in options.tables:
            for table in _measured(name, device, peer, found[device.name], options):
                tables.append(table)
                note = textwrap.fill(table.note, 118, initial_indent="  ", subsequent_indent="  ")
                print(f"\n{table.text()}\n{note}", flush=True)
            if options.json:
                settings["seconds"] = round(time.perf_counter() - begun, 1)
                _write(options.json, machine, settings, found, tables)
    if options.plot:
        draw(options.plot, tables)
    print(f"\n{time.perf_counter() - begun:.0f} s in all")
    failed = sum("error" in row for table in tables for row in table.rows)
    if failed:
        print(f"{PROGRAM}: {failed} rows could not be measured, see above", file=sys.stderr)
    return 1 if failed else 0


def main(arguments=None):
    """Entry; returns the exit status: 1 if a row failed, 2 if an option cannot be used."""
    options = _parser().parse_args(arguments)
    return exit_status(PROGRAM, lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
