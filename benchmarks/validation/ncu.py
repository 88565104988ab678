"""The cost kernels under Nsight Compute, beside the emulator's counters.

python benchmarks/validation/ncu.py OUT.json
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import emulator  # noqa: E402
from benchmarks import record  # noqa: E402
from engine.machine import host  # noqa: E402
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
    """Metrics of each case's launch: one process launches them all in order.

    Raises:
        RuntimeError: ncu or the program under it failed, or a metric is missing.
    """
    command = [
        "ncu", "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base",
        "--kernel-name", "k", "--metrics", ",".join(METRICS),
        sys.executable, str(Path(__file__).with_name("run_case.py")), *(c.name for c in cases),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode:
        raise RuntimeError(f"ncu ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    return figures_in(done.stdout)


def figures_in(said: str) -> list[dict[str, int]]:
    """The metrics in ncu's table, launch by launch.

    Raises:
        RuntimeError: there is no table, or a metric is no number in it.
    """
    start = said.find('"ID"')
    if start < 0:
        raise RuntimeError(f"ncu gave no table: {said[-800:]}")
    launches = []
    for row in csv.DictReader(io.StringIO(said[start:])):
        if not (row["ID"] or "").isdigit():  # the row of units
            continue
        for metric in METRICS:
            if not re.fullmatch(r"[\d,]+(\.0*)?", row.get(metric) or ""):
                raise RuntimeError(f"ncu gave {row.get(metric)!r} for {metric} of launch {row['ID']}: expected a count")
        launches.append({metric: int(float(row[metric].replace(",", ""))) for metric in METRICS})
    return launches


def emulated(case: Case) -> emulator.Costs:
    """The emulator's counters for the same launch."""
    check = emulator.Checks(schedules=1, costs=True, outputs=case.outputs)
    kernel = emulator.RawModule(path=str(case.path), check=check).get_function("k")
    kernel(case.grid, case.block, case.make_arguments(), shared_mem=case.shared_mem)
    assert kernel.costs is not None
    return kernel.costs


def main() -> int:
    """Profile, count, compare; 2 for wrong usage, 4 when there is no Nsight Compute."""
    if len(sys.argv) != 2:
        print("usage: python benchmarks/validation/ncu.py OUT.json", file=sys.stderr)
        return 2
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
            ours, theirs = costs.total(what, space, write), figures[metric]
            if ours == theirs == 0:
                continue
            ratio = round(ours / theirs, 4) if theirs else None
            rows.append(
                {
                    "kernel": case.path.stem,
                    "counter": counter,
                    "emulator": ours,
                    "ncu": theirs,
                    "ratio": ratio,
                }
            )
            print(f"{case.path.stem:<20} {counter:<26} {ours:>8} {theirs:>8} {ratio}")
    target = Path(sys.argv[1]).resolve()
    machine = {"gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), **host()}
    record.write(target.parent, target.stem, machine, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
