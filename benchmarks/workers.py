"""Work in a process of its own: a crash, a hang or a broken CUDA context ends that process and nothing else.

What it finds comes as it is found, one JSON object a line, in a file: a process that is ended keeps what it has said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import REPOSITORY

Line = dict[str, Any]
POLL_S = 0.1
ENDED = "it was ended after"  # how the reason begins where the time was over
SHOWN = 15  # lines of what a process printed, where it did not end well


def say(path: Path, line: Line) -> None:
    """Add a line, at once.

    Raises:
        ValueError: a figure is NaN or infinite, which nothing measured is.
    """
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def one_line(error: BaseException) -> str:
    """An error as a record has it."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def end_with_parent() -> None:
    """End this process when the one that started it has ended, however it did: nobody would hear it any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(
    module: str, arguments: Sequence[str], seconds: float, heard: Callable[[Line], None], log: Path | None = None
) -> str | None:
    """Run a module of this repository's, `python -m module … --lines FILE`.

    Args:
        seconds: after so many it is ended, with all processes that it started.
        heard: gets each line as it comes.
        log: what it prints is added to that file. The end of it is shown in any case where it did not end well.

    Returns:
        None where it ended by itself with status 0, else why not.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines, printed = Path(folder) / "lines", Path(folder) / "printed"
        lines.touch()
        command = [sys.executable, "-m", module, *arguments, "--lines", str(lines)]
        began = time.monotonic()
        with printed.open("wb") as out, lines.open() as file:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, process_group=0
            )
            try:
                rest = ""
                while process.poll() is None and time.monotonic() - began < seconds:
                    time.sleep(POLL_S)
                    rest = _read(rest + file.read(), heard)
            finally:
                alive = process.poll() is None
                if alive:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                if log is not None:
                    with log.open("ab") as whole:
                        whole.write(f"== {' '.join(command[2:])}\n".encode() + printed.read_bytes())
            _read(rest + file.read(), heard)
        if not alive and process.returncode == 0:
            return None
        said = printed.read_text(errors="replace").strip().splitlines()
        print("\n".join(f"    {line}" for line in said[-SHOWN:]), flush=True)
        if alive:
            return f"{ENDED} {seconds:.0f} s"
        return f"its process ended with status {process.returncode}: {said[-1] if said else 'it printed nothing'}"


def _read(text: str, heard: Callable[[Line], None]) -> str:
    """Hand on all whole lines; what is left is the beginning of one."""
    *whole, rest = text.split("\n")
    for line in whole:
        heard(json.loads(line))
    return rest
