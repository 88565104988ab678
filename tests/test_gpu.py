"""On a GPU: the solutions pass there too, and the emulator computes what the GPU computes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suites import agreement
from grader.curriculum import days
from grader.grade import grade
from grader.verdict import Verdict

WRITTEN = [day for day in days() if day.written]


@pytest.mark.gpu
@pytest.mark.parametrize("day", WRITTEN, ids=lambda d: d.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_solution_passes_on_gpu(day, seed):
    report = grade(day, day.solution, device="cuda", seed=seed)
    assert report.verdict is Verdict.PASSED, report.as_json()
    assert "cpu" not in report.device
    timed = [c for c in report.checks if c.name == "speed"]
    assert all(c.verdict is Verdict.PASSED for c in timed)


@pytest.mark.gpu
def test_emulator_agrees_with_gpu():
    cases = agreement.run({})["cases"]
    ran = [c for c in cases if "not_run" not in c]
    assert len(ran) >= 15
    for case in ran:
        assert case["share_of_budget"] <= 2.0, case  # each may use its whole budget, one up and one down


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [(1.0, 1.0, 0), (1.0, np.nextafter(np.float32(1), np.float32(2)), 1), (-0.0, 0.0, 0), (-1e-45, 1e-45, 2)],
)
def test_ulps(a, b, distance):
    assert agreement.ulps(np.array([a], np.float32), np.array([b], np.float32)) == distance
