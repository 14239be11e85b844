"""Write the tables of docs/performance.md: `python bench/performance_section.py results.json [more.json ...]`.

The JSON files are those of `bench/runtime.py --json`, one per machine. What lies between the lines
``<!-- performance: begin -->`` and ``<!-- performance: end -->`` is replaced; everything else stays as it is. The
seconds and the memory of whole commands go to the README instead, between lines of *speed*, from the first file that
has them: a figure stands in one document only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # Python itself looks beside this file only

from bench.timing.table import Table
from deconvnet.errors import DeconvnetError, exit_status
from deconvnet.files import replacing

ROOT = Path(__file__).resolve().parent.parent
PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"
#: Columns that the page leaves out: what only somebody who tunes wants to know.
LEFT_OUT = {"device", "form"}
#: Name of the table of whole commands, and its columns that stand in the README.
COMMANDS, TOLD_FIRST = "end_to_end", ("what", "size", "seconds", "memory")
SPEED_BEGIN, SPEED_END = "<!-- speed: begin -->", "<!-- speed: end -->"


def read_results(path):
    """The record that `bench/runtime.py` wrote.

    Raises
    ------
    DeconvnetError
        If the file is missing or is something else.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["machine"], record["tables"], record["ceilings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeconvnetError(f"{path} holds no results: name a file that bench/runtime.py --json wrote") from error
    return record


def _heading(machine):
    what = f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"
    return f"{machine['gpu']}; {what}" if machine["gpu"] else what


def _body(table):
    several = len({row.get("device") for row in table.rows}) > 1
    columns = [c for c in table.columns if c.key not in LEFT_OUT or (c.key == "device" and several)]
    if table.name == COMMANDS:
        columns = [c for c in columns if c.key not in TOLD_FIRST[2:]]
    return Table(table.name, table.title, columns, table.note, table.rows).markdown()


def section(results, names):
    """The section in Markdown.

    Parameters
    ----------
    results : list of dict
        Records of `read_results`.
    names : list of str
        Their file names, for the command that is quoted.

    Returns
    -------
    str
    """
    parts = [
        f"*Written by* `python bench/performance_section.py {' '.join(names)}` *from what* `bench/runtime.py` *found.*"
    ]
    for record in results:
        machine = record["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        best = "; ".join(
            f"{device}: " + ", ".join(f"{name} {flops / 1e9:.0f}" for name, flops in found.items())
            for device, found in record["ceilings"].items()
        )
        quick = " Small sizes only (`--quick`)." if record["settings"].get("quick") else ""
        parts.append(f"### {_heading(machine)}")
        parts.append(f"{machine['date']}, commit {machine['commit']}; {versions}. Ceilings in GFLOP/s: {best}.{quick}")
        for table in (Table.from_json(t) for t in record["tables"]):
            parts += [f"**{table.title}**", _body(table), table.note]
    return "\n\n".join(part for part in parts if part)


def speed(results):
    """Seconds and memory of whole commands in Markdown, for the README; None if no record has them."""
    for record in results:
        for table in (Table.from_json(t) for t in record["tables"]):
            if table.name == COMMANDS:
                columns = [c for c in table.columns if c.key in TOLD_FIRST]
                machine = record["machine"]
                about = (
                    f"From file to file, in a process of its own (`python bench/runtime.py --tables {COMMANDS}`); "
                    f"{_heading(machine)}, {machine['date'][:10]}, commit {machine['commit']}. "
                    "Steps, growth, and PyTorch beside it: [performance](docs/performance.md)."
                )
                rows = [row for row in table.rows if "error" not in row]
                return Table(table.name, table.title, columns, "", rows).markdown() + f"\n\n{about}"
    return None


def replace_section(text, new, begin=BEGIN, end=END):
    """The text with what lies between the markers replaced.

    Raises
    ------
    DeconvnetError
        If there is not exactly one pair of markers.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise DeconvnetError(f"no place for the section: put the lines {begin} and {end} into the page, once each")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{new}\n{end}{after}"


def _read(path, option):
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeconvnetError(f"{path} cannot be read ({error.strerror}): name it with {option}") from error


def _run(options):
    records = [read_results(path) for path in options.results]
    names = [Path(path).name for path in options.results]
    written = {options.page: replace_section(_read(options.page, "--page"), section(records, names))}
    if commands := speed(records):
        text = _read(options.readme, "--readme")
        written[options.readme] = replace_section(text, commands, SPEED_BEGIN, SPEED_END)
    for path, text in written.items():
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def main(arguments=None):
    """Entry; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench/performance_section.py", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", metavar="JSON", help="written by bench/runtime.py --json")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to rewrite (default docs/performance.md)")
    parser.add_argument("--readme", type=Path, default=README, help="the same for whole commands (default README.md)")
    options = parser.parse_args(arguments)
    return exit_status("bench/performance_section.py", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
