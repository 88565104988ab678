"""How each day is graded: data only, in the words of `grader.spec`."""

from __future__ import annotations

import importlib

from grader.spec import DayChecks


def load(number: int) -> DayChecks:
    """The checks of a day that is written."""
    checks: DayChecks = importlib.import_module(f"grader.checks.day{number:02}").CHECKS
    return checks
