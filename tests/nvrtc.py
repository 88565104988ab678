"""NVRTC from its wheel: compiles CUDA C++ to a cubin on a machine without a GPU or a driver."""

from __future__ import annotations

import ctypes
import functools
from importlib.util import find_spec
from pathlib import Path


class NvrtcError(RuntimeError):
    """The source does not compile; the message is NVRTC's log."""


def wheel_files(pattern: str) -> list[Path]:
    """Files of the NVIDIA wheels, which share the namespace package `nvidia`."""
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    return [f for folder in folders or () for f in sorted(Path(folder).rglob(pattern))]


@functools.cache
def library() -> ctypes.CDLL | None:
    """libnvrtc, or None where its wheel is not installed."""
    found = [f for f in wheel_files("libnvrtc.so.*") if "builtins" not in f.name and "alt" not in f.name]
    return ctypes.CDLL(str(found[0])) if found else None


@functools.cache
def include_options() -> tuple[bytes, ...]:
    """-I for the folders that hold cuda_bf16.h, mma.h's parts and libcu++."""
    folders = {f.parent for name in ("cuda_bf16.h", "mma.h") for f in wheel_files(name)}
    folders |= {f.parent.parent for f in wheel_files("crt/mma.h")}
    folders |= {f.parents[2] for f in wheel_files("cuda/std/version")}
    return tuple(f"-I{folder}".encode() for folder in sorted(folders))


def compile_cubin(code: str, name: str, architecture: str, options: tuple[str, ...] = ()) -> bytes:
    """The cubin of a source.

    Args:
        architecture: such as `sm_90`.
        options: more of NVRTC's options.

    Raises:
        NvrtcError: it does not compile.
    """
    nvrtc = library()
    assert nvrtc is not None
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), name.encode(), 0, None, None), "create")
    try:
        flags = [f"--gpu-architecture={architecture}".encode(), b"-std=c++17", *include_options()]
        flags += [option.encode() for option in options]
        failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
        if failed:
            raise NvrtcError(
                _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode(errors="replace")
            )
        return _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(size_of, read, program) -> bytes:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)), "size")
    buffer = ctypes.create_string_buffer(size.value)
    _check(read(program, buffer), "read")
    return buffer.raw


def _check(status: int, step: str) -> None:
    if status:
        raise NvrtcError(f"NVRTC: {step} ended with status {status}")
