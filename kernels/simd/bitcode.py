"""What `deconvnet.kernels.compiled` asks of LLVM: the names in a module, and modules from their bitcode."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

__all__ = ["defined_names", "nothing", "parsed"]


def defined_names(module: llvm.ModuleRef) -> set[str]:
    """Names of the functions and variables that a module holds, not only declares."""
    every = (*module.functions, *module.global_variables)
    return {symbol.name for symbol in every if not symbol.is_declaration}


@functools.cache
def nothing() -> bytes:
    """Bitcode of a module without anything."""
    return llvm.parse_assembly("").as_bitcode()


def parsed(bitcode: bytes) -> llvm.ModuleRef:
    """The module of a bitcode."""
    return llvm.parse_bitcode(bitcode)
