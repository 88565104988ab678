"""Day 7 end to end: the stub is NOT SOLVED, the solution passes, every mutant fails with its own diagnosis."""

from __future__ import annotations

import pytest

from grader import mutants, stubs
from grader.curriculum import find
from grader.grade import grade
from grader.verdict import Verdict

DAY = find("day07")
MUTANTS = mutants.mutants(DAY)


def test_stub_is_not_solved():
    report = grade(DAY, DAY.lesson, device="cpu", seed=1)
    assert report.verdict is Verdict.NOT_SOLVED
    assert report.checks[0].detail.startswith("day 7:")


def test_unsolved_kernel_is_named(tmp_path):
    (tmp_path / "kernel.cu").write_text((DAY.lesson / "kernel.cu").read_text())
    (tmp_path / "lesson.py").write_text((DAY.solution / "lesson.py").read_text())
    report = grade(DAY, tmp_path, device="cpu", seed=1)
    assert report.verdict is Verdict.NOT_SOLVED
    assert "kernel.cu" in report.checks[-1].detail


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_solution_passes(seed):
    report = grade(DAY, DAY.solution, device="cpu", seed=seed)
    assert report.verdict is Verdict.PASSED, report.as_json()
    shares = [c.figures["share_of_budget"] for c in report.checks if "share_of_budget" in c.figures]
    assert len(shares) >= 17
    assert all(0 <= s <= 1 for s in shares)
    assert [c.name for c in report.checks if c.verdict is Verdict.NOT_RUN and "SmolLM2" not in c.name] == ["speed"]


def test_there_is_a_mutant_of_every_kind():
    assert {m.kind for m in MUTANTS} == set(mutants.KINDS)
    assert len(MUTANTS) >= 8


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_fails_with_its_diagnosis(mutant):
    with mutants.Workshop() as workshop:
        report = grade(DAY, workshop.folder(DAY, mutant), device="cpu", seed=7)
    assert report.verdict in mutant.verdicts, report.as_json()
    said = [text for check in report.checks for label, text in check.rows if label == "looks like"]
    assert said == [f"{mutant.name}: {mutant.diagnosis}"]


def test_the_race_of_the_missing_barrier_is_shown_at_both_lines():
    mutant = next(m for m in MUTANTS if m.name == "missing-barrier")
    with mutants.Workshop() as workshop:
        report = grade(DAY, workshop.folder(DAY, mutant), device="cpu", seed=7)
    rows = dict(report.checks[-1].rows)
    assert "data race on shared `partial" in rows["unsafe"]
    lines = [text for label, text in report.checks[-1].rows if label.startswith("kernel.cu:")]
    assert any("partial[warp] = value" in t for t in lines)
    assert any("total += partial[w]" in t for t in lines)
    assert "__syncthreads()" in rows["do"]


def test_stubs_are_up_to_date():
    assert stubs.stale() == []


def test_solving_a_stub_only_adds_lines():
    for name, stub in stubs.stub_files(DAY).items():
        solved = (DAY.solution / name).read_text().splitlines()
        given = [
            line
            for line in stub.splitlines()
            if not line.strip().startswith(("//", "#", "raise", "(void)", "return value"))
        ]
        rest = iter(solved)
        assert all(line in rest for line in given), name
