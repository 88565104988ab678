"""The process that grades one submission: `pool` starts it. It ends with the pool, and prints one JSON object."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from grader.curriculum import days
from grader.grade import GraderError, grade
from grader.verdict import Check, Report, Verdict

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Grade what standard input describes."""
    order = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != order["parent"]:
        return  # it was gone before we asked
    day = days()[order["day"] - 1]
    folder = Path(order["folder"])
    try:
        report = grade(
            day, folder, device=order["device"], seed=order["seed"], call_limit_s=order["call_limit_s"],
            sandboxed=order["sandboxed"], hidden=[Path(p) for p in order["hidden"]], memory_limit=order["memory_limit"],
        )  # fmt: skip
    except GraderError as error:
        report = failed(day.number, day.slug, order, "files", str(error))
    except Exception as error:  # a worker answered what no worker of ours answers
        said = f"what it answered makes no sense: {type(error).__name__}: {error}"
        report = failed(day.number, day.slug, order, "grading", said)
    json.dump({**report.as_json(), "printed": report.printed}, sys.stdout)


def failed(number: int, slug: str, order: dict[str, Any], name: str, detail: str) -> Report:
    """A grading that did not come about."""
    report = Report(number, slug, order["folder"], order["device"] or "cpu", order["seed"])
    report.checks.append(Check(name, Verdict.CRASHED, detail))
    return report


if __name__ == "__main__":
    main()
