"""Ending a worker with all that it started: processes that moved to a session of their own included."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_started: set[int] = set()  # workers of this process that still run
lock = threading.Lock()  # held while a worker is started, and while orphans are looked for


def adopt_orphans() -> None:
    """Let orphans among our descendants become our children, not those of init, so that we can find them."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def started(pid: int) -> None:
    """Note a worker, so that it is not taken for another worker's orphan."""
    _started.add(pid)


def _parents() -> dict[int, tuple[int, int, str]]:
    """Parent, session and state of each process, by its id."""
    out = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                state, parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                out[int(entry.name)] = int(parent), int(session), state
    return out


def descendants(pid: int) -> set[int]:
    """All processes below that one, at this moment."""
    parents = _parents()
    found: set[int] = set()
    front = {pid}
    while front:
        front = {p for p, (parent, _, _) in parents.items() if parent in front} - found
        found |= front
    return found


def _orphans() -> set[int]:
    """Children of ours that a worker left behind: in a session that is not ours, and not a worker."""
    mine, session = os.getpid(), os.getsid(0)
    return {
        p for p, (parent, its_session, _) in _parents().items()
        if parent == mine and its_session != session and p not in _started
    }  # fmt: skip


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def end(pid: int, wait: float = 2.0) -> set[int]:
    """Kill a worker and everything below it, also what outlived it.

    The worker is stopped first, so that it cannot go on starting processes while they are counted.

    Args:
        wait: seconds to go on looking for stragglers.

    Returns:
        The processes that were below it, or left behind by it.
    """
    _kill(pid, signal.SIGSTOP)
    below: set[int] = set()
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        found = {p for p in descendants(pid) if _state(p) not in "ZX"}
        if not found:
            break
        below |= found
        for process in found:
            _kill(process)
        time.sleep(0.005)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    _kill(pid)
    _started.discard(pid)
    return below


def end_orphans(wait: float = 2.0) -> set[int]:
    """Kill what dead workers left behind, and what these leave behind in turn; returns what was found.

    Args:
        wait: seconds to go on while more come.
    """
    every: set[int] = set()
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        with lock:
            found = _orphans()
        if not found:
            break
        every |= found
        for process in found:
            for one in (process, *descendants(process)):
                _kill(one)
            with contextlib.suppress(OSError):
                os.waitpid(process, 0)
    return every


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def usage(pid: int) -> tuple[int, int]:
    """How many processes a process and everything below it are, and the bytes of memory that they hold."""
    total = 0
    family = (pid, *descendants(pid))
    for process in family:
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return len(family), total * os.sysconf("SC_PAGE_SIZE")
