"""Does each function compute what it should?"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from grader import recognise, stubs
from grader.answers import failure, finding_rows
from grader.bench import FINE, Bench
from grader.compare import judge
from grader.models import ModelMissing
from grader.spec import Case, Task
from grader.verdict import Check, Verdict

Finding = tuple[Task, Case, dict[str, Any]]  # what the checker found, and in which case
HOPELESS = (Verdict.NOT_SOLVED, Verdict.COMPILE_ERROR, Verdict.CRASHED, Verdict.TIMED_OUT)


def run(bench: Bench, keep_going: bool) -> bool:
    """All cases up to the first failure; whether all were right."""
    cases = bench.cases()
    for i, (task, case) in enumerate(cases):
        check = _case(bench, task, case)
        bench.add(check)
        if check.verdict in FINE:
            continue
        if check.verdict in HOPELESS or not keep_going:
            bench.report.remaining = len(cases) - i - 1
            return False
    return not bench.failed


def _case(bench: Bench, task: Task, case: Case) -> Check:
    try:
        args = bench.arguments(case)
        answer = bench.worker.call(task.function, args, task.in_place, again=task.fresh and case is task.cases[0])
        expected = bench.expected(task, args)
    except ModelMissing as missing:
        return Check(case.name, Verdict.NOT_RUN, str(missing))
    if answer["outcome"] != "ok":
        # A kernel's nonsense can crash the process, or make the host's code refuse what it is given.
        finding = _finding(bench, task, case) if answer["outcome"] in ("crashed", "raised") else None
        return _explained(bench, task, case, failure(case.name, answer), answer, expected, finding)
    bench.report.pieces |= {p: whose for p, whose in answer.get("pieces", {}).items() if p != bench.day.piece}
    for what, which in (("argument", answer["changed"]), ("file", answer["changed_files"])):
        if which:
            names = ", ".join(map(str, which))
            problem = f"the lesson changed its {what} {names}: it must leave them as they are"
            return Check(case.name, Verdict.WRONG, problem, tuple(recognise.changes(bench, task, args, answer)))
    comparison = judge(task, args, answer["result"], expected)
    if comparison.right and answer.get("shared"):
        problem = "a second call's result lies in the same memory as this one's: each must be a new array"
        return Check(case.name, Verdict.WRONG, problem, tuple(recognise.shared(bench, task, args)))
    figures = {} if task.budget is None else {"share_of_budget": _rounded(comparison.share)}
    if comparison.right:
        detail = "exact" if task.budget is None else f"err {100 * comparison.share:.0f} % of budget"
        return Check(case.name, Verdict.PASSED, detail, figures=figures)
    untouched = _untouched(bench)
    if untouched:
        return Check(case.name, Verdict.NOT_SOLVED, f"{untouched} is as it was: its body is still to be written")
    check = Check(case.name, Verdict.WRONG, comparison.problem, comparison.rows, figures)
    return _explained(bench, task, case, check, answer, expected, _finding(bench, task, case))


def _rounded(share: float) -> float | None:
    return None if np.isnan(share) else round(share, 4)


def _explained(
    bench: Bench, task: Task, case: Case, check: Check, answer: dict[str, Any], expected: Any, found: Finding | None
) -> Check:
    """A failed check with what the checker found, and the mistake that it looks like."""
    rows, known = [], []
    if found:
        of_task, small, finding = found
        rows = finding_rows(finding)
        known = recognise.safety(bench, of_task, bench.arguments(small), finding)
    known = known or recognise.numbers(bench, task, bench.arguments(case), answer, expected)
    return Check(check.name, check.verdict, check.detail, (*check.rows, *rows, *known), check.figures)


def _untouched(bench: Bench) -> str:
    """A file that is still its stub."""
    for name, text in stubs.stub_files(bench.day).items():
        if (bench.folder / name).read_text() == text:
            return name
    return ""


def _finding(bench: Bench, task: Task, case: Case) -> Finding | None:
    """A race or a stray access, which explains a failure better than the failure does.

    In this case if it is small, else in small cases of the same function, else in those of the lesson's other functions.
    """
    small = [(of, one) for of, one in bench.cases() if one.sanitize]
    small = [(task, case)] if case.sanitize else [pair for pair in small if pair[0] is task] or small
    if not small or bench.load(bench.checked())["outcome"] != "ok":
        return None
    for of_task, one in small:
        with contextlib.suppress(ModelMissing):
            answer = bench.checked().call(of_task.function, bench.arguments(one), of_task.in_place)
            if answer["outcome"] == "unsafe":
                return of_task, one, answer["findings"][0]
    return None
