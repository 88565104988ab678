"""The corpus under NVIDIA's compute-sanitizer: what memcheck, racecheck, initcheck and synccheck say of each kernel.

python benchmarks/validation/sanitizer.py OUT.json
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record  # noqa: E402
from engine.machine import host  # noqa: E402
from tests.emulator.loader import Case, load_corpus  # noqa: E402

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
LIMIT_S = 60
AT_ONCE = 12
FOUND = 9  # exit status where a tool found something and the program under it ended well
KERNEL_FAULTS = ("illegaladdress", "misalignedaddress", "launchfail", "illegalinstruction", "invalidaddressspace")


def counts_in(report: str) -> tuple[int, int]:
    """How much a report counts: the tool's own findings, and failed API calls, which memcheck has among its errors.

    One fault of a kernel makes all calls after it fail, so those say nothing of how much was found.
    """

    def largest(summary: str) -> int:
        return max((int(n) for n in re.findall(summary, report)), default=0)

    calls = len(re.findall(r"=========\s+Program hit ", report))
    errors, hazards = largest(r"ERROR SUMMARY: (\d+) error"), largest(r"RACECHECK SUMMARY: (\d+) hazard")
    return max(errors - calls, 0) + hazards, calls


def lines_in(report: str, file: str) -> list[int]:
    """Source lines that a report names."""
    return sorted(
        {int(n) for n in re.findall(re.escape(file) + r":(\d+)", report)}
        | {int(n) for n in re.findall(r"\.cubin\.cu:(\d+)", report)}
    )


def launch(tool: str, case: Case) -> tuple[int, str] | None:
    """Exit status and report of one tool on one kernel, in processes of its own; None where they do not end in time."""
    command = [
        "compute-sanitizer", "--tool", tool, *(shared_too() if tool == "initcheck" else ()), "--error-exitcode", str(FOUND),
        sys.executable, str(Path(__file__).with_name("run_case.py")), case.name,
    ]  # fmt: skip
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    with subprocess.Popen(command, **pipes, cwd=REPOSITORY, start_new_session=True) as process:
        try:
            report = "".join(process.communicate(timeout=LIMIT_S))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # else the program under the tool goes on, and its kernel on the GPU
            return None
    return process.returncode, report


@functools.cache
def shared_too() -> tuple[str, ...]:
    """What makes initcheck look at shared memory beside global memory, where this version can (from 2025.4 on)."""
    said = subprocess.run(["compute-sanitizer", "--help"], capture_output=True, text=True, check=False).stdout
    return ("--initcheck-address-space", "all") if "initcheck-address-space" in said else ()


def verdict(ended: tuple[int, str] | None, file: str) -> dict[str, Any]:
    """What one run says of the kernel in a file.

    Args:
        ended: what `launch` gives.
        file: the name of the kernel's file.

    Returns:
        With `outcome`: `found`; `clean`; `timed out`; `crashed`, the kernel as it would without the tool; or `failed`: the
        tool or the program under it, so that nothing is known of the kernel. Of the first two also both counts of `counts_in`.
    """
    if ended is None:
        return {"outcome": "timed out"}
    status, report = ended
    findings, calls = counts_in(report)
    lost = "SUMMARY: " not in report or "Internal Sanitizer Error" in report
    if not findings and (lost or status not in (0, FOUND)):
        said = re.findall(r"(?:CUDADriverError|CompileException|Error): ([^\n]*)", report)
        flat = report.replace("_", "").lower()  # CUDA_ERROR_ILLEGAL_ADDRESS and cudaErrorIllegalAddress
        crashed = any(f"cudaerror{fault}" in flat for fault in KERNEL_FAULTS)
        return {"outcome": "crashed" if crashed else "failed", "said": said[-1][:160] if said else report[-160:]}
    first = next(
        (
            line
            for line in report.splitlines()
            if re.search(r"=========\s+(Error|Warning|Invalid|Barrier|Uninit|Host API)", line)
        ),
        "",
    )
    return {
        "outcome": "found" if findings else "clean",
        "findings": findings,
        "failed_calls": calls,
        "lines": lines_in(report, file),
        "first": first[:160],
    }


def main() -> int:
    """Run all tools on all kernels.

    Returns:
        The exit status: 1 where a run says nothing of its kernel (then nothing is recorded), 2 for wrong usage, 4 where there
        is nothing to run them with.
    """
    if len(sys.argv) != 2:
        print("usage: python benchmarks/validation/sanitizer.py OUT.json", file=sys.stderr)
        return 2
    if shutil.which("compute-sanitizer") is None:
        print("NOT RUN: compute-sanitizer is not on the PATH", file=sys.stderr)
        return 4
    import cupy

    cases = [c for c in load_corpus() if c.path.parent.name != "costs"]
    jobs = [(tool, case) for case in cases for tool in TOOLS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(lambda job: verdict(launch(*job), job[1].path.name), jobs))
    failed = [
        f"{tool}, {c.name}: {r['said']}" for (tool, c), r in zip(jobs, said, strict=True) if r["outcome"] == "failed"
    ]
    if failed:
        print("not recorded, these runs failed:", *failed, sep="\n", file=sys.stderr)
        return 1
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
        **host(),
    }
    target = Path(sys.argv[1]).resolve()
    record.write(target.parent, target.stem, machine, {"cases": out})
    by_outcome = [r["outcome"] for r in said]
    print({outcome: by_outcome.count(outcome) for outcome in sorted(set(by_outcome))})
    return 0


if __name__ == "__main__":
    os.environ.setdefault("CUPY_CACHE_DIR", "/tmp/cupy-cache")
    sys.exit(main())
