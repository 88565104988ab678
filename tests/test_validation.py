"""The scripts that set the checker beside NVIDIA's tools: what they make of the tools' reports, without the tools."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import record
from benchmarks.validation import ncu, sanitizer
from tests.emulator.loader import load_corpus

CASE = load_corpus("bounds")[0]

# As version 2025.3.1 writes them, shortened.
INVALID = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at k+0x60 in 6527835d09aea0fefd12f4703f6b8ddc1186500c.cubin.cu:9
=========     by thread (60,0,0) in block (0,0,0)
=========     Saved host backtrace up to driver entry point at kernel launch time
"""
CALL = '========= Program hit {0} (error 719) due to "unspecified" on CUDA API call to cudaDeviceSynchronize.\n'
FAULT = CALL.format("cudaErrorLaunchFailure")
RACE = """========= Warning: Race reported between Write access at k+0x130 in e6832a29afc1478a.cubin.cu:11
=========     and Read access at k+0x240 in e6832a29afc1478a.cubin.cu:13 [504 hazards]
"""
NO_RACES = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
BARRIER = (
    "========= Barrier error detected. Divergent thread(s) in warp.\n=========     at k+0x90 in 76b0f.cubin.cu:14\n"
)
NEVER_WRITTEN = """========= Host API memory access error at host access to 0x7f7941430200 of size 400 bytes
=========     Uninitialized access at 0x7f7941430380 on access by cudaMemcpy source
"""
MISALIGNED = "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorMisalignedAddress: misaligned address\n"
NO_CUDA = "========= Error: Target application terminated before first instrumented API call\n"
INTERNAL = "========= Internal Sanitizer Error: an uncaught error occurred\n"


def errors(count: int) -> str:
    return f"========= Target application returned an error\n========= ERROR SUMMARY: {count} errors\n"


@pytest.mark.parametrize(
    ("status", "report", "outcome", "lines"),
    [
        (9, INVALID + FAULT + FAULT + errors(3), "found", [9]),
        (9, RACE + "========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)\n", "found", [11, 13]),
        (9, BARRIER + errors(1), "found", [14]),
        (9, NEVER_WRITTEN + errors(1), "found", []),
        (1, INVALID + INTERNAL, "failed", None),
        (0, "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n", "clean", []),
        (0, NO_RACES, "clean", []),
        (9, CALL.format("CUDA_ERROR_NOT_FOUND") + errors(1), "clean", []),
        (1, NO_RACES + MISALIGNED, "crashed", None),
        (1, FAULT + FAULT + errors(2), "crashed", None),
        (1, errors(0) + "CUDADriverError: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access\n", "crashed", None),
        (1, CALL.format("cudaErrorMemoryAllocation") + errors(1), "failed", None),
        (1, errors(0) + "cupy.cuda.compiler.CompileException: cannot open source file\n", "failed", None),
        (1, errors(0) + "ModuleNotFoundError: No module named 'cupy'\n", "failed", None),
        (255, NO_CUDA, "failed", None),
        (0, NO_CUDA, "failed", None),
        (0, INTERNAL + "========= ERROR SUMMARY: 0 errors\n", "failed", None),
        (-11, "", "failed", None),
    ],
)
def test_what_a_report_says_of_the_kernel(status, report, outcome, lines):
    verdict = sanitizer.verdict((status, report), "kernel.cu")
    assert verdict["outcome"] == outcome
    assert verdict.get("lines") == lines


@pytest.mark.parametrize(
    ("report", "counts"),
    [
        (INVALID + FAULT + FAULT + errors(3), (1, 2)),
        (CALL.format("CUDA_ERROR_NOT_FOUND") + errors(1), (0, 1)),
        (RACE + FAULT + "========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)\n", (1, 1)),
        (NEVER_WRITTEN + errors(1), (1, 0)),
        ("", (0, 0)),
    ],
)
def test_calls_that_fail_after_a_fault_are_no_findings(report, counts):
    assert sanitizer.counts_in(report) == counts


def test_the_first_line_of_a_finding_is_kept():
    first = sanitizer.verdict((9, FAULT + NEVER_WRITTEN + errors(2)), "kernel.cu")["first"]
    assert first == NEVER_WRITTEN.splitlines()[0]


class Device:
    """Memory of a GPU that does not say what nobody wrote into it."""

    def __init__(self, size: int, dtype: type) -> None:
        self.bytes, self.written = np.zeros(size, dtype), False

    def set(self, values: np.ndarray) -> None:
        self.bytes[:], self.written = values, True

    def __getitem__(self, part: slice) -> tuple[Device, slice]:
        return self, part


@pytest.fixture
def run_case(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(empty=Device, ndarray=Device))
    monkeypatch.delitem(sys.modules, "benchmarks.validation.run_case", raising=False)
    yield importlib.import_module("benchmarks.validation.run_case")
    del sys.modules["benchmarks.validation.run_case"]


@pytest.mark.parametrize("case", load_corpus(), ids=lambda c: c.name)
def test_the_gpu_gets_what_the_emulator_gets(run_case, case):
    """Arrays as large as they are, slices of larger ones, the same array twice; and nothing in the outputs."""
    host = case.make_arguments()
    device = run_case.on_gpu(case)
    assert len(device) == len(host)
    for argument, value, given in zip(case.arguments, host, device, strict=True):
        if argument.shape is None:
            assert given == value
            continue
        memory, part = given
        assert part == slice(None, value.nbytes)
        assert memory.bytes.nbytes == (argument.within or value.size) * value.itemsize
        assert memory.written == (argument.name not in case.outputs)
        if memory.written:
            assert memory.bytes[part].tobytes() == value.tobytes()
    for i, j in itertools.combinations([i for i, a in enumerate(case.arguments) if a.shape is not None], 2):
        assert (device[i][0] is device[j][0]) == (host[i] is host[j])


