"""`cohort`: a folder of submissions into a gradebook."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grader.commands.app import stop
from grader.commands.grade import AsJson, Device, check_device

if TYPE_CHECKING:
    from grader.cohort.grading import Gradebook
    from grader.cohort.submissions import Submission


def cohort(
    folder: Annotated[Path, typer.Argument(help="one subfolder for each student, with dayNN_slug/ folders in it")],
    days: Annotated[
        str,
        typer.Option(
            help="only these: 7, or 3,5,8-10; with one day, its files may lie in the students' folders directly"
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="where the gradebook goes; default: FOLDER")] = None,
    jobs: Annotated[int, typer.Option(min=0, help="submissions at a time; 0: one for each core, on a GPU one")] = 0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="of everybody's numbers; default: that of the last run here, or a fresh one"),
    ] = None,
    device: Device = "",
    time_limit: Annotated[float, typer.Option(min=0.1, help="seconds that one call may take")] = 20.0,
    total_limit: Annotated[float, typer.Option(min=1.0, help="seconds that one submission may take")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Grade a folder of submissions into gradebook.csv and gradebook.html; interrupted, the same command goes on."""
    from grader import curriculum, sandbox
    from grader.cohort import gradebook
    from grader.cohort.grading import Progress, grade_cohort
    from grader.cohort.submissions import CohortError

    check_device(device)
    try:
        wanted = curriculum.select([n for n in days.split(",") if n.strip()]) if days else None
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    for day in wanted or ():
        if not day.written:
            raise stop(f"day {day.number} · {day.slug} is {day.absence}")
    if not sandbox.available():
        print(f"WARNING: {sandbox.NOT_CONTAINED}", file=sys.stderr)
    screen = _Screen(quiet=as_json)
    try:
        book = grade_cohort(
            folder, out or folder, wanted=wanted, jobs=jobs, seed=seed, device=device, call_limit_s=time_limit,
            total_limit_s=total_limit, progress=Progress(screen.started, screen.done),
        )  # fmt: skip
        written = gradebook.write(book, out or folder)
    except CohortError as error:
        raise stop(str(error)) from error
    except KeyboardInterrupt:
        screen.interrupted()
        raise
    if as_json:
        print(json.dumps(gradebook.as_json(book)))
        return
    for path in written:
        print(path)


class _Screen:
    """One line for each submission as it ends."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.total, self.count = quiet, 0, 0

    def started(self, book: Gradebook, todo: int) -> None:
        self.total = todo
        if self.quiet:
            return
        settings, found = book.settings, book.found
        print(
            f"{len(found.students)} students, {len(found.submissions)} submissions, {len(found.days)} days   "
            f"{settings.device}   seed {settings.seed}   {settings.jobs} at a time"
        )
        if settings.sandboxed:
            print("contained: no submission sees another, the solutions or your files")
        if book.known:
            print(f"{book.known} are as they were when they were graded")

    def done(self, submission: Submission, result: dict[str, Any]) -> None:
        from grader.verdict import Verdict

        self.count += 1
        if not self.quiet:
            verdict = Verdict(result["verdict"])
            mark = "✓" if verdict is Verdict.PASSED else "✗"
            print(
                f"[{self.count}/{self.total}] {mark} {submission.name}   {verdict.words}   {result['seconds']:.1f} s",
                flush=True,
            )

    def interrupted(self) -> None:
        print(f"{self.count} of {self.total} were graded; the same command goes on", file=sys.stderr)
