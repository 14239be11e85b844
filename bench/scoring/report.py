"""What every benchmark prints and writes: aligned tables, and JSON that says what was run, with what, and where."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from deconvnet._version import __version__
from deconvnet.files import replacing

__all__ = ["describe_run", "format_table", "write_json"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "scipy", "scikit-image", "numba")


def _commit():
    """Short hash of the checkout's commit, with "+" if files differ from it, or "unknown"."""
    git = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def describe_run(arguments, **more):
    """What is needed to make a table again.

    Parameters
    ----------
    arguments : list of str
        Of the command line, without the program.
    **more
        Further entries, JSON-able.

    Returns
    -------
    dict
        Command, commit, versions, processor threads, and what was given.
    """
    program = os.path.relpath(sys.argv[0], ROOT) if sys.argv[0] else ""
    return {
        "command": shlex.join(["python", program, *arguments]),
        "commit": _commit(),
        "versions": {
            "deconvnet": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        "machine": platform.machine(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **more,
    }


def format_table(rows, digits=2):
    """Rows as lines of aligned text.

    Parameters
    ----------
    rows : list of dict
        Column name to value: text, a number, or None for none. Columns come in the order they first occur.
    digits : int or dict of str to int
        Decimals of floats, for all or by column (2 where none is named).

    Returns
    -------
    str
        One line for the names, one for each row; text stands left, numbers right.
    """

    def text(column, value):
        if value is None:
            return ""
        if isinstance(value, float):
            return f"{value:.{digits.get(column, 2) if isinstance(digits, dict) else digits}f}"
        return str(value)

    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns] + [[text(c, row.get(c)) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    left = [all(isinstance(row.get(c), (str, type(None))) for row in rows) for c in columns]
    return "\n".join(
        "  ".join(cell.ljust(w) if is_left else cell.rjust(w) for cell, w, is_left in zip(line, widths, left)).rstrip()
        for line in cells
    )


def write_json(path, record):
    """Write a record as a JSON file.

    Parameters
    ----------
    path : path-like
    record : dict

    Raises
    ------
    DeconvnetError
        If the file cannot be written.
    """
    with replacing(path) as part:
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
