"""The compiled runtime: loading it, the layout of its requests, and its failures as exceptions."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from emulator import cache, compiler
from emulator.errors import EmulatorError

FAILURES = (
    "",
    "memory-fault",
    "arithmetic-fault",
    "stack-overflow",
    "illegal-instruction",
    "trap",
    "barrier-divergence",
    "collective-divergence",
    "deadlock",
    "timeout",
    "interrupted",
    "out-of-memory",
    "check-finding",
)  # fmt: skip  (the order of `FailureKind` in runtime/src/runtime.h)


class Failure(ctypes.Structure):
    """`emu::Failure`."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("line", ctypes.c_int),
        ("pc", ctypes.c_uint64),
        ("module_base", ctypes.c_uint64),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3),
        ("message", ctypes.c_char * 1024),
    )


class LaunchRequest(ctypes.Structure):
    """`emu::Request`."""

    _fields_ = (
        ("run", ctypes.c_void_p),
        ("args", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("workers", ctypes.c_int32),
        ("cooperative", ctypes.c_int32),
        ("checked", ctypes.c_int32),
        ("order", ctypes.c_int32),
        ("time_limit_s", ctypes.c_double),
    )


def worker_count() -> int:
    """OS threads that run blocks: `EMULATOR_THREADS`, else every CPU that this process may use."""
    wanted = os.environ.get("EMULATOR_THREADS", "")
    if wanted:
        if not wanted.isdigit() or int(wanted) < 1:
            raise EmulatorError(f"EMULATOR_THREADS is {wanted!r}: expected a whole number of at least 1")
        return int(wanted)
    return len(os.sched_getaffinity(0))


def time_limit_s() -> float:
    """Seconds that one launch may take: `EMULATOR_TIME_LIMIT`, else 60; 0 for no limit."""
    wanted = os.environ.get("EMULATOR_TIME_LIMIT", "60")
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise EmulatorError(f"EMULATOR_TIME_LIMIT is {wanted!r}: expected seconds, or 0 for no limit")
    return seconds


@functools.cache
def runtime() -> ctypes.CDLL:
    """The runtime library, compiled at its first use on this machine.

    Raises:
        NoCompilerError: there is no compiler.
        EmulatorError: it does not compile.
    """
    cxx = compiler.find()
    sources = sorted((compiler.RUNTIME / "src").glob("*.cpp"))
    headers = sorted((compiler.RUNTIME / "src").glob("*.h"))
    flags = [*compiler.flags(cxx), "-O2", "-g1"]
    arguments = [*flags, f"-I{compiler.INCLUDE}", f"-I{compiler.RUNTIME / 'src'}"]
    texts = [f.read_text() for f in (*sources, *headers)]
    name = f"runtime-{cache.key(cxx.identity(), flags, compiler.header_key(), *texts)}.so"

    def build(out: Path) -> None:
        log = compiler.compile_library(cxx, sources[0], out, [*arguments, *map(str, sources[1:])])
        if log is not None:
            raise EmulatorError(f"the emulator's runtime does not compile with {' '.join(cxx.command)}:\n{log}")

    library = ctypes.CDLL(str(cache.get(name, build)), mode=ctypes.RTLD_GLOBAL)
    library.emu_launch.argtypes = [ctypes.c_void_p]
    library.emu_failure.restype = ctypes.POINTER(Failure)
    return library
