"""From what the user typed to a work item, and from what became of it to what the user sees."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from deconvnet.errors import DeconvnetError, print_out, say
from deconvnet.work.items import Common, Item, Result, run_item

__all__ = ["as_json", "item_from", "run_and_report"]

T = TypeVar("T", bound=Common)


def item_from(kind: type[T], options: argparse.Namespace, **more: Any) -> T:
    """A work item with the options of its names, and others."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{**{name: getattr(options, name) for name in names if hasattr(options, name)}, **more})


def as_json(record: Any) -> str:
    """A record as indented JSON, any character as it is."""
    return json.dumps(record, indent=2, ensure_ascii=False)


def run_and_report(item: Item, options: argparse.Namespace, described: Callable[[Result], str]) -> None:
    """Run one item for ``photo`` or ``burst``; ``described`` makes its closing line."""
    try:
        result = run_item(item, lambda line: say(f"deconvnet: {line}"), progress=not options.quiet)
    except DeconvnetError as error:
        if options.json:
            print_out(as_json({"output": item.output, "inputs": list(item.inputs), "error": str(error)}))
        raise
    if options.json:
        print_out(as_json(result))
    elif not options.quiet:
        say(described(result))
