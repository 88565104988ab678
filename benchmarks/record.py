"""Recorded runs: JSON files under results/, each with the command, the machine and the date that made it."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


def slug(name: str) -> str:
    """A folder name: `NVIDIA H200` is nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(folder: Path, name: str, machine: dict[str, Any], figures: dict[str, Any]) -> Path:
    """Write one record.

    Returns:
        The file.

    Raises:
        ValueError: a figure is NaN or infinite, which nothing measured is, or named as the record's own keys are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [Path(a).name if "/" in a else a for a in sys.argv[1:]]  # the folders of one machine say nothing
    record: dict[str, Any] = {
        "command": " ".join(["python", Path(sys.argv[0]).resolve().relative_to(REPOSITORY).as_posix(), *arguments]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
    }
    if taken := record.keys() & figures.keys():
        raise ValueError(f"{name}: the figures have the record's own keys {', '.join(sorted(taken))}")
    record |= figures
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


def host() -> dict[str, Any]:
    """The CPU side of a machine."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
