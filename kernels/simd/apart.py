"""Functions that are compiled once, apart from their compiled callers.

Numba pastes the code of a function into every caller and compiles it there again, callers of callers included. What is
large and has many callers is called through its address instead.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deconvnet.kernels.compiled import compiled

__all__ = ["Apart"]


def _is_array(kind: Any) -> bool:
    return isinstance(kind, types.Array)


class Apart:
    """A compiled function that its compiled callers call through its address.

    Python code hands them the `address`, in a plan for instance. Within compiled code it is
    ``function.call(address, *arguments)``, by a global name for ``function.call``; nothing is returned.

    Parameters
    ----------
    function : callable
    kinds : callable
        From the name of a real dtype to the numba types of all arguments, the first array among which is of that dtype.
    from_python : bool
        Whether Python calls it too, ``function(*arguments)``. If not, there is a wrapper less to compile.
    """

    def __init__(self, function: Callable, kinds: Callable[[str], tuple], *, from_python: bool = False) -> None:
        self.dispatcher = compiled(function, no_cpython_wrapper=not from_python)
        self.kinds, self.from_python = functools.cache(kinds), from_python
        self.address = functools.cache(self._address)

        def call(_typing_context, address, *arguments):
            kinds = self.kinds(next(a for a in arguments if _is_array(a)).dtype.name)
            if any(_is_array(k) and k != a for k, a in zip(kinds, arguments)):
                raise numba.TypingError(f"{function.__name__} takes {kinds}, not {arguments}")

            def codegen(context, builder, signature, values):
                convention = context.call_conv
                pointer = convention.get_function_type(types.none, kinds).as_pointer()
                callee = builder.inttoptr(values[0], pointer)
                status, _ = convention.call_function(builder, callee, types.none, kinds, values[1:])
                with cgutils.if_unlikely(builder, status.is_error):
                    convention.return_status_propagate(builder, status)
                return context.get_dummy_value()

            return types.void(types.intp, *kinds), codegen

        call.__name__ = call.__qualname__ = function.__name__
        # Numba counts the arguments by the signature.
        names = ["typing_context", "address", *inspect.signature(function).parameters]
        call.__signature__ = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names])
        self.call = intrinsic(call)

    def __call__(self, *arguments: Any) -> None:
        if not self.from_python:
            raise TypeError("this function is for compiled callers only")
        self.dispatcher(*arguments)

    def _address(self, real: str) -> int:
        """Where the function's code for a dtype, ``"float32"`` or ``"float64"``, is in this process."""
        kinds = self.kinds(real)
        self.dispatcher.compile(kinds)
        found = self.dispatcher.overloads[kinds]
        return found.library.get_pointer_to_function(found.fndesc.mangled_name)
