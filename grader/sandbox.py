"""Containment by the kernel: a worker in namespaces of its own, through bubblewrap where that is installed.

The worker sees the system's programs and libraries, Python, the parts of this repository that a lesson may use, the lesson,
and nothing else of yours: over your home folder, `/tmp`, `/run` with its sockets, and the repository lie empty folders. The
solutions, the checks with their right answers, other submissions: for the worker there are no such files. What it writes is
in memory, of limited size, and gone with it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.curriculum import REPOSITORY

CONTAINED = (
    "each submission runs in namespaces of its own: it sees neither other submissions nor the solutions nor your files, has no "
    "network, and writes into memory of its own only"
)
NOT_CONTAINED = (
    "bwrap is not to be had here: a submission that goes past Python's own guards (native code) could reach your files, "
    "the network and other processes. Install bubblewrap, or grade only what you trust"
)
ROOMS = ("curriculum.yaml", "emulator", "engine", "kernels", "pyproject.toml")  # what a lesson may use
SCRATCH_BYTES = 256 << 20
COVER_BYTES = 1 << 20  # of an empty folder: it holds nothing but places to mount on
# What a submission may know of the environment: no tokens, no addresses.
VARIABLES = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TERM|LD_LIBRARY_PATH|PYTHON\w+|XDG_CACHE_HOME|(?:CUDA|CUPY|NVIDIA|EMULATOR|WARP60|OMP|OPENBLAS|MKL)_\w+"
)


@functools.cache
def available() -> bool:
    """Whether bubblewrap is installed and may make namespaces here."""
    if shutil.which("bwrap") is None:
        return False
    probe = [*_START, *_size(COVER_BYTES), "--tmpfs", "/tmp", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


_START = ("bwrap", "--die-with-parent", "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev",
          "--proc", "/proc")  # fmt: skip


@functools.cache
def _can_size() -> bool:
    done = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)
    return "--size" in done.stdout + done.stderr


def _size(count: int) -> list[str]:
    """Limits the folder in memory that follows, where this bwrap can."""
    return ["--size", str(count)] if _can_size() else []


def prefix(scratch: Path, *, readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> list[str]:
    """The command that goes before the worker's.

    Args:
        scratch: the folder that the worker may write to: in memory, empty, and not the one that we see under that name. In
            `scratch / "cache"` it finds the emulator's compiled runtime.
        readable: what it may read beside the system, Python and the rooms of this repository that a lesson may use.
        hidden: files and folders that it must not see.
    """
    from emulator import launch

    runtime = Path(launch.runtime()._name).resolve()
    places: dict[Path, list[str]] = {}
    covers: list[str] = []

    def cover(path: Path) -> None:
        if _real(path) not in places:
            covers.append(str(_real(path)))
        place(path, *_size(COVER_BYTES), "--tmpfs")

    def place(path: Path, *what: str) -> None:
        places.setdefault(_real(path), [*what, str(_real(path))])

    place(scratch, *_size(SCRATCH_BYTES), "--tmpfs")
    place(Path("/dev/shm"), *_size(SCRATCH_BYTES), "--tmpfs")
    place(_real(scratch) / "cache" / runtime.name, "--ro-bind", str(runtime))
    for path in hidden:
        if path.is_dir():
            cover(path)
        elif path.exists():
            place(path, "--ro-bind", "/dev/null")
    for folder in _covered():
        if folder.is_dir() and _real(folder) != Path("/"):
            cover(folder)
    for path in (*readable, *_needed()):
        if path.exists():
            place(path, "--ro-bind", str(_real(path)))
    command = list(_START)
    for device in sorted(Path("/dev").glob("nvidia*")):
        command += ["--dev-bind", str(device), str(device)]
    for path in sorted(places, key=lambda p: (len(p.parts), p)):  # the nearest folder around a file decides
        command += places[path]
    for name in covers:
        command += ["--remount-ro", name]
    return [*command, "--chdir", str(_real(scratch))]


def environment(variables: dict[str, str], scratch: Path) -> dict[str, str]:
    """The worker's environment: without what is none of a submission's business, and with places that it may write to."""
    own = {
        "CUPY_CACHE_DIR": str(scratch / "cupy"), "EMULATOR_CACHE": str(scratch / "cache"),
        "WARP60_FILE_BYTES": str(SCRATCH_BYTES),
    }  # fmt: skip
    return {name: value for name, value in variables.items() if VARIABLES.fullmatch(name)} | own


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _covered() -> list[Path]:
    """Folders that are empty for the worker."""
    from emulator import cache

    folders = [Path("/tmp"), Path("/run"), Path.home(), Path(tempfile.gettempdir())]
    return [*folders, cache.folder(), REPOSITORY]


@functools.cache
def _needed() -> tuple[Path, ...]:
    """What the worker cannot do without and may lie in a folder that is covered."""
    from emulator import EmulatorError, compiler
    from engine import hub

    paths = [Path(p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix, site.getusersitepackages())]
    paths += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [Path(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).is_dir()]
    paths.append(hub.cache_folder())
    try:
        program = shutil.which(compiler.find().command[0])
        paths += [_real(Path(program)).parents[1]] if program else []
    except EmulatorError:
        pass  # the worker says so itself
    covered = [_real(folder) for folder in _covered()]
    inside = [path for path in paths if any(_real(path).is_relative_to(folder) for folder in covered)]
    return (*inside, *(REPOSITORY / room for room in ROOMS), *_grader_files())


def _grader_files() -> Iterator[Path]:
    """The grader's own files that the worker imports, directly or not: no check, no right answer."""
    folder = REPOSITORY / "grader"
    yield folder / "__init__.py"
    found, waiting = set(), ["worker"]
    while waiting:
        path = folder / f"{waiting.pop()}.py"
        if path in found or not path.is_file():
            continue
        found.add(path)
        yield path
        for one, several in re.findall(
            r"^\s*from grader(?:\.(\w+) import| import ([\w, ]+))", path.read_text(), re.MULTILINE
        ):
            waiting += [one] if one else [name.strip() for name in several.split(",")]


def memory_limit(most: int = 6 << 30) -> int:
    """Bytes that one worker may hold: half of what the machine has, at most 6 GiB."""
    return min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
