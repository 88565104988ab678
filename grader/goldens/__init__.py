"""What Hugging Face Transformers answers, stored: made by the `make_…` modules here, never by hand."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


@functools.cache
def load(name: str) -> dict[str, Any]:
    """The goldens of that name; one dict for all callers."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found
