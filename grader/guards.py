"""What a lesson may not do in its worker: Python's audit events refuse it by name.

They catch what Python code does. Native code could go past them; `grader/sandbox.py` has what holds against that too.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
_STARTS = {
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.exec",
    "subprocess.Popen",
    "pty.spawn",
}
_CHANGES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink",
    "shutil.rmtree", "os.utime",
}  # fmt: skip
_READS = {"open", "os.listdir", "os.scandir"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


given: set[str] = set()  # files that are arguments: a lesson may read them
refusals: list[str] = []  # what was refused so far: a lesson may catch the exception, and is failed all the same


class Refused(PermissionError):  # noqa: N818  (what was done to a lesson)
    """A lesson tried what no lesson may; the message says what."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        refusals.append(message)


def scratch() -> Path:
    """The one folder that the worker may write to."""
    return Path(os.environ["WARP60_SCRATCH"])


def install(folder: Path, protected: Sequence[str]) -> None:
    """Refuse, from now on and for good, what a lesson may not do.

    Args:
        folder: of the lesson. The reference solutions may be read only if it is one of them.
        protected: files of the day's solution that lie elsewhere, such as the kernel that the engine keeps.
    """
    solutions = os.path.realpath(REPOSITORY / "solutions")
    is_solution = _below(os.path.realpath(folder), solutions)
    hidden = set() if is_solution else _with_compiled(protected)
    may_write = tuple(os.path.realpath(p) for p in (scratch(), *_caches(), "/dev/null", "/dev/shm"))
    trusted = _compilers()

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event in _READS:
            if not args or not isinstance(args[0], str | bytes | os.PathLike):
                return
            place = os.path.realpath(os.fsdecode(args[0]))
            if not is_solution and (place in hidden or _below(place, solutions)):
                raise Refused("a lesson may not read the reference solution")
            flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else 0
            if not flags & _WRITING:
                return
            if place in given:
                raise Refused(f"a lesson may not open for writing what it is given to read: {Path(place).name}")
            if not _below(place, *may_write) and _from_lesson(trusted):
                raise Refused(f"a lesson may not write outside its scratch folder: {place}")
        elif event in _CHANGES:
            for path in args[:2] if event in ("os.rename", "os.link", "os.symlink") else args[:1]:
                place = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
                if place and not _below(place, *may_write) and _from_lesson(trusted):
                    raise Refused(f"a lesson may not change files outside its scratch folder: {place}")
        elif event in _STARTS and _from_lesson(trusted):
            raise Refused("a lesson may not start other processes")

    sys.addaudithook(audit)


def _below(place: str, *folders: str) -> bool:
    return any(place == f or place.startswith(f + os.sep) for f in folders)


def _caches() -> list[str | Path]:
    """Where compiled kernels are kept, by the emulator and by CuPy."""
    from emulator import cache

    return [cache.folder(), os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy"]


def _compilers() -> tuple[str, ...]:
    """The packages that start compilers and keep what these make."""
    packages = [REPOSITORY / "emulator"]
    found = importlib.util.find_spec("cupy")
    if found is not None and found.origin is not None:
        packages.append(Path(found.origin).parent)
    return tuple(os.path.realpath(p) for p in packages)


def _with_compiled(files: Sequence[str]) -> set[str]:
    """The files, and what Python keeps of them compiled."""
    out = set(files)
    for file in files:
        if file.endswith(".py"):
            out.add(os.path.realpath(importlib.util.cache_from_source(file)))
    return out


def _from_lesson(trusted: tuple[str, ...]) -> bool:
    """Whether it was not the emulator or CuPy, compiling a kernel, that asked for it."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if _below(os.path.realpath(frame.f_code.co_filename), *trusted):
            return False
        frame = frame.f_back
    return True
