"""NVIDIA's run-time compiler, which needs no GPU: libnvrtc (wheel nvidia-cuda-nvrtc, or the system's) by ctypes."""

import ctypes
import ctypes.util
import functools
import importlib.util
from pathlib import Path


@functools.cache
def library():
    """libnvrtc, or None where there is none."""
    places = []
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations or () if package else ():
        places += sorted(Path(folder).glob("*/lib/libnvrtc.so.*"), reverse=True)  # cuda_nvrtc, or cu13 from CUDA 13 on
    for place in [*map(str, places), ctypes.util.find_library("nvrtc")]:
        if place:
            try:
                return ctypes.CDLL(place)
            except OSError:  # the wheel of another platform
                continue
    return None


def architectures():
    """Compute capabilities that the compiler knows, as whole numbers (80 for sm_80)."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
    numbers = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(numbers), "nvrtcGetSupportedArchs")
    return list(numbers)


def _check(status, what):
    if status:
        raise RuntimeError(f"{what} fails with status {status}")


def _output(program, kind):
    """One of the program's texts: ProgramLog, PTX or CUBIN."""
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{kind}Size")(program, ctypes.byref(size)), kind)
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{kind}")(program, text), kind)
    return text.raw


def compile_cuda(source, options):
    """Machine code and PTX of a CUDA source for the architecture in `options`; RuntimeError with the compiler's log.

    The machine code needs the assembler, which refuses kernels that take more shared memory than there is.
    """
    program = ctypes.c_void_p()
    _check(
        library().nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None),
        "nvrtcCreateProgram",
    )
    try:
        flags = [option.encode() for option in options]
        if library().nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags)):
            raise RuntimeError(_output(program, "ProgramLog").rstrip(b"\0").decode())
        return _output(program, "CUBIN"), _output(program, "PTX").rstrip(b"\0").decode()
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))
