"""The subcommand ``batch`` of the command line: a folder of photographs and bursts."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvnet.cli.options import Subparsers, add_device, add_json, add_quiet, add_threads, count
from deconvnet.errors import DeconvnetError, Terminated, print_out, say
from deconvnet.progress import step
from deconvnet.work.grouping import MODES, Group, find_pictures, group
from deconvnet.work.record import Record

if TYPE_CHECKING:
    from deconvnet.work.workers import Outcome

__all__ = ["add_batch"]

#: What pictures become whose format is not written.
INSTEAD = ".tif"


def add_batch(commands: Subparsers) -> None:
    """Add the subcommand ``batch`` to the subparsers of an `argparse.ArgumentParser`."""
    from deconvnet.files.formats import WRITABLE

    parser = commands.add_parser(
        "batch",
        help="a folder of photographs and bursts",
        description="Restore every photograph and burst in a folder and those inside it. What is done already is "
        "skipped; what fails does not stop the others, and is listed at the end.",
    )
    parser.add_argument("source", metavar="IN", help="the folder")
    parser.add_argument("out", metavar="OUT", help="folder for the results, built like IN")
    parser.add_argument(
        "--bursts",
        choices=MODES,
        default="auto",
        help="what makes a burst: folders (every folder inside IN), time (taken within 1.5 s and of one scene), auto "
        "(time where EXIF tells it, else folders of one scene; default), none",
    )
    parser.add_argument("--jobs", type=count, metavar="N", help="processes (default 1)")
    parser.add_argument(
        "--scheduler",
        metavar="local|ADDRESS",
        help="spread the work by Dask, with the extra dask: over --jobs workers of this machine (local), or over those "
        "of the scheduler at ADDRESS (tcp://host:8786), which must see both folders",
    )
    parser.add_argument(
        "--format", choices=sorted(suffix[1:] for suffix in WRITABLE), help="of the results (default: as the inputs)"
    )
    parser.add_argument("--plan", action="store_true", help="only list what would be done")
    parser.add_argument("--photo-model", default="photo", metavar="NAME|FILE", help="as --model of photo")
    parser.add_argument("--burst-model", default="burst", metavar="NAME|FILE", help="as --model of burst")
    parser.add_argument("--psf-size", default="auto", metavar="PX", help="as of photo")
    parser.add_argument("--noise", type=float, metavar="SIGMA", help="as of photo")
    parser.add_argument("--varying", action="store_true", help="as of photo")
    parser.add_argument("--method", choices=("network", "fba", "mean"), default="network", help="as of burst")
    parser.add_argument("--no-refine", dest="refine", action="store_false", help="as of photo and burst")
    add_device(parser)
    add_threads(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=_batch)


def _folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """The two folders, the second one made."""
    source, out = Path(options.source), Path(options.out)
    if not source.is_dir():
        raise DeconvnetError(f"there is no folder {source}: name one with pictures")
    if source.resolve() == out.resolve():
        raise DeconvnetError(f"{out} is the folder that is read: choose another one for the results")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise DeconvnetError(f"the folder {out} cannot be written: {error.strerror}") from error
    return source, out


def _items(groups: list[Group], source: Path, out: Path, options: argparse.Namespace) -> list[Any]:
    """A work item for each photograph and burst."""
    from deconvnet.cli.running import item_from
    from deconvnet.work.items import BurstItem, PhotoItem

    taken: set[str] = set()
    items: list[Any] = []
    for files in groups:
        first = files[0]
        suffix = f".{options.format}" if options.format else _suffix_like(first)
        stem = first.stem + ("_burst" if len(files) > 1 else "")
        output = out / first.relative_to(source).with_name(stem + suffix)
        while str(output).casefold() in taken:  # inputs that differ in their suffix or in upper case alone
            output = output.with_name(f"{output.stem}_{first.suffix[1:].lower()}{suffix}")
        taken.add(str(output).casefold())
        if len(files) == 1:
            items.append(item_from(PhotoItem, options, photo=str(first), output=str(output), model=options.photo_model))
        else:
            frames = tuple(str(file) for file in files)
            items.append(
                item_from(
                    BurstItem, options, frames=frames, output=str(output), model=options.burst_model, lenient=True
                )
            )
    return items


def _suffix_like(file: Path) -> str:
    from deconvnet.files.formats import WRITABLE

    return file.suffix.lower() if file.suffix.lower() in WRITABLE else INSTEAD


def _batch(options: argparse.Namespace) -> int:
    from deconvnet.files import locked
    from deconvnet.weights import find_model

    source, out = _folders(options)
    if options.jobs and options.scheduler not in (None, "local"):
        raise DeconvnetError("--jobs is of this machine: the scheduler knows how many workers it has, leave it away")
    for model in (options.photo_model, options.burst_model):
        find_model(model)
    with locked(out, f"another batch is writing to {out}: wait for it to end, or choose another folder"):
        return _run(source, out, options)


def _attempts(items: list[Any], out: Path, options: argparse.Namespace) -> Generator[Outcome, None, None]:
    """The outcomes of items as they come, from wherever they are worked on."""
    from deconvnet.work.cluster import attempt_on_cluster
    from deconvnet.work.workers import attempt_all

    jobs = options.jobs or 1
    if options.scheduler is None:
        return attempt_all(items, jobs)
    threads, tell = options.threads, lambda line: say(f"deconvnet: {line}")
    return attempt_on_cluster(items, options.scheduler, out, jobs=jobs, threads=threads, tell=tell)


def _run(source: Path, out: Path, options: argparse.Namespace) -> int:
    from deconvnet.cli.running import as_json
    from deconvnet.work.workers import Outcome

    shown = not options.quiet
    files = find_pictures(source, out)
    record = Record(out)
    with step("sorting", len(files), "picture", shown=shown) as sorting, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said again when they are restored
        groups = group(files, source, options.bursts, sorting.update, record.sortings)
    items = _items(groups, source, out, options)
    if options.plan:
        planned = [{"output": item.output, "inputs": list(item.inputs)} for item in items]
        lines = [f"{p['output']} from {len(p['inputs'])}: {', '.join(p['inputs'])}" for p in planned]
        print_out(as_json(planned) if options.json else "\n".join(lines))
        return 0
    record.keep_sortings()
    outcomes: list[Outcome] = []
    waiting: list[Any] = []
    for item in items:
        if record.has(item):
            outcomes.append(Outcome(item, "skipped", "done before"))
        elif record.foreign(item):
            outcomes.append(Outcome(item, "failed", f"{item.output} is there already: move it away"))
        else:
            waiting.append(item)
    status = None
    with step("restoring", len(waiting), "picture", shown=shown) as restoring:
        try:
            with contextlib.closing(_attempts(waiting, out, options)) as attempts:
                for outcome in attempts:
                    outcomes.append(outcome)
                    if outcome.status == "done":
                        record.add(outcome.item)
                    restoring.update()
        except KeyboardInterrupt as interrupt:  # what is finished stays, and is listed
            status = 143 if isinstance(interrupt, Terminated) else 130
    seen = {outcome.item.output for outcome in outcomes}
    outcomes += [Outcome(item, "interrupted") for item in items if item.output not in seen]
    _report(outcomes, options)
    if status is not None:
        say("deconvnet: interrupted: what is done is kept, and the same command goes on with the rest")
        return status
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _report(outcomes: list[Outcome], options: argparse.Namespace) -> None:
    """The table of what became of everything, or the same as JSON."""
    from deconvnet.cli.running import as_json

    numbers = Counter(outcome.status for outcome in outcomes)
    if options.json:
        entries = [
            {
                "status": outcome.status,
                "output": outcome.item.output,
                "inputs": list(outcome.item.inputs),
                "why": outcome.why,
                "seconds": round(outcome.seconds, 3),
                **({"result": outcome.result} if outcome.result else {}),
            }
            for outcome in outcomes
        ]
        print_out(as_json({"numbers": dict(numbers), "items": entries}))
        return
    lines = []
    for outcome in sorted(outcomes, key=lambda outcome: outcome.item.output):
        name = outcome.item.inputs[0] if outcome.status in ("failed", "interrupted") else outcome.item.output
        time = f"{outcome.seconds:.1f} s" if outcome.status == "done" else ""
        lines.append("  ".join(part for part in (f"{outcome.status:11s} {name}", time, outcome.why) if part))
    lines.append(", ".join(f"{number} {status}" for status, number in sorted(numbers.items())))
    print_out("\n".join(lines))