def fake_tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "compute-sanitizer"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    sanitizer.shared_too.cache_clear()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="NOT RUN: no /proc here")
def test_a_run_that_hangs_leaves_no_process(tmp_path, monkeypatch):
    fake_tool(tmp_path, monkeypatch, f"sleep 300 &\necho $! > {tmp_path}/pid\nwait")
    monkeypatch.setattr(sanitizer, "LIMIT_S", 1)
    ended = sanitizer.launch("memcheck", CASE)
    assert sanitizer.verdict(ended, "kernel.cu") == {"outcome": "timed out"}
    deadline = time.monotonic() + 10
    while alive(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline, "the program under the tool is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("known", [True, False])
def test_initcheck_looks_at_shared_memory_where_it_can(tmp_path, monkeypatch, known):
    options = "--initcheck-address-space arg" if known else "--track-unused-memory"
    fake_tool(tmp_path, monkeypatch, f'if [ "$1" = --help ]; then echo "{options}"; else echo "$*"; fi')
    for tool in sanitizer.TOOLS:
        status, said = sanitizer.launch(tool, CASE)
        assert status == 0
        assert said.startswith(f"--tool {tool} ")
        assert said.endswith(f"run_case.py {CASE.name}\n")
        assert ("--initcheck-address-space all" in said) == (known and tool == "initcheck")


@pytest.fixture
def fake_gpu(monkeypatch):
    runtime = types.SimpleNamespace(getDeviceProperties=lambda _i: {"name": b"NVIDIA X1"})
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime)))
    for module in (sanitizer, ncu):
        monkeypatch.setattr(module.shutil, "which", lambda name: name)


def start(monkeypatch, module, target: Path) -> int:
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / module.__file__), str(target)])
    return module.main()


@pytest.mark.parametrize("broken", [False, True])
def test_a_run_that_says_nothing_is_not_recorded(tmp_path, monkeypatch, fake_gpu, capsys, broken):
    fake_tool(tmp_path, monkeypatch, "echo 'Version 2025.3.1.0 (build 1)'")
    monkeypatch.setattr(sanitizer, "load_corpus", lambda: [CASE])
    good = (9, INVALID + FAULT + FAULT + errors(3))
    monkeypatch.setattr(
        sanitizer, "launch", lambda tool, _case: (255, NO_CUDA) if broken and tool == "initcheck" else good
    )
    target = tmp_path / "sanitizer.json"
    assert start(monkeypatch, sanitizer, target) == int(broken)
    assert target.exists() != broken
    if broken:
        assert f"initcheck, {CASE.name}: Target application terminated" in capsys.readouterr().err
    else:
        case = json.loads(target.read_text())["cases"][CASE.name]
        assert case["found"] == list(sanitizer.TOOLS)
        assert case["tools"]["memcheck"] == {
            "outcome": "found", "findings": 1, "failed_calls": 2, "lines": [9], "first": INVALID.splitlines()[1],
        }  # fmt: skip


@pytest.mark.parametrize("module", [sanitizer, ncu])
def test_without_a_file_to_write_nothing_is_started(monkeypatch, capsys, module):
    monkeypatch.setattr(sys, "argv", [module.__file__])
    assert module.main() == 2
    assert "OUT.json" in capsys.readouterr().err


def ncu_table(*launches: dict[str, str]) -> str:
    names = ["ID", "Kernel Name", *ncu.METRICS]
    units = {"ID": "", "Kernel Name": ""} | dict.fromkeys(ncu.METRICS, "sector")
    rows = [units, *({"ID": str(i), "Kernel Name": "k", **row} for i, row in enumerate(launches))]
    lines = [names, *([row.get(n, "") for n in names] for row in rows)]
    return "==PROF== Disconnected\n" + "".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines)


def test_counts_are_read_from_the_table():
    counts = dict.fromkeys(ncu.METRICS, "1,024")
    assert ncu.figures_in(ncu_table(counts, counts | {next(iter(ncu.METRICS)): "8.00"})) == [
        dict.fromkeys(ncu.METRICS, 1024), dict.fromkeys(ncu.METRICS, 1024) | {next(iter(ncu.METRICS)): 8},
    ]  # fmt: skip


@pytest.mark.parametrize("cell", ["", "n/a", "1.5", "nan"])
def test_a_metric_that_is_missing_is_no_zero(cell):
    metric = next(iter(ncu.METRICS))
    with pytest.raises(RuntimeError, match=f"ncu gave '{cell}' for {metric} of launch 0: expected a count"):
        ncu.figures_in(ncu_table(dict.fromkeys(ncu.METRICS, "1") | {metric: cell}))
    with pytest.raises(RuntimeError, match="no table"):
        ncu.figures_in("==ERROR== ERR_NVGPUCTRPERM")


def test_a_count_that_only_the_emulator_has_is_recorded(tmp_path, monkeypatch, fake_gpu):
    case = load_corpus("costs")[0]
    monkeypatch.setattr(ncu, "load_corpus", lambda _folder: [case])
    monkeypatch.setattr(ncu, "profile", lambda _cases: [dict.fromkeys(ncu.METRICS, 0)])
    monkeypatch.setattr(ncu, "emulated", lambda _case: types.SimpleNamespace(total=lambda *_what: 3))
    assert start(monkeypatch, ncu, tmp_path / "costs.json") == 0
    rows = json.loads((tmp_path / "costs.json").read_text())["rows"]
    assert {(r["emulator"], r["ncu"], r["ratio"]) for r in rows} == {(3, 0, None)}
