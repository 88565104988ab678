"""The reference solutions as modules, and the worked examples of their days' pages."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType, SimpleNamespace

import numpy as np

from grader.curriculum import Day


def load(day: Day) -> ModuleType:
    """The solution's lesson.py, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{day.name}_solution", day.solution / "lesson.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example_row(day: Day, label: str) -> list[float]:
    """The numbers behind a label of the worked example on a day's page."""
    text = (day.lesson / "README.md").read_text()
    found = re.search(rf"^    {label} +((?:-?[\d.]+,? +)*-?[\d.]+)", text, re.MULTILINE)
    assert found, f"{day.name}: no row {label!r}"
    return [float(n) for n in found[1].replace(",", " ").split()]


def huge(dtype: np.dtype, *shape: int) -> SimpleNamespace:
    """What arguments are checked by, of an array that no memory has room for."""
    return SimpleNamespace(shape=shape, ndim=len(shape), dtype=dtype, flags=SimpleNamespace(c_contiguous=True))
