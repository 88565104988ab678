"""The reference solutions as modules, what they answer and cost, and the worked examples of their days' pages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

import emulator
from engine import device
from grader.curriculum import Day


def randomly(examples: int) -> settings:
    """So many examples, however long one takes; the device in use is chosen once for all of them."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(day: Day) -> ModuleType:
    """The solution's lesson.py, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{day.name}_solution", day.solution / "lesson.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    """What a solution's function returns on the device in use, as NumPy; its arrays must come back as they were."""
    there = [device.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
    out = function(*there)
    for sent, given in zip(there, arguments, strict=True):
        if isinstance(given, np.ndarray):
            assert out is not sent
            assert device.to_host(sent).tobytes() == given.tobytes()
    return device.to_host(out)


def launches(call: Callable[..., Any], *arguments: Any) -> list[tuple[str, emulator.Costs]]:
    """The kernels that a call launches in the emulator, in order, and what each costs; it stays selected, with checks."""
    seen: list[tuple[str, emulator.Costs]] = []
    checks = emulator.Checks(schedules=1, costs=True, report=lambda name, costs: seen.append((name, costs)))
    device.select("cpu", check=checks)
    call(*arguments)
    return seen


def costs_of(call: Callable[..., Any], *arguments: Any) -> emulator.Costs:
    """What the only launch of a call costs."""
    ((_, costs),) = launches(call, *arguments)
    return costs


def example_row(day: Day, label: str) -> list[float]:
    """The numbers behind a label of the worked example on a day's page."""
    text = (day.lesson / "README.md").read_text()
    found = re.search(rf"^    {label} +((?:-?[\d.]+,? +)*-?[\d.]+)", text, re.MULTILINE)
    assert found, f"{day.name}: no row {label!r}"
    return [float(n) for n in found[1].replace(",", " ").split()]


def huge(dtype: np.dtype, *shape: int) -> SimpleNamespace:
    """What arguments are checked by, of an array that no memory has room for."""
    return SimpleNamespace(shape=shape, ndim=len(shape), dtype=dtype, flags=SimpleNamespace(c_contiguous=True))
