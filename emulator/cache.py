"""Compiled kernels on disk: one file each, named by its content's hash, shared by all processes, bounded in size."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

from emulator.errors import EmulatorError

MAX_BYTES = 512 << 20
MAX_FILES = 4000


@functools.cache
def folder() -> Path:
    """`EMULATOR_CACHE`, else the platform's cache folder; a private temporary one where that cannot be written."""
    wanted = Path(os.environ.get("EMULATOR_CACHE") or Path(platformdirs.user_cache_dir("cuda-emulator")))
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        return Path(tempfile.mkdtemp(prefix="cuda-emulator-"))


def key(*parts: object) -> str:
    """A name for what is built from these parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def get(name: str, build: Callable[[Path], None]) -> Path:
    """The file of that name, built at most once however many threads and processes ask at the same time.

    Args:
        name: file name; a hash of everything that the content depends on.
        build: makes the file at the (temporary) path that it is given.

    Raises:
        EmulatorError: the disk is full or the folder cannot be written.
    """
    path = folder() / name
    if _touch(path):
        return path
    try:
        with _lock(path.with_suffix(".lock")):
            if _touch(path):
                return path
            with tempfile.TemporaryDirectory(dir=folder(), prefix="build-") as workshop:
                made = Path(workshop) / name
                build(made)
                made.replace(path)
            _prune(keep=path)
    except OSError as error:
        raise EmulatorError(f"cannot keep a compiled kernel in {folder()}: {error.strerror or error}") from error
    return path


def discard(path: Path) -> None:
    """Forget a file that turned out to be broken."""
    path.unlink(missing_ok=True)


def _touch(path: Path) -> bool:
    """Whether it is there; notes that it is still in use."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # a read-only cache made by somebody else still serves
        return path.exists()
    return True


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # a lock is held by the open file: it also keeps threads apart
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _prune(keep: Path) -> None:
    """Delete the files that were used longest ago until the bounds hold; a library in use survives its deletion."""
    entries = []
    for path in folder().iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            if path.is_dir() or path.suffix == ".lock":
                if time.time() - status.st_mtime > 3600 and path.suffix == ".lock":
                    path.unlink()
                continue
            entries.append((status.st_mtime, status.st_size, path))
    total, count = sum(size for _, size, _ in entries), len(entries)
    for _, size, path in sorted(entries):
        if total <= MAX_BYTES and count <= MAX_FILES:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total, count = total - size, count - 1
