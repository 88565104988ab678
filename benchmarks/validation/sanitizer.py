"""The corpus under NVIDIA's compute-sanitizer: what memcheck, racecheck, initcheck and synccheck say of each kernel.

python benchmarks/validation/sanitizer.py OUT.json
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record  # noqa: E402
from tests.emulator.loader import Case, load_corpus  # noqa: E402

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
LIMIT_S = 60
AT_ONCE = 12


def errors_in(report: str) -> int:
    """Errors or hazards that a report counts; 0 where it counts none."""
    counts = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)", report)
    return max((int(n) for n in counts), default=0)


def lines_in(report: str, file: str) -> list[int]:
    """Source lines that a report names."""
    return sorted(
        {int(n) for n in re.findall(re.escape(file) + r":(\d+)", report)}
        | {int(n) for n in re.findall(r"\.cubin\.cu:(\d+)", report)}
    )


def run_tool(tool: str, case: Case) -> dict[str, Any]:
    """One tool on one kernel, in a process of its own."""
    command = [
        "compute-sanitizer", "--tool", tool, "--error-exitcode", "9", sys.executable,
        str(Path(__file__).with_name("run_case.py")), case.name,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=REPOSITORY)
    except subprocess.TimeoutExpired:
        return {"outcome": "timed out"}
    report = done.stdout + done.stderr
    count = errors_in(report)
    if count == 0 and done.returncode not in (0, 9):
        said = re.findall(r"(?:CUDADriverError|CompileException|Error): ([^\n]*)", report)
        return {"outcome": "crashed", "said": said[-1][:160] if said else report[-160:]}  # as it would without the tool
    first = next(
        (
            line
            for line in report.splitlines()
            if re.search(r"=========\s+(Error|Warning|Invalid|Barrier|Uninit)", line)
        ),
        "",
    )
    return {
        "outcome": "found" if count else "clean",
        "errors": count,
        "lines": lines_in(report, case.path.name),
        "first": first[:160],
    }


def main() -> int:
    """Run all tools on all kernels; 4 when there is nothing to run them with."""
    if shutil.which("compute-sanitizer") is None:
        print("NOT RUN: compute-sanitizer is not on the PATH", file=sys.stderr)
        return 4
    import cupy

    cases = [c for c in load_corpus() if c.path.parent.name != "costs"]
    jobs = [(tool, case) for case in cases for tool in TOOLS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(lambda job: run_tool(*job), jobs))
    out: dict[str, Any] = {}
    for (tool, case), result in zip(jobs, said, strict=True):
        entry = out.setdefault(case.name, {"fault": case.fault, "tools": {}})
        entry["tools"][tool] = result
    for entry in out.values():
        entry["found"] = [t for t, r in entry["tools"].items() if r["outcome"] == "found"]
        entry["timed_out"] = [t for t, r in entry["tools"].items() if r["outcome"] == "timed out"]
    version = subprocess.run(
        ["compute-sanitizer", "--version"], capture_output=True, text=True, check=False
    ).stdout.split()
    machine = {
        "gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        "sanitizer": next((v for v in version if re.match(r"\d+\.\d+", v)), ""),
        **record.host(),
    }
    target = Path(sys.argv[1]).resolve()
    record.write(target.parent, target.stem, machine, {"cases": out})
    by_outcome = [r["outcome"] for r in said]
    print({outcome: by_outcome.count(outcome) for outcome in sorted(set(by_outcome))})
    return 0


if __name__ == "__main__":
    os.environ.setdefault("CUPY_CACHE_DIR", "/tmp/cupy-cache")
    sys.exit(main())
