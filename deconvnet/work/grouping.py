"""Which pictures of a folder are photographs of their own, and which are frames of one burst."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvnet.errors import DeconvnetError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MODES", "Group", "find_pictures", "group"]

MODES = ("none", "auto", "folders", "time")
#: Frames of a burst follow each other within so many seconds.
GAP = 1.5
#: Scenes are compared in copies of this many pixels.
COMPARED_PIXELS = 100_000

#: Files of one photograph (one of them) or one burst (in the order they were taken).
Group = tuple[Path, ...]


def find_pictures(source: Path, out: Path) -> list[Path]:
    """The pictures in a folder and those inside it, sorted, without hidden ones and without results of this program.

    Parameters
    ----------
    source : Path
    out : Path
        Folder of the results, which may lie inside the other.

    Raises
    ------
    DeconvnetError
        If there is none.
    """
    from deconvnet.files.formats import READABLE
    from deconvnet.files.metadata import written_here

    def wanted(file: Path) -> bool:
        inside = file.relative_to(source)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or file.suffix.lower() not in READABLE or not file.is_file():
            return False
        return out.resolve() not in file.resolve().parents and not written_here(file)

    found = sorted(file for file in source.rglob("*") if wanted(file))
    if not found:
        raise DeconvnetError(f"there are no pictures in {source}: {', '.join(READABLE)} files are wanted")
    return found


def group(
    files: list[Path],
    source: Path,
    mode: str,
    seen: Callable[[int], None] = lambda count: None,
    known: MutableMapping[str, list[list[str]]] | None = None,
) -> list[Group]:
    """Photographs and bursts; the frames of a burst have one suffix, as RAW files have JPEG twins.

    Parameters
    ----------
    files : list of Path
        As `find_pictures` gives them.
    source : Path
        Pictures that lie in this folder itself are no burst unless their times say so.
    mode : {"none", "auto", "folders", "time"}
        ``"none"``: every picture is a photograph. ``"folders"``: every folder inside is a burst. ``"time"``: pictures
        of one folder that were taken within 1.5 s of each other and show one scene are. ``"auto"``: by time in
        folders where every picture's EXIF tells it, and else those of a folder inside that show one scene.
    seen : callable
        Called with the number of files that were looked into.
    known : dict, optional
        What was found before, by a digest of a folder's files: taken from, and added to.

    Returns
    -------
    list of tuple of Path
        Every file once, in the order of each group's first one.
    """
    found: list[Group] = []
    known = {} if known is None else known

    def place(file: Path) -> tuple[Path, str]:
        return file.parent, file.suffix.lower()

    for (folder, _), inside in itertools.groupby(sorted(files, key=lambda file: (place(file), file)), key=place):
        here = list(inside)
        if mode == "none" or len(here) == 1 or (mode == "folders" and folder == source):
            found += [(file,) for file in here]
        elif mode == "folders":
            found.append(tuple(here))
        else:
            status = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in here]
            key = hashlib.sha256(json.dumps([mode, folder == source, status]).encode()).hexdigest()[:24]
            if key not in known:
                groups = _look_into(here, mode, within=folder != source, seen=seen)
                known[key] = [[file.name for file in files] for files in groups]
            found += [tuple(folder / name for name in names) for names in known[key]]
    return sorted(found)


def _look_into(files: list[Path], mode: str, *, within: bool, seen: Callable[[int], None]) -> list[Group]:
    """The files of one folder by their times, or by what they show if it lies ``within`` another one."""
    from deconvnet.files.metadata import capture_time

    times = {file: capture_time(file) for file in files}
    told = [file for file in files if times[file] is not None]
    found: list[Group] = []
    if mode == "time" or len(told) == len(files):
        candidates = _by_time(told, times)
        found += [(file,) for file in files if file not in told]
    else:
        candidates = [files] if within else [[file] for file in files]
    for candidate in candidates:
        found += _scenes(candidate, seen)
    return found


def _by_time(files: list[Path], times: dict[Path, Any]) -> list[list[Path]]:
    """Runs of pictures that follow each other closely."""
    ordered = sorted(files, key=lambda file: (times[file], file))
    runs: list[list[Path]] = []
    for file in ordered:
        if runs and times[file] - times[runs[-1][-1]] <= GAP:
            runs[-1].append(file)
        else:
            runs.append([file])
    return runs


def _scenes(files: list[Path], seen: Callable[[int], None]) -> list[Group]:
    """Files in the order they were taken, as groups of those that can be laid on the first of their group.

    A file is compared with the first ones of the two latest groups, so that a stranger among the frames of a burst does
    not cut it in two. One that cannot be read is alone.
    """
    from deconvnet.restore.burst.registration import shows_the_same

    if len(files) == 1:
        seen(1)
        return [(files[0],)]
    found: list[list[Path]] = []
    latest: list[tuple[list[Path], np.ndarray]] = []
    for file in files:
        look = _small(file)
        seen(1)
        for frames, first in latest:
            if look is not None and look.shape == first.shape and shows_the_same(first, look):
                frames.append(file)
                break
        else:
            found.append([file])
            if look is not None:
                latest = [(found[-1], look), *latest[:1]]
    return [tuple(frames) for frames in found]


def _small(file: Path) -> np.ndarray | None:
    """A small copy of a picture's luminance; None if it cannot be read, which whoever restores it will say."""
    from deconvnet.colour import luminance
    from deconvnet.io import read_image
    from deconvnet.ops.resample import resample

    try:
        luma = luminance(read_image(file).pixels)
    except DeconvnetError:
        return None
    scale = min(1.0, (COMPARED_PIXELS / luma.size) ** 0.5)
    return luma if scale == 1 else resample(luma, tuple(max(1, round(side * scale)) for side in luma.shape))
