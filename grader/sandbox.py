"""Containment by the kernel: a worker in namespaces of its own, through bubblewrap where that is installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

CONTAINED = (
    "each submission sees its own processes only, has no network, and may write nowhere but into its scratch folder"
)
NOT_CONTAINED = (
    "bwrap is not to be had here: a submission that goes past Python's own guards (native code) could reach your files, "
    "the network and other processes. Install bubblewrap, or grade only what you trust"
)


@functools.cache
def available() -> bool:
    """Whether bubblewrap is installed and may make namespaces here."""
    if shutil.which("bwrap") is None:
        return False
    probe = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def prefix(writable: Sequence[Path]) -> list[str]:
    """The command that goes before the worker's.

    Args:
        writable: folders that the worker may write to; everything else of the file system it can only read.
    """
    command = [
        "bwrap", "--die-with-parent", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "--tmpfs", "/dev/shm",
    ]  # fmt: skip
    for device in sorted(Path("/dev").glob("nvidia*")):
        command += ["--dev-bind", str(device), str(device)]
    for folder in writable:
        command += ["--bind", str(folder), str(folder)]
    return [*command, "--chdir", str(writable[0])] if writable else command


def uncontained_note() -> str:
    """What to tell whoever grades other people's work here."""
    return "" if available() else NOT_CONTAINED


def memory_limit(most: int = 6 << 30) -> int:
    """Bytes that one worker may hold: half of what the machine has, at most 6 GiB."""
    return min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
