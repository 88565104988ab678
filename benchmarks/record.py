"""Recorded runs: JSON files under results/, each with the command, the machine and the date that made it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from engine.machine import head

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
    script = Path(sys.argv[0]).resolve().relative_to(REPOSITORY)
    package = script.name == "__main__.py"
    program = f"python -m {'.'.join(script.parent.parts)}" if package else f"python {script.as_posix()}"
    record = head(program, sys.argv[1:], machine)
    if taken := record.keys() & figures.keys():
        raise ValueError(f"{name}: the figures have the record's own keys {', '.join(sorted(taken))}")
    record |= figures
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path
