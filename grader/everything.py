"""Many gradings at a time, each against what it should come to: lessons, solutions, stubs, mutants."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from grader import mutants, stubs
from grader.curriculum import Day
from grader.grade import GraderError, grade
from grader.mutants import Mutant, Workshop
from grader.verdict import Check, Report, Verdict


@dataclass(frozen=True)
class Work:
    """One grading to do.

    Attributes:
        kind: `lesson`, `solution`, `stub` or `mutant`.
    """

    day: Day
    kind: str
    mutant: Mutant | None = None

    @property
    def name(self) -> str:
        """As the screen shows it."""
        return f"{self.day.name} {self.mutant.name if self.mutant else self.kind}"


@dataclass(frozen=True)
class Result:
    """One grading that was done, and why it is not what it should be ("" where it is)."""

    work: Work
    report: Report
    problem: str

    @property
    def ok(self) -> bool:
        """Whether it came to what it should."""
        return not self.problem

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"kind": self.work.kind, "name": self.work.name, "problem": self.problem, **self.report.as_json()}


def collect(days: Sequence[Day], kinds: Sequence[str]) -> list[Work]:
    """What there is to grade, the longest first: a solution runs everything."""
    work = [Work(day, kind) for kind in ("solution", "lesson", "stub") if kind in kinds for day in days]
    if "mutant" in kinds:
        work += [Work(day, "mutant", mutant) for day in days for mutant in mutants.mutants(day)]
    return work


def run(work: Sequence[Work], *, device: str, seed: int, jobs: int, screen: Any) -> list[Result]:
    """Grade all of it.

    Args:
        jobs: gradings at a time; 0: one for each core, on a GPU one.
        screen: a console, or None to say nothing.
    """
    jobs = jobs or (1 if device == "cuda" else os.cpu_count() or 1)
    began = time.monotonic()
    results: dict[Work, Result] = {}
    with Workshop() as workshop, ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_one, one, workshop, device, seed): one for one in work}
        try:
            for done in as_completed(waiting):
                result = results[waiting[done]] = done.result()
                if screen is not None:
                    _show(screen, result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if screen is not None:
        good = sum(r.ok for r in results.values())
        verdict = "as they should be" if work[0].kind != "lesson" else "passed"
        screen.print(
            f"{good} of {len(work)} {verdict}, in {time.monotonic() - began:.0f} s   seed {seed}", soft_wrap=True
        )
    return [results[one] for one in work]


def _one(work: Work, workshop: Workshop, device: str, seed: int) -> Result:
    folder = work.day.lesson if work.kind == "lesson" else work.day.solution
    if work.kind == "mutant":
        assert work.mutant is not None
        folder = workshop.folder(work.day, work.mutant)
    elif work.kind == "stub":
        folder = workshop.folder_of(f"{work.day.name}-stub", stubs.stub_files(work.day))
    try:
        report = grade(work.day, folder, device=device, seed=seed)
    except GraderError as error:
        report = Report(work.day.number, work.day.slug, str(folder), device or "cpu", seed)
        report.checks.append(Check("files", Verdict.CRASHED, str(error)))
    return Result(work, report, "".join(_problems(work, report)))


def _problems(work: Work, report: Report) -> Iterator[str]:
    """Why a grading is not what it should be."""
    wanted = {"stub": (Verdict.NOT_SOLVED,), "mutant": work.mutant.verdicts if work.mutant else ()}
    expected = wanted.get(work.kind, (Verdict.PASSED,))
    if report.verdict not in expected:
        yield f"{report.verdict.words}: expected {' or '.join(v.words for v in expected)}"
    elif work.mutant is not None:
        said = [text for check in report.checks for label, text in check.rows if label == "looks like"]
        if said != [f"{work.mutant.name}: {work.mutant.diagnosis}"]:
            yield f"the diagnosis is {said or 'missing'}: expected {work.mutant.name}"


def _show(screen: Any, result: Result) -> None:
    from rich.text import Text

    mark, style = ("✓", "green") if result.ok else ("✗", "bold red")
    what = result.report.verdict.words if result.ok else result.problem
    line = Text.assemble((mark, style), f" {result.work.name:<34} {what}")
    line.append(f"   {result.report.seconds:.1f} s", style="dim")
    screen.print(line, soft_wrap=True)
