"""Files that nobody sees half written: beside their place first, then renamed; folders that one program has at a time.

The modules inside read and write pictures, for `deconvnet.io`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deconvnet.errors import DeconvnetError

try:
    import fcntl
except ImportError:  # Windows has no locks on folders: there, two programs in one are not noticed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["locked", "part_name", "replacing", "save_figure"]


#: Seconds after which a part belongs to a program that was killed.
STALE = 86400


def part_name(path: str | Path) -> Path:
    """Where a file is written before it gets its name: hidden, in the same folder, and not where others write."""
    path = Path(path)
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")


def _remove(part: Path) -> None:
    """Delete a file or folder, if it is there."""
    with contextlib.suppress(OSError):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def _forget_stale_parts(path: Path) -> None:
    """Delete what killed programs have left of a file, a day ago or more."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                _remove(part)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """``with replacing(path) as part:`` write the file ``part``, which takes the place of ``path`` at the end.

    Or make the folder ``part``, which gets the name of ``path`` at the end if there is none.

    A reader, or a kill at any moment, sees the old file or the new one. If writing fails, the old one stays, and
    nothing else. Of two programs that write one file at the same time, the later one's stays.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    Path
        In the same folder.

    Raises
    ------
    DeconvnetError
        In the place of any OSError.
    """
    part = part_name(path)
    try:
        _forget_stale_parts(Path(path))
        yield part
        os.replace(part, path)
    except OSError as error:
        raise DeconvnetError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(part)


@contextlib.contextmanager
def locked(folder: str | Path, message: str) -> Iterator[None]:
    """``with locked(folder, message):`` no other program that asks in this way gets the folder meanwhile.

    The lock is the system's: it leaves no file, and a killed program holds none.

    Parameters
    ----------
    folder : path-like
        Existing.
    message : str
        Of the error, if another one holds it.

    Raises
    ------
    DeconvnetError
        If another one holds the folder.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeconvnetError(message) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def save_figure(path: str | Path, figure: Figure, dpi: int = 120) -> None:
    """Write a figure as a PNG file.

    Parameters
    ----------
    path : path-like
    figure : matplotlib.figure.Figure
    dpi : int

    Raises
    ------
    DeconvnetError
        If it cannot be written.
    """
    with replacing(path) as part:
        figure.savefig(part, dpi=dpi, format="png")
