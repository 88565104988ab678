"""What the cases of all lessons send to a learner's code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from grader.checks import load
from grader.curriculum import days

WRITTEN = [day for day in days() if day.written]


def numpy_scalars(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, np.generic):
        yield path
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from numpy_scalars(one, f"{path}[{number}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from numpy_scalars(one, f"{path}.{key}")


@pytest.mark.parametrize("day", WRITTEN, ids=lambda day: day.name)
def test_numbers_are_pythons(day):
    """A NumPy scalar would reach a lesson as an array of no axes, on a GPU as an array there: no page promises that."""
    for task in load(day.number).tasks:
        for case in (*task.cases, *task.bad_input):
            arguments = case.make(np.random.default_rng(1))
            assert not list(numpy_scalars(list(arguments), f"{task.function}, {case.name}: "))
