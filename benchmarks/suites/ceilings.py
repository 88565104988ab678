"""The machine's own ceilings: read and copy bandwidth of device memory, operations of the tensor cores."""

from __future__ import annotations

from typing import Any

from engine import ceilings


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """As the engine measures them."""
    return ceilings.measure()
