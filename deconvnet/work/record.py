"""What a batch has done: kept in the folder of its results, so that the next one goes on from there."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvnet._version import __version__

if TYPE_CHECKING:
    from deconvnet.work.items import Item

__all__ = ["RECORD", "Record"]

#: The file's name.
RECORD = "deconvnet-batch.jsonl"


def _key(item: Item) -> str:
    """Digest of all that an item's result depends on: options, inputs, model, version."""
    plain: dict[str, Any] = dataclasses.asdict(item)
    del plain["output"]
    told: list[Any] = [type(item).__name__, plain, __version__]
    for name in (*item.inputs, item.model):
        with contextlib.suppress(OSError):  # a model's name is no file
            status = Path(name).stat()
            told.append((name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


class Record:
    """The file that says what was done: appended to, line by line, so that a kill costs the last one at most.

    Parameters
    ----------
    out : Path
        Folder of the results.

    Attributes
    ----------
    sortings : dict
        What belongs together, as `deconvnet.work.grouping.group` found it; `keep_sortings` writes what came to it.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / RECORD
        self.sortings: dict[str, list[list[str]]] = {}
        self._keys: dict[str, str] = {}
        with contextlib.suppress(OSError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if "sorting" in entry:
                        self.sortings[entry["sorting"]] = [[str(name) for name in names] for names in entry["groups"]]
                    else:
                        self._keys[entry["output"]] = entry["key"]
        self._kept = set(self.sortings)

    def _name(self, item: Item) -> str:
        return Path(item.output).relative_to(self.out).as_posix()

    def has(self, item: Item) -> bool:
        """Whether the item is done, and would come out the same."""
        return self._keys.get(self._name(item)) == _key(item) and Path(item.output).is_file()

    def foreign(self, item: Item) -> bool:
        """Whether a file is in the item's way that this program did not write."""
        from deconvnet.files.metadata import written_here

        output = Path(item.output)
        return output.exists() and self._name(item) not in self._keys and not written_here(output)

    def add(self, item: Item) -> None:
        """Write down that an item is done."""
        self._append({"output": self._name(item), "key": _key(item)})

    def keep_sortings(self) -> None:
        """Write down what was added to ``sortings``."""
        for key in sorted(set(self.sortings) - self._kept):
            self._append({"sorting": key, "groups": self.sortings[key]})
        self._kept = set(self.sortings)

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            # In a line of its own even if the last one was cut off.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(entry, ensure_ascii=False)}")
        except OSError as error:
            warnings.warn(
                f"{self.path} cannot be written ({error.strerror}): some is done again next time", stacklevel=2
            )
