"""Every GPU test and benchmark in one go, on any machine with an NVIDIA GPU and CuPy.

    python benchmarks/gpu.py [--out results]

writes `results/<gpu>/*.json`: the tests with the marker `gpu`, and what each module of `benchmarks/suites/` measures. A
suite that fails is reported, the others still run, and the exit status is 1; it is 4 where no GPU answers.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record  # noqa: E402
from engine import device  # noqa: E402
from engine.machine import gpu as describe_gpu  # noqa: E402

TESTS = "tests"
# Ceilings first: the others compare with them.
SUITES = [
    "ceilings",
    "agreement",
    "day02",
    "day05",
    "day06",
    "day07",
    "day08",
    "day09",
    "day10",
    "day11",
    "day12",
    "day13",
    "day14",
    "day15",
    "day18",
    "day20",
    "day22",
    "forward",
    "greedy",
    "baseline",
    "roofline",
]


def run_tests(_context: dict[str, Any]) -> dict[str, Any]:
    """The tests with the marker `gpu`: how many ended how, and `failed` where that is no pass."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors",
            "-n", "0",  # one at a time: some measure
            f"--junitxml={report}", "tests",
        ]  # fmt: skip
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY, check=False
        )
        print("\n".join(done.stdout.strip().splitlines()[-40:]), flush=True)
        counts = read_report(report.read_text()) if report.exists() else {}
    failed = why_not_passed(counts, done.returncode)
    return {"tests": "pytest -m gpu", **counts, **({"failed": failed} if failed else {})}


def read_report(xml: str) -> dict[str, int]:
    """Numbers of tests in a JUnit report, by how they ended."""
    suites = list(ElementTree.fromstring(xml).iter("testsuite"))
    total = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")}
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    return {"passed": passed, "failures": total["failures"], "errors": total["errors"], "not_run": total["skipped"]}


def why_not_passed(counts: dict[str, int], status: int) -> str:
    """Why a run of tests does not count as passed, or ""."""
    if status != 0:
        return f"pytest ended with status {status}"
    if not counts.get("passed"):
        return "no test ran"
    if counts["not_run"]:
        return f"{counts['not_run']} tests did NOT RUN on a machine that has a GPU"
    return ""


Step = Callable[[dict[str, Any]], dict[str, Any]]


def run_steps(steps: Sequence[tuple[str, Step]], folder: Path, machine: dict[str, Any]) -> list[str]:
    """Run each, write its record, go on after a failure.

    Returns:
        Names of those that failed: by raising, or by a figure `failed` in their record.
    """
    context: dict[str, Any] = {}
    failed = []
    for name, step in steps:
        started = time.monotonic()
        try:
            figures = step(context)
            path = record.write(folder, name, machine, figures)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        context[name] = figures
        if "failed" in figures:
            failed.append(name)
        print(f"{name}: {time.monotonic() - started:.1f} s, {path.name} {figures.get('failed', '')}", flush=True)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 0 when all of it succeeded, 1 when something failed, 4 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results", help="folder for the records")
    parser.add_argument("--suite", action="append", choices=[TESTS, *SUITES], help="only this suite (more than once)")
    options = parser.parse_args(arguments)
    try:
        device.select("cuda")
    except device.DeviceError as error:
        print(f"NOT RUN: {error}", file=sys.stderr)
        return 4
    machine = describe_gpu()
    steps: list[tuple[str, Step]] = [
        (name, run_tests if name == TESTS else importlib.import_module(f"benchmarks.suites.{name}").run)
        for name in [TESTS, *SUITES]
        if options.suite is None or name in options.suite
    ]
    failed = run_steps(steps, options.out / record.slug(machine["gpu"]), machine)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
