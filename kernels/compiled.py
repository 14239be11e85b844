"""`compiled`: numba's `njit` for this package: without the interpreter's lock, kept on disk, never stale.

Numba keeps compiled functions on disk and looks only at the file of each function to see whether it changed, but these
functions are compiled into one another: an edited primitive would go on running in its old form. Here what names the
folder on disk is a digest of the file and of all files of the kernels that it imports from, directly or not.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import types

from deconvnet.kernels.simd.bitcode import defined_names, nothing, parsed

try:
    # Not numba's public interface: where it has changed, functions are compiled anew in every process.
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
except ImportError:
    _CacheLocator = CompileResultCacheImpl = FunctionCache = IndexDataCacheFile = None

__all__ = ["cache_folder", "compiled", "digest", "dispatchers", "imported", "is_kept", "when_missing"]

_IMPORT = re.compile(r"^[ \t]*(?:from|import) deconvnet\.(kernels[\w.]*)(?: import (\([^)]*\)|[^\n]*))?", re.MULTILINE)

SOURCES = Path(__file__).resolve().parent
#: Days after which compiled functions of other versions of the sources are deleted, if nobody used them.
KEPT_DAYS = 30

#: All functions that are compiled here, by module and name.
dispatchers: dict[tuple[str, str], Any] = {}
#: Called when a function is not on disk, before it is compiled: whether to look for it again.
when_missing: list[Callable[[], bool]] = []


@functools.cache
def imported(path: Path) -> tuple[Path, ...]:
    """The files of this folder that one of them imports from."""
    found = []
    for module, names in _IMPORT.findall(path.read_text(encoding="utf-8")):
        for name in [module, *(f"{module}.{name}" for name in re.findall(r"\w+", names))]:
            file = SOURCES.joinpath(*name.split(".")[1:]).with_suffix(".py")
            if file.exists():
                found.append(file)
    return tuple(found)


@functools.cache
def _content(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def digest(path: Path) -> str:
    """Digest of a source of the kernels and of all others that it imports from, directly or through others."""
    reached, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += imported(file)
    found = hashlib.sha256()
    for file in sorted(reached):
        found.update(file.relative_to(SOURCES).as_posix().encode() + b"\0" + _content(file))
    return found.hexdigest()[:16]


def _base() -> Path:
    """The user's folder for caches; ``NUMBA_CACHE_DIR`` where it is set."""
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR)
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return Path(os.environ["LOCALAPPDATA"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def cache_folder() -> Path | None:
    """Folder in which compiled functions are kept; None, after a warning, if there is none that is writable."""
    if FunctionCache is None:
        warnings.warn(f"kernels are compiled anew every time: numba {numba.__version__} is not known", stacklevel=2)
        return None
    try:
        folder = _base() / "deconvnet" / "kernels"
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home
        warnings.warn(
            f"kernels are compiled anew every time, no folder for them is writable ({error}): set NUMBA_CACHE_DIR",
            stacklevel=2,
        )
        return None
    return folder


@functools.cache
def _folder_of(path: Path) -> Path:
    """Where the functions of a source are kept; folders that nobody used for long are deleted with the first one."""
    folder = cache_folder() / f"{path.stem}-{digest(path)}"
    if not folder.exists():
        for other in folder.parent.glob("*-*"):
            with contextlib.suppress(OSError):
                if time.time() - other.stat().st_mtime > KEPT_DAYS * 86400:
                    shutil.rmtree(other)
        folder.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


if FunctionCache is not None:

    class _Locator(_CacheLocator):
        """Says where a function is kept: for numba."""

        def __init__(self, function: Callable, file: str) -> None:
            self.source, self.line = Path(file).resolve(), function.__code__.co_firstlineno

        def get_cache_path(self) -> str:
            return str(_folder_of(self.source))

        def get_source_stamp(self) -> str:
            return digest(self.source)

        def get_disambiguator(self) -> str:
            return str(self.line)

        @classmethod
        def from_function(cls, function: Callable, file: str) -> _Locator:
            return cls(function, file)

    class _CacheImpl(CompileResultCacheImpl):
        """Beside machine code, numba keeps what other functions are compiled with: it is read where one of them is.

        Asking it for the names in it, as numba does, takes half of the time of loading a function.
        """

        _locator_classes = [_Locator]  # noqa: RUF012  numba's way

        def reduce(self, cres: Any) -> Any:
            return defined_names(cres.library._get_module_for_linking()), super().reduce(cres)

        def rebuild(self, target_context: Any, payload: Any) -> Any:
            symbols, ((name, kind, (machine_code, bitcode)), *rest) = payload
            target_context.codegen()._engine._defined_symbols |= symbols
            found = super().rebuild(target_context, ((name, kind, (machine_code, nothing())), *rest))
            found.library._get_module_for_linking = functools.cache(lambda: parsed(bitcode))
            return found

    class _CacheFile(IndexDataCacheFile):
        """A file for each signature, named after it.

        Numba numbers its files and keeps an index: two processes that compile a function for different types at the
        same time can take the same number, and the index then names code for other types.
        """

        def _file(self, key: Any) -> str:
            name = hashlib.sha256(repr((numba.__version__, key)).encode()).hexdigest()[:20]
            return self._index_name.removesuffix("nbi") + f"{name}.nbc"

        def save(self, key: Any, data: Any) -> None:
            self._save_data(self._file(key), data)

        def load(self, key: Any) -> Any:
            try:
                return self._load_data(self._file(key))
            except OSError:  # not compiled yet
                return None

    class _Cache(FunctionCache):
        _impl_class = _CacheImpl

        def __init__(self, function: Callable) -> None:
            super().__init__(function)
            stamp, base = self._impl.locator.get_source_stamp(), self._impl.filename_base
            self._cache_file = _CacheFile(cache_path=self._cache_path, filename_base=base, source_stamp=stamp)

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            found = super().load_overload(sig, target_context)
            if found is None and any(again() for again in when_missing):
                found = super().load_overload(sig, target_context)
            return found

        def has(self, sig: Any, target_context: Any) -> bool:
            key = self._index_key(sig, target_context.codegen())
            return Path(self._cache_path, self._cache_file._file(key)).exists()


def is_kept(dispatcher: Any, signature: tuple[types.Type, ...]) -> bool:
    """Whether a function is on disk, compiled for these types."""
    return dispatcher._cache.has(signature, dispatcher.targetctx)


def compiled(function: Callable | None = None, **options: Any) -> Any:
    """Decorator: `numba.njit` that lets other threads run meanwhile and keeps what it compiles.

    Parameters
    ----------
    function : callable
    **options
        For `numba.njit`: ``fastmath``, ``inline``, ``forceinline``. There are no parallel loops: chunks of work go to
        the pool of `deconvnet.parallel`, one level of threads in all.
    """
    if function is None:
        return functools.partial(compiled, **options)
    # As NumPy divides: a test of every divisor for zero would keep loops from becoming vectors.
    # Nobody calls these functions through C pointers of their own: a wrapper less to compile.
    dispatcher = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(function)
    if cache_folder() is not None:
        dispatcher._cache = _Cache(function)
    dispatchers[function.__module__, function.__qualname__] = dispatcher
    template = dispatcher.get_call_template
    # Numba would compile another version for every constant that a compiled caller passes.
    dispatcher.get_call_template = lambda arguments, options: template(
        tuple(map(types.unliteral, arguments)), {name: types.unliteral(kind) for name, kind in options.items()}
    )
    return dispatcher
