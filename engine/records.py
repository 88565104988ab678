"""Recorded runs, as `engine bench` and `engine roofline` write them: read, and refused where they are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

HEAD: dict[str, type] = {"command": str, "date": str, "machine": Mapping, "model": str}
BENCH: dict[str, type] = {**HEAD, "tokens": int, "rows": list}
ROOFLINE: dict[str, type] = {**HEAD, "tokens": int, "length": int, "kernels": list, "others": Mapping}


def read(path: Path) -> Record:
    """The record in a file.

    Raises:
        ValueError: it is no JSON object, or has a number that JSON does not, such as NaN; the message names the file.
        OSError: it cannot be read.
    """

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number")

    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise ValueError(f"{path}: expected a record, in JSON: {error}") from error
    if not isinstance(record, dict) or not record:
        raise ValueError(f"{path}: expected a record, a JSON object with figures")
    return record


def machine_of(record: Record) -> str:
    """The GPU; without one the CPU and its cores."""
    machine = record["machine"]
    return str(machine.get("gpu") or f"{machine.get('cpu')}, {machine.get('cores')} cores")


def check(name: str, record: Record, kinds: Mapping[str, type]) -> None:
    """Refuse what does not say how, when and on what it was made.

    Args:
        name: of the record.
        kinds: what it must have: `BENCH` or `ROOFLINE`.

    Raises:
        ValueError: names the record and the key.
    """
    for key, kind in kinds.items():
        value = record.get(key)
        if value is None or not isinstance(value, kind):
            raise ValueError(f"{name}: {key} is {value!r}: expected a {kind.__name__.lower()}")
    try:
        date.fromisoformat(record["date"])
    except ValueError:
        raise ValueError(f"{name}: date is {record['date']!r}: expected a day such as 2026-01-31") from None


def check_bench(name: str, record: Record) -> None:
    """Refuse what `engine bench` does not write, and what has no time between two tokens.

    Raises:
        ValueError: names the record and the key.
    """
    check(name, record, BENCH)
    if record["tokens"] < 2:
        raise ValueError(f"{name}: tokens is {record['tokens']}: expected 2 or more, a step lies between two")
    prompts = [row.get("prompt_tokens") for row in record["rows"]]
    if len(set(prompts)) < len(prompts) or not all(isinstance(length, int) for length in prompts):
        raise ValueError(f"{name}: prompt_tokens are {prompts}: expected whole numbers, each once")
