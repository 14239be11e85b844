"""Tables of results: aligned text for people, Markdown for the documentation, plain values for JSON."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

__all__ = ["Column", "Table", "cell"]


class Column(NamedTuple):
    """A column: the key of its values, its heading, and how they are written (a unit, or "" for text)."""

    key: str
    heading: str
    unit: str = ""


def _digits(value):
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def cell(value, unit=""):
    """A value as it stands in a table.

    Parameters
    ----------
    value : number, str or None
        None is written as a dash, and a text as it is.
    unit : str
        ``"s"``, ``"ms"`` (values in seconds), ``"MB"`` (values in bytes), ``"GFLOP"`` (values in FLOP), ``"%"`` (values
        as fractions), ``"x"`` (a ratio), ``"side"`` (n², pixels); others, and ``"n"`` for a plain number, leave it as
        it is.

    Returns
    -------
    str
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if unit == "side":
        return f"{value}²"
    if unit == "%":
        return f"{100 * value:.0f}"
    if unit == "x":
        return f"{_digits(value)}×"
    factor = {"ms": 1e3, "MB": 1e-6, "GFLOP": 1e-9, "GFLOP/s": 1e-9}.get(unit, 1)
    if isinstance(value, int) and factor == 1:
        return str(value)
    return _digits(value * factor)


@dataclass
class Table:
    """Rows under headings, with a title and a note.

    Parameters
    ----------
    name : str
        Key in the JSON.
    title : str
    columns : list of Column
    note : str
    rows : list of dict
        Values by column key; what no column shows is for the JSON alone.
    """

    name: str
    title: str
    columns: list
    note: str = ""
    rows: list = field(default_factory=list)

    def add(self, row):
        """Append a row."""
        self.rows.append(row)

    @contextlib.contextmanager
    def attempt(self, row):
        """Add a row that is filled within the block; if that fails, the row says so and the others go on.

        What the row holds at first is what it is called in the message.
        """
        named = ", ".join(map(str, row.values()))
        try:
            yield row
        except Exception as error:  # whatever a kernel, a compiler or a check raises: it concerns this row only
            row["error"] = " ".join([f"{type(error).__name__}:", *str(error).split()])[:300]
            print(f"{self.title}: {named}: {row['error']}", file=sys.stderr)
        self.add(row)

    def _shown(self):
        """Columns that have a value in some row."""
        return [c for c in self.columns if any(row.get(c.key) is not None for row in self.rows)]

    def _heading(self, column):
        known = {"side": "px", "x": "", "n": ""}.get(column.unit, column.unit)
        return f"{column.heading} ({known})" if known else column.heading

    def text(self):
        """Aligned lines, numbers to the right."""
        columns = self._shown()
        lines = [[self._heading(c) for c in columns]]
        lines += [[cell(row.get(c.key), c.unit) for c in columns] for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        out = [self.title]
        for line in lines:
            parts = [t.rjust(w) if c.unit else t.ljust(w) for t, w, c in zip(line, widths, columns)]
            out.append("  " + "  ".join(parts).rstrip())
        return "\n".join(out)

    def markdown(self):
        """A Markdown table."""
        columns = self._shown()
        lines = ["| " + " | ".join(self._heading(c) for c in columns) + " |"]
        lines.append("|" + "|".join("---:" if c.unit else "---" for c in columns) + "|")
        lines += ["| " + " | ".join(cell(row.get(c.key), c.unit) for c in columns) + " |" for row in self.rows]
        return "\n".join(lines)

    def to_json(self):
        """A dict that JSON can hold; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record):
        """The table of `to_json`."""
        return cls(**{**record, "columns": [Column(*c) for c in record["columns"]]})
