"""The corpus under the emulator's own checker.

    python benchmarks/validation/corpus.py

writes results/cpu/corpus.json. tests/emulator/test_corpus.py demands the same of every kernel.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import emulator  # noqa: E402
from benchmarks import record  # noqa: E402
from engine.machine import host  # noqa: E402
from tests.emulator.loader import Case, load_corpus  # noqa: E402

SCHEDULES = 20


def check(case: Case) -> dict[str, Any]:
    """What the checker says of one kernel, and whether that is right."""
    checks = emulator.Checks(schedules=SCHEDULES, outputs=case.outputs)
    module = emulator.RawModule(path=str(case.path), enable_cooperative_groups=case.cooperative, check=checks)
    kernel = module.get_function("k")
    args = case.make_arguments()
    started = time.perf_counter()
    finding = None
    try:
        kernel(case.grid, case.block, args, shared_mem=case.shared_mem)
    except emulator.CheckError as error:
        finding = error.findings[0]
    seconds = time.perf_counter() - started
    if finding is None:
        return {"name": case.name, "fault": case.fault, "found": "", "right": case.fault == "none", "seconds": seconds}
    named = {finding.line, finding.other_line} - {0}
    line_right = not case.fault_lines or (bool(named) and named <= case.fault_lines)  # an output has no line
    right = finding.kind == case.fault and case.array in ("", finding.array) and line_right
    return {
        "name": case.name, "fault": case.fault, "found": finding.kind, "line": finding.line, "array": finding.array,
        "right": right, "seconds": seconds,
    }  # fmt: skip


def main() -> int:
    """Check every kernel; 1 when one is judged wrongly."""
    cases = [check(case) for case in load_corpus()]
    for case in cases:
        case["seconds"] = round(case["seconds"], 4)
    path = record.write(REPOSITORY / "results" / "cpu", "corpus", host(), {"schedules": SCHEDULES, "cases": cases})
    wrong = [c["name"] for c in cases if not c["right"]]
    print(f"{len(cases)} kernels, {len(wrong)} judged wrongly {wrong or ''} → {path.relative_to(REPOSITORY)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
