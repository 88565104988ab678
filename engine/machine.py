"""What figures were measured on, and by which command: the head of every record."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def head(program: str, arguments: Sequence[str], about: dict[str, Any]) -> dict[str, Any]:
    """The command, the day and the machine.

    Args:
        program: how it is started, such as `python -m engine`.
        arguments: of the command line; of a path only the last name is kept, since folders of one machine say nothing.
        about: the machine: `host()` or `gpu()`.
    """
    shown = [Path(a).name if "/" in a else a for a in arguments]
    return {"command": " ".join([program, *shown]), "date": datetime.now(UTC).date().isoformat(), "machine": about}


def host() -> dict[str, Any]:
    """The CPU side."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    }


def gpu() -> dict[str, Any]:
    """The GPU in use, its driver and its host."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "gpu": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
        "memory_bytes": properties["totalGlobalMem"],
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cuda_driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        **nvidia_smi("driver_version", "clocks.max.sm", "clocks.max.mem", "clocks.sm", "clocks.mem", "power.limit"),
        **host(),
    }


def nvidia_smi(*fields: str) -> dict[str, str]:
    """What `nvidia-smi` says of the first GPU, by field; nothing where it says nothing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return {}
    first = said.strip().splitlines()[:1]
    return dict(zip(fields, first[0].split(", "), strict=True)) if first else {}
