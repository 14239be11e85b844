"""`Kernel`: the one record of a compute kernel, and the one place where it is decided which of its bodies runs."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from deconvnet import parallel
from deconvnet.backend import array_module, cupy
from deconvnet.errors import one_of

__all__ = ["ENGINES", "Kernel", "engine", "in_chunks", "light", "share"]

ENGINES = ("auto", "reference")

# Of a context, not of the process: two threads of a program may want different engines. The threads of the pool see
# the one of whoever gave them the work, because `deconvnet.parallel.run` hands its caller's context on to them.
_engine: contextvars.ContextVar[str] = contextvars.ContextVar("deconvnet.engine", default="auto")


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Choose the bodies of all kernels within the block.

    Parameters
    ----------
    name : {"auto", "reference"}
        ``"auto"``, the default everywhere: compiled code for NumPy arrays, CUDA sources for CuPy arrays.
        ``"reference"``: every kernel as the plain array code that defines it, on either device; slow. Is the picture
        still wrong, then it is not a kernel's fault.

    Raises
    ------
    DeconvnetError
        If there is no engine of that name.

    Examples
    --------
    >>> import deconvnet
    >>> with deconvnet.engine("reference"):
    ...     pass  # whatever runs here, in threads too that the package starts
    """
    one_of(name, ENGINES, "engine")
    token = _engine.set(name)
    try:
        yield
    finally:
        _engine.reset(token)


def _arrays(values: Any) -> Iterator[Any]:
    """All arrays among arguments, those in tuples and lists too."""
    for value in values:
        if isinstance(value, np.ndarray) or (cupy is not None and isinstance(value, cupy.ndarray)):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _arrays(value)


class Kernel:
    """A computation with up to three bodies, which take the same arguments and give the same result.

    Calling it runs the body for the arrays' device, or the reference where there is none or where `engine` says so.
    Its docstring is the reference's.

    Parameters
    ----------
    name : str
    reference : callable
        Plain array code for NumPy and CuPy, complete, another algorithm than the other bodies' if possible.
    cpu : callable, optional
        For NumPy arrays: compiled functions. None where plain array code is as fast.
    cuda : callable, optional
        For CuPy arrays: launches of CUDA sources. None where CuPy's own kernels are as fast.
    adjoint : Kernel, optional
        The kernel of the adjoint operator, for a linear one.

    Raises
    ------
    TypeError
        When called with NumPy and CuPy arrays at once.
    """

    def __init__(
        self,
        name: str,
        *,
        reference: Callable,
        cpu: Callable | None = None,
        cuda: Callable | None = None,
        adjoint: Kernel | None = None,
    ) -> None:
        functools.update_wrapper(self, reference)
        self.__name__ = self.__qualname__ = name
        self.name, self.reference, self.cpu, self.cuda, self.adjoint = name, reference, cpu, cuda, adjoint

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        on_cpu = cupy is None or array_module(*_arrays(arguments), *_arrays(options.values())) is np
        body = None if _engine.get() == "reference" else self.cpu if on_cpu else self.cuda
        return (body or self.reference)(*arguments, **options)

    def __repr__(self) -> str:
        return f"Kernel({self.name!r})"


def in_chunks(body: Callable, arguments: tuple, count: int, chunk: int) -> None:
    """Call ``body(*arguments, begin, end)`` for ranges that cover 0..count, on the pool of `deconvnet.parallel`.

    Parameters
    ----------
    body : callable
        A compiled function; calls write to places of their own.
    arguments : tuple
    count : int
        Independent items.
    chunk : int
        Items of a call at most, whatever the number of threads. With one thread, or one chunk, the pool is left alone.
        Within a chunk of the pool all items are one call: every call stops the other threads' Python for a moment.
    """
    if parallel.inside():
        body(*arguments, 0, count)
    elif count > chunk and parallel.thread_count() > 1:
        parallel.run(lambda begin, end: body(*arguments, begin, end), count, chunk)
    else:
        for begin in range(0, count, chunk):
            body(*arguments, begin, min(begin + chunk, count))


def light(numbers: int) -> int:
    """Chunk for items of so many numbers with few operations on each: handing over less work costs more than it."""
    return max(1, (1 << 17) // max(1, numbers))


def share(count: int, chunks: int = 32) -> int:
    """Chunk for items that need much working memory, which is allocated once in a chunk: so many chunks in all."""
    return max(1, -(-count // chunks))
