"""The cost kernels under Nsight Compute, beside the emulator's counters.

python benchmarks/validation/ncu.py OUT.json
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import emulator  # noqa: E402
from benchmarks import record  # noqa: E402
from tests.emulator.loader import Case, load_corpus  # noqa: E402

# Nsight Compute's metric, and where the emulator has the same: what, space, write.
METRICS = {
    "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum": ("global load requests", "requests", "global", False),
    "l1tex__t_requests_pipe_lsu_mem_global_op_st.sum": ("global store requests", "requests", "global", True),
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": ("global load sectors", "transactions", "global", False),
    "l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum": ("global store sectors", "transactions", "global", True),
    "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.sum": ("shared load wavefronts", "transactions", "shared", False),
    "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_st.sum": ("shared store wavefronts", "transactions", "shared", True),
}


def profile(cases: list[Case]) -> list[dict[str, int]]:
    """Metrics of each case's launch: one process launches them all in order."""
    command = [
        "ncu", "--clock-control", "none", "--csv", "--page", "raw", "--kernel-name", "k", "--metrics", ",".join(METRICS),
        sys.executable, str(Path(__file__).with_name("run_case.py")), *(c.name for c in cases),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    start = done.stdout.find('"ID"')
    if start < 0:
        raise RuntimeError(f"ncu gave no table: {(done.stdout + done.stderr)[-800:]}")
    rows = list(csv.DictReader(io.StringIO(done.stdout[start:])))
    return [{m: int(float(row[m].replace(",", ""))) for m in METRICS if row.get(m)} for row in rows if row["ID"]]


def emulated(case: Case) -> emulator.Costs:
    """The emulator's counters for the same launch."""
    check = emulator.Checks(schedules=1, costs=True, outputs=case.outputs)
    kernel = emulator.RawModule(path=str(case.path), check=check).get_function("k")
    kernel(case.grid, case.block, case.make_arguments(), shared_mem=case.shared_mem)
    assert kernel.costs is not None
    return kernel.costs


def main() -> int:
    """Profile, count, compare; 4 when there is no Nsight Compute."""
    if shutil.which("ncu") is None:
        print("NOT RUN: ncu is not on the PATH", file=sys.stderr)
        return 4
    import cupy

    cases = load_corpus("costs")
    measured = profile(cases)
    if len(measured) != len(cases):
        raise RuntimeError(f"ncu saw {len(measured)} launches, expected {len(cases)}")
    rows: list[dict[str, Any]] = []
    for case, figures in zip(cases, measured, strict=True):
        costs = emulated(case)
        for metric, (counter, what, space, write) in METRICS.items():
            ours, theirs = costs.total(what, space, write), figures.get(metric, 0)
            if ours == theirs == 0:
                continue
            ratio = ours / theirs if theirs else float("inf")
            rows.append(
                {
                    "kernel": case.path.stem,
                    "counter": counter,
                    "emulator": ours,
                    "ncu": theirs,
                    "ratio": round(ratio, 4),
                }
            )
            print(f"{case.path.stem:<20} {counter:<26} {ours:>8} {theirs:>8} {ratio:8.3f}")
    target = Path(sys.argv[1]).resolve()
    machine = {"gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), **record.host()}
    record.write(target.parent, target.stem, machine, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
