"""The first-call table: what compilation costs, once ever and then at the start of every process."""

from __future__ import annotations

import tempfile

from bench.timing.child import in_child
from bench.timing.table import Column, Table

__all__ = ["startup_table"]

CASES = (
    ("PSF of a photo", "bench.timing.photo:case", {"psf_size": 17, "side": 64}),
    ("burst, quotient", "bench.timing.burst:case", {"network": "quotient", "count": 2, "height": 65, "width": 65}),
    ("burst, compact", "bench.timing.burst:case", {"network": "compact", "count": 2, "height": 65, "width": 65}),
)

COLUMNS = [
    Column("what", "what"),
    Column("setup", "imports and weights", "s"),
    Column("cold", "first call ever", "s"),
    Column("first", "first call of a process", "s"),
    Column("second", "second call", "s"),
]


def startup_table(*, quick=False):
    """Seconds of first calls in fresh processes, on the CPU.

    Parameters
    ----------
    quick : bool
        One case, without compiling from nothing.

    Returns
    -------
    Table
    """
    table = Table(
        "startup",
        "First calls",
        COLUMNS,
        "*Ever*: numba compiles everything, with an empty cache. *Of a process*: compiled code is read from the cache.",
    )
    for what, case, arguments in CASES[:1] if quick else CASES:
        row = {"what": what, "cold": "not in --quick" if quick else None}
        if not quick:
            with tempfile.TemporaryDirectory() as folder:
                row["cold"] = in_child(case, arguments, environment={"NUMBA_CACHE_DIR": folder})["first"]
        in_child(case, arguments)  # fills the cache
        found = in_child(case, arguments)
        table.add({**row, **{key: found[key] for key in ("setup", "first", "second")}})
    return table
