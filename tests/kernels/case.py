"""What the contract test knows about a kernel beyond its record: how to make arguments, and what to hold results to.

Cases lie in the modules ``cases_<topic>.py`` beside this one, in lists named CASES.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import deconvnet.kernels
from deconvnet.kernels.kernel import Kernel
from deconvnet.testing import TOLERANCE

SIZES: tuple = ((1, 1, 1), (1, 2, 17), (3, 14, 64), (2, 5, 2145))


class Case(NamedTuple):
    """A kernel and arguments to try it with: ``arguments(rng, real, size)`` as a list, tuples and lists inside too."""

    kernel: Kernel
    arguments: Callable
    sizes: tuple = SIZES
    variant: str = ""
    options: dict = {}  # noqa: RUF012  never changed
    in_place: tuple = ()  # positions of the arguments that the kernel updates
    result: str | None = None  # dtype of the results where it is not that of the arguments
    tolerance: float | None = None  # relative to the largest value, where it is not that of the dtype
    outliers: float = 0.0  # share of the elements that may miss it (values that are rounded to steps)
    before: Callable | None = None  # before(body, arguments): the last step of making a body's arguments

    @property
    def name(self) -> str:
        return self.kernel.name + (f", {self.variant}" if self.variant else "")

    def run(self, body: str | None, arguments: list) -> list:
        """List of the arrays that a body ("reference", "cpu", "cuda", None for the dispatch) returns, or updates."""
        if self.before is not None:
            arguments = self.before(body, arguments)
        call = self.kernel if body is None else getattr(self.kernel, body)
        out = call(*arguments, **self.options)
        outs = [arguments[i] for i in self.in_place] if self.in_place else out
        return [a for a in (outs if isinstance(outs, (tuple, list)) else [outs]) if a is not None]


def all_cases() -> list[Case]:
    """The cases of all modules ``cases_*.py``."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    return [case for name in names for case in importlib.import_module(f"tests.kernels.{name}").CASES]


def all_kernels() -> list[Kernel]:
    """The records of all modules of the package."""
    found: dict[int, Kernel] = {}
    for module in pkgutil.walk_packages(deconvnet.kernels.__path__, "deconvnet.kernels."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Kernel):
                found[id(value)] = value
    return list(found.values())


def mapped(function: Callable, value: Any) -> Any:
    """The arguments with ``function`` of every array in the place of it."""
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(mapped(function, v) for v in value)
    return function(value) if isinstance(value, np.ndarray) else value


def arrays(value: Any) -> list:
    """All arrays among the arguments."""
    found: list = []
    mapped(found.append, value)
    return found


def complex_normal(rng, shape, real):
    """Complex normal numbers of the precision of `real`."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.result_type(real, np.complex64))


def copies(arguments: list) -> list:
    """The arguments with copies of the arrays."""
    return mapped(np.copy, arguments)


def exact_results(case: Case, arguments: list) -> list:
    """What the reference says in double precision."""
    double = mapped(
        lambda a: a.astype(np.result_type(a, np.float64)) if a.dtype.kind in "fc" else a.copy(), copies(arguments)
    )
    return case.run("reference", double)


def assert_close(case: Case, real, found, exact) -> None:
    """Assert shape, dtype and values of one result."""
    found, follows = np.asarray(found), np.result_type(real, np.complex64 if np.iscomplexobj(exact) else real)
    exact = np.asarray(exact)
    assert found.shape == exact.shape
    assert found.dtype == (case.result or follows)
    tolerance = case.tolerance or 4 * TOLERANCE[np.dtype(real).name]
    error = abs(found - exact) / max(float(abs(exact).max(initial=0)), 1e-6)
    wrong = ~(error <= tolerance)  # NaN is wrong
    assert wrong.mean() <= case.outliers, f"largest error {error.max():.2e}, {wrong.mean():.2%} above {tolerance:.1e}"


def assert_contract(case: Case, body: str, real, size, rng) -> list:
    """Assert that a body agrees with the reference, leaves its inputs alone, and gives the same bits twice.

    Returns
    -------
    list of array
        The results.
    """
    arguments = case.arguments(rng, real, size)
    exact = exact_results(case, arguments)
    mine, again = copies(arguments), copies(arguments)
    found = case.run(body, mine)
    repeated = case.run(body, again)
    assert len(found) == len(exact)
    for f, e, r in zip(found, exact, repeated):
        assert_close(case, real, f, e)
        assert np.array_equal(f, r)
    for i, (before, after) in enumerate(zip(arguments, mine)):
        if i not in case.in_place:
            assert all(np.array_equal(b, a) for b, a in zip(arrays(before), arrays(after)))
    return found
