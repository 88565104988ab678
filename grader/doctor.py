"""What this machine has and lacks: every part is tried, not looked up, and what is missing comes with how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.curriculum import REPOSITORY

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 2 << 30
KERNEL = """
extern "C" __global__ void probe(float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = 2.0f * i;
}
"""


@dataclass(frozen=True)
class Finding:
    """One part of the machine.

    Attributes:
        ok: True it works, False it is needed and missing, None it is optional and missing.
        get: the one thing to do about it, or "".
    """

    name: str
    ok: bool | None
    detail: str
    get: str = ""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail, "get": self.get}


def ready(findings: Sequence[Finding]) -> bool:
    """Whether a lesson can be graded here."""
    return all(f.ok is not False for f in findings)


def examine() -> list[Finding]:
    """Try everything; a part that fails in an unforeseen way is a finding too."""
    out = []
    for name, part in PARTS:
        try:
            out += list(part(name))
        except Exception as error:
            out.append(
                Finding(name, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            )
    return out


def _python(name: str) -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] < LEAST_PYTHON:
        yield Finding(
            name, False, f"{version}: 3.11 or newer is needed", "make the virtual environment with a newer Python"
        )
    else:
        where = "in a virtual environment" if sys.prefix != sys.base_prefix else "not in a virtual environment"
        yield Finding(name, True, f"{version}, {where}")
    if platform.system() != "Linux":
        yield Finding("system", False, f"{platform.system()}: the grader needs Linux", "on Windows, use WSL 2")


def _emulator(name: str) -> Iterator[Finding]:
    import numpy as np

    import emulator
    from emulator import compiler

    try:
        cxx = compiler.find()
    except emulator.NoCompilerError as error:
        yield Finding("compiler", False, str(error).splitlines()[0], "apt install g++, or: pip install ziglang")
        return
    yield Finding("compiler", True, " ".join(cxx.command))
    began = time.monotonic()
    out = np.full(1000, -1, np.float32)
    emulator.RawModule(code=KERNEL).get_function("probe")((4,), (256,), (out, np.int32(1000)))
    seconds = time.monotonic() - began
    if not np.array_equal(out, 2 * np.arange(1000, dtype=np.float32)):
        yield Finding(
            name, False, "a kernel ran and computed something else", "report this, with the compiler's version"
        )
    else:
        yield Finding(name, True, f"compiled and ran a kernel in {seconds:.2f} s")


def _gpu(name: str) -> Iterator[Finding]:
    from engine import device

    reason = device.why_no_cuda()
    if reason is not None:
        get = "" if _nvidia_driver() is None else "pip install -e '.[cuda13]' (or '.[cuda12]', as nvidia-smi names it)"
        yield Finding(name, None, f"{reason}; lessons run in the emulator", get)
        return
    import cupy
    import numpy as np

    out = cupy.full(1000, -1, cupy.float32)
    try:
        cupy.RawKernel(KERNEL, "probe", backend="nvrtc")((4,), (256,), (out, np.int32(1000)))
        right = bool((out.get() == 2 * np.arange(1000, dtype=np.float32)).all())
    except Exception as error:
        get = "pip install 'cupy-cuda13x[ctk]' (or cuda12x) brings the compiler's headers"
        yield Finding(name, None, f"{device.label()}: no kernel runs: {str(error).splitlines()[0]}", get)
        return
    said = "compiled and ran a kernel" if right else "a kernel ran and computed something else"
    yield Finding(name, True if right else None, f"{device.label()}, CuPy {cupy.__version__}: {said}")


def _nvidia_driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


def _model(name: str) -> Iterator[Finding]:
    from engine import hub

    found = hub.find(hub.DEFAULT)
    if found is None:
        yield Finding(
            name, None, f"{hub.DEFAULT} is not here: checks on real weights are NOT RUN",
            f"python -m engine pull {hub.DEFAULT}",
        )  # fmt: skip
    else:
        yield Finding(name, True, f"{hub.DEFAULT} in {found}")


def _folders(_name: str) -> Iterator[Finding]:
    from emulator import cache
    from engine import hub
    from grader import progress

    places = {
        "compiled kernels": (cache.folder(), "set EMULATOR_CACHE to a folder that can be written"),
        "models": (hub.cache_folder(), "set WARP60_HOME to a folder that can be written"),
        "progress": (progress.path().parent, "set WARP60_PROGRESS to a file that can be written"),
    }
    for name, (folder, get) in places.items():
        there = next(p for p in (folder, *folder.parents) if p.exists())
        if not os.access(there, os.W_OK):
            yield Finding(name, False if name == "compiled kernels" else None, f"{folder} cannot be written", get)
            continue
        free = shutil.disk_usage(there).free
        if free < LEAST_FREE_BYTES:
            yield Finding(name, None, f"{folder}: only {free / 1e9:.1f} GB free", "make room, or " + get)
        else:
            yield Finding(name, True, f"{_short(folder)}, {free / 1e9:.0f} GB free")


def _short(path: Path) -> str:
    for base, mark in ((REPOSITORY, "."), (Path.home(), "~")):
        if path.is_relative_to(base):
            return str(Path(mark) / path.relative_to(base))
    return str(path)


def _sandbox(name: str) -> Iterator[Finding]:
    from grader import sandbox

    if sandbox.available():
        yield Finding(name, True, "bwrap: `cohort` contains each submission")
    else:
        yield Finding(name, None, "no bwrap: only `cohort` would use it", "apt install bubblewrap")


PARTS: list[tuple[str, Callable[[str], Iterator[Finding]]]] = [
    ("python", _python),
    ("emulator", _emulator),
    ("gpu", _gpu),
    ("model", _model),
    ("folders", _folders),
    ("sandbox", _sandbox),
]


def show(console: Any, findings: Sequence[Finding]) -> None:
    """All findings, then whether lessons can be graded here."""
    from rich.table import Table
    from rich.text import Text

    marks = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}
    table = Table.grid(padding=(0, 1))
    table.add_column(width=3, justify="right")
    table.add_column(width=17)
    table.add_column(ratio=1)
    for finding in findings:
        mark, style = marks[finding.ok]
        table.add_row(Text(mark, style=style), Text(finding.name), Text(finding.detail))
        if finding.get:
            table.add_row("", "", Text(f"get it: {finding.get}", style="bold" if finding.ok is False else ""))
    console.print(table)
    if ready(findings):
        console.print("  ready: python -m grader shows the days")
    else:
        missing = ", ".join(f.name for f in findings if f.ok is False)
        console.print(f"  not ready: {missing}", style="bold red", markup=False)
