"""Races, stray accesses, uninitialised reads, divergent barriers: what the emulator's checker finds."""

from __future__ import annotations

from grader import recognise
from grader.answers import failure, finding_rows
from grader.bench import SCHEDULES, Bench
from grader.models import ModelMissing
from grader.verdict import Check, Verdict

NAME = "races, bounds, initialisation, divergence"


def run(bench: Bench) -> None:
    """The small cases under the checker, up to the first finding."""
    cases = [(task, case) for task, case in bench.cases() if case.sanitize]
    if not cases or bench.failed:
        return
    loaded = bench.load(bench.checked())
    if loaded["outcome"] != "ok":
        bench.add(failure(NAME, loaded))
        return
    for task, case in cases:
        try:
            args = bench.arguments(case)
        except ModelMissing:
            continue  # said already, where its numbers were to be compared
        answer = bench.checked().call(task.function, args, task.in_place)
        if answer["outcome"] == "unsafe":
            finding = answer["findings"][0]
            rows = [*finding_rows(finding), ("case", f"{case.name}, threads in {finding['order']} order")]
            rows += recognise.safety(bench, task, args, finding)
            bench.add(Check(NAME, Verdict.UNSAFE, finding["message"], tuple(rows)))
            return
        if answer["outcome"] != "ok":
            bench.add(failure(NAME, answer))
            return
    bench.add(Check(NAME, Verdict.PASSED, f"nothing found in {len(cases)} cases, {SCHEDULES} schedules each"))
