"""What can run where: a test that cannot is NOT RUN with the reason, and the summary counts those apart from passes."""

from __future__ import annotations

import collections
import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from engine import device

    for item in items:
        if item.get_closest_marker("gpu"):
            reason = device.why_no_cuda()
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=f"NOT RUN: {reason}"))
        if item.get_closest_marker("goldens"):
            absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
            if absent:
                why = f"NOT RUN: {' and '.join(absent)} not installed (pip install -e '.[goldens]')"
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("NOT RUN: these are not passes")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:>4}  {reason.removeprefix('NOT RUN: ')}")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY
