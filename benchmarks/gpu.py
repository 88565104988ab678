"""Every GPU test and benchmark in one go, on any machine with an NVIDIA GPU and CuPy.

    python benchmarks/gpu.py [--out results]

writes `results/<gpu>/*.json`. A suite that fails is reported, the others still run, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import record  # noqa: E402
from engine import device  # noqa: E402

SUITES = ["ceilings", "agreement", "day07"]  # ceilings first: the others compare with them


def describe_gpu() -> dict[str, Any]:
    """What the figures were measured on."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    query = "driver_version,clocks.max.sm,clocks.max.mem,clocks.sm,clocks.mem,power.limit"
    said = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    values = (
        dict(zip(query.split(","), said.stdout.strip().splitlines()[0].split(", "), strict=False))
        if said.stdout
        else {}
    )
    return {
        "gpu": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
        "memory_bytes": properties["totalGlobalMem"],
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        **values,
        **record.host(),
    }


def run_tests() -> dict[str, Any]:
    """The tests with the marker `gpu`."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    lines = done.stdout.strip().splitlines() or ["no output"]
    print("\n".join(lines[-15:]))
    if done.returncode != 0:
        print(done.stdout[-3000:], done.stderr[-2000:])
        raise AssertionError(f"pytest -m gpu: {lines[-1]}")
    return {"outcome": lines[-1]}


def main() -> int:
    """Run everything; 0 when all of it succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results", help="folder for the records")
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this suite (more than once)")
    parser.add_argument("--no-tests", action="store_true", help="leave the tests out")
    options = parser.parse_args()
    try:
        device.select("cuda")
    except device.DeviceError as error:
        print(f"NOT RUN: {error}", file=sys.stderr)
        return 4
    machine = describe_gpu()
    folder = options.out / record.slug(machine["gpu"])
    context: dict[str, Any] = {}
    failed = []
    steps = [] if options.no_tests else [("tests", run_tests)]
    for name in options.suite or SUITES:
        module = importlib.import_module(f"benchmarks.suites.{name}")
        steps.append((name, lambda module=module: module.run(context)))
    for name, step in steps:
        started = time.monotonic()
        try:
            context[name] = step()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        path = record.write(folder, name, machine, context[name])
        print(f"{name}: {time.monotonic() - started:.1f} s, {path.name}", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
