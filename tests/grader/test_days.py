"""Every written day: its stub is NOT SOLVED, its solution passes, every mutant fails with its own diagnosis."""

from __future__ import annotations

import pytest

from grader import checks, mutants, stubs
from grader.curriculum import days, find
from grader.grade import grade
from grader.verdict import Verdict

DAYS = [day for day in days() if day.written]
MUTANTS = [(day, mutant) for day in DAYS for mutant in mutants.mutants(day)]
NOT_RUN_HERE = ("speed", "no GPU", "python -m engine pull")


@pytest.mark.parametrize("day", DAYS, ids=lambda d: d.name)
def test_stub_is_not_solved(day):
    report = grade(day, day.lesson, device="cpu", seed=1)
    assert report.verdict is Verdict.NOT_SOLVED, report.as_json()
    assert report.checks[0].detail.startswith(f"day {day.number}:")


@pytest.mark.parametrize("day", [d for d in DAYS if "kernel.cu" in d.files], ids=lambda d: d.name)
def test_unsolved_kernel_is_named(day, tmp_path):
    (tmp_path / "kernel.cu").write_text((day.lesson / "kernel.cu").read_text())
    (tmp_path / "lesson.py").write_text((day.solution / "lesson.py").read_text())
    report = grade(day, tmp_path, device="cpu", seed=1)
    assert report.verdict is Verdict.NOT_SOLVED, report.as_json()
    assert "kernel.cu" in report.checks[-1].detail


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("day", DAYS, ids=lambda d: d.name)
def test_solution_passes(day, seed):
    report = grade(day, day.solution, device="cpu", seed=seed)
    assert report.verdict is Verdict.PASSED, report.as_json()
    ran = [c for c in report.checks if c.verdict is Verdict.PASSED]
    assert len(ran) >= 6
    assert all(0 <= c.figures["share_of_budget"] <= 1 for c in ran if "share_of_budget" in c.figures)
    for check in report.checks:
        if check.verdict is Verdict.NOT_RUN:
            assert any(words in check.name + check.detail for words in NOT_RUN_HERE), check


@pytest.mark.parametrize("day", DAYS, ids=lambda d: d.name)
def test_case_names_are_unique(day):
    tasks = checks.load(day.number).tasks
    names = [one.name for task in tasks for one in (*task.cases, *task.bad_input)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("day", DAYS, ids=lambda d: d.name)
def test_there_are_mutants_enough(day):
    mine = [mutant for owner, mutant in MUTANTS if owner is day]
    assert len(mine) >= 6
    assert {m.name for m in mine}.isdisjoint({""})
    assert len({m.name for m in mine}) == len({m.diagnosis for m in mine}) == len(mine)


@pytest.mark.parametrize(("day", "mutant"), MUTANTS, ids=[f"{d.name}-{m.name}" for d, m in MUTANTS])
def test_mutant_fails_with_its_diagnosis(day, mutant):
    with mutants.Workshop() as workshop:
        report = grade(day, workshop.folder(day, mutant), device="cpu", seed=7)
    assert report.verdict in mutant.verdicts, report.as_json()
    said = [text for check in report.checks for label, text in check.rows if label == "looks like"]
    assert said == [f"{mutant.name}: {mutant.diagnosis}"], report.as_json()
    hints = [text for check in report.checks for label, text in check.rows if label == "hint"]
    assert hints == [f"python -m grader hint {day.name} {mutant.hint}"]


def test_the_race_of_a_missing_barrier_is_shown_at_both_lines():
    day = find("day07")
    mutant = next(m for m in mutants.mutants(day) if m.name == "missing-barrier")
    with mutants.Workshop() as workshop:
        report = grade(day, workshop.folder(day, mutant), device="cpu", seed=7)
    rows = dict(report.checks[-1].rows)
    assert "data race on shared `partial" in rows["unsafe"]
    lines = [text for label, text in report.checks[-1].rows if label.startswith("kernel.cu:")]
    assert any("partial[warp] = value" in t for t in lines)
    assert any("total += partial[w]" in t for t in lines)
    assert "__syncthreads()" in rows["do"]


def test_a_race_explains_what_the_host_refuses_though_its_function_has_no_small_case(tmp_path):
    day = find("day22")
    edits = {
        "kernel.cu": ("of_warp[threadIdx.x / 32] = upto;\n  __syncthreads();", "of_warp[threadIdx.x / 32] = upto;"),
        "lesson.py": (
            "scaled = self.scaled(logits, history)\n",
            "scaled = self.scaled(logits, history)\n        if len(logits) > 8:\n            raise ValueError('nonsense')\n",
        ),
    }
    for name, (find_it, replace) in edits.items():
        text = (day.solution / name).read_text()
        assert text.count(find_it) == 1
        (tmp_path / name).write_text(text.replace(find_it, replace))
    report = grade(day, tmp_path, device="cpu", seed=7)
    check = report.checks[-1]
    assert (check.verdict, check.detail) == (Verdict.CRASHED, "ValueError: nonsense")
    assert "data race on shared `of_warp" in dict(check.rows)["unsafe"]
    assert dict(check.rows)["looks like"].startswith("no-barrier-in-the-scan:")


@pytest.mark.parametrize("day", DAYS, ids=lambda d: d.name)
def test_solving_a_stub_only_adds_lines(day):
    """What a stub puts in place of the lesson aside (comments, a raise, silenced warnings), its lines stay, in order."""
    for name, stub in stubs.stub_files(day).items():
        solved = (day.solution / name).read_text().splitlines()
        given = [
            line
            for line in stub.splitlines()
            if not line.strip().startswith(("//", "#", "raise NotImplementedError", "(void)", "return value"))
        ]
        rest = iter(solved)
        assert all(line in rest for line in given), name
