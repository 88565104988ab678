"""How long a learner waits: warm gradings of Part 1, the map, and all of Part 1 against itself, on this CPU.

    python benchmarks/grader.py

writes `results/cpu/grader.json`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record  # noqa: E402
from engine import timing  # noqa: E402
from engine.machine import host  # noqa: E402

DAYS = range(1, 8)
REPEATS = 10


def seconds(*arguments: str) -> float:
    """Wall time of `python -m grader …` from start to end.

    Raises:
        RuntimeError: it did not end with status 0.
    """
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "grader", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    taken = time.monotonic() - began
    if done.returncode != 0:
        raise RuntimeError(f"grader {' '.join(arguments)} ended with status {done.returncode}: {done.stderr}")
    return taken


def main() -> None:
    """Measure, after one run of each that fills the caches, and record."""
    commands = {f"day {n}": (f"day{n:02}", "--solution", "--device", "cpu") for n in DAYS} | {"map": ()}
    rows = []
    for what, arguments in commands.items():
        seconds(*arguments)
        rows.append({"what": what, **timing.spread([seconds(*arguments) for _ in range(REPEATS)])})
        print(what, f"{rows[-1]['median_s']:.2f} s", flush=True)
    whole = seconds("all", "--days", "1-7", "--solutions", "--stubs", "--mutants", "--device", "cpu")
    print(f"all of Part 1: {whole:.0f} s")
    figures = {"rows": rows, "part_1_solutions_stubs_mutants_s": round(whole, 1)}
    record.write(REPOSITORY / "results" / "cpu", "grader", host(), figures)


if __name__ == "__main__":
    main()
