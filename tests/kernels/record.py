"""What the contract test knows about a kernel: its bodies and the arguments to try them with.

Records lie in the modules ``records_<topic>.py`` beside this one, in lists named RECORDS.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deconvnet.testing import TOLERANCE

SIZES = ((1, 1, 1), (1, 2, 17), (3, 14, 64), (2, 5, 2145))


class Record(NamedTuple):
    """A kernel's bodies, and how to make its arguments: ``arguments(rng, real, size)`` as a list.

    All bodies take the same positional arguments. ``cuda`` is the launcher of the CUDA source; ``production`` is what
    the package calls and is tried on CuPy arrays where there is a GPU.
    """

    name: str
    reference: object
    numba: object
    production: object
    arguments: object
    in_place: tuple = ()  # positions of the arguments that the kernel updates
    cuda: object = None  # None: the kernel has no CUDA source
    sizes: tuple = SIZES
    result: str | None = None  # dtype of the results where it is not that of the arguments
    tolerance: float | None = None  # relative to the largest value, where it is not that of the dtype
    outliers: float = 0.0  # share of the elements that may miss it (values that are rounded to steps)


def all_records():
    """The records of all modules ``records_*.py``."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("records_*.py"))
    return [record for name in names for record in importlib.import_module(f"tests.kernels.{name}").RECORDS]


def complex_normal(rng, shape, real):
    """Complex normal numbers of the precision of `real`."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.result_type(real, np.complex64))


def copies(arguments):
    """The arguments with copies of the arrays."""
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


def results(body, arguments, record):
    """List of the arrays that a body returns, or of those it updates."""
    out = body(*arguments)
    outs = [arguments[i] for i in record.in_place] if record.in_place else out
    return [a for a in (outs if isinstance(outs, (tuple, list)) else [outs]) if a is not None]


def exact_results(record, arguments):
    """What the reference says in double precision."""
    double = [
        a.astype(np.result_type(a, np.float64)) if isinstance(a, np.ndarray) and a.dtype.kind in "fc" else a
        for a in copies(arguments)
    ]
    return results(record.reference, double, record)


def assert_close(record, real, found, exact):
    """Assert shape, dtype and values of one result."""
    follows = np.result_type(real, np.complex64 if exact.dtype.kind == "c" else real)
    assert found.shape == exact.shape
    assert found.dtype == (record.result or follows)
    tolerance = record.tolerance or 4 * TOLERANCE[np.dtype(real).name]
    error = abs(found - exact) / max(float(abs(exact).max(initial=0)), 1e-6)
    wrong = ~(error <= tolerance)  # NaN is wrong
    assert wrong.mean() <= record.outliers, f"largest error {error.max():.2e}, {wrong.mean():.2%} above {tolerance:.1e}"


def assert_contract(record, body, real, size, rng):
    """Assert that a body agrees with the reference, leaves its inputs alone, and gives the same bits twice.

    Returns
    -------
    list of array
        The results.
    """
    arguments = record.arguments(rng, real, size)
    exact = exact_results(record, arguments)
    mine, again = copies(arguments), copies(arguments)
    found = results(body, mine, record)
    repeated = results(body, again, record)
    assert len(found) == len(exact)
    for f, e, r in zip(found, exact, repeated):
        assert_close(record, real, f, e)
        assert np.array_equal(f, r)
    for i, (before, after) in enumerate(zip(arguments, mine)):
        if isinstance(before, np.ndarray) and i not in record.in_place:
            assert np.array_equal(before, after)
    return found
