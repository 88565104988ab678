"""A whole cohort: what is there to grade, what was graded already, what came of it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from grader import sandbox
from grader.cohort import pool, submissions
from grader.cohort.pool import Result, Settings, Task
from grader.cohort.state import State, key
from grader.cohort.submissions import CohortError, Found, Submission, Unusable
from grader.curriculum import REPOSITORY, Day
from grader.verdict import Verdict


@dataclass
class Gradebook:
    """Every student's result for every day.

    Attributes:
        results: by student and day; a day that was not handed in has none.
        known: how many were graded in an earlier run.
    """

    found: Found
    settings: Settings
    when: str
    known: int = 0
    results: dict[tuple[str, int], Result] = field(default_factory=dict)

    def result(self, student: str, day: Day) -> Result | None:
        """What a student's day came to, or None."""
        return self.results.get((student, day.number))

    def passed(self, student: str) -> int:
        """How many days a student has passed."""
        return sum((self.result(student, d) or {}).get("verdict") == Verdict.PASSED for d in self.found.days)


@dataclass(frozen=True)
class Progress:
    """What is told while a cohort is graded."""

    started: Callable[[Gradebook, int], None] = lambda _book, _todo: None
    done: Callable[[Submission, Result], None] = lambda _submission, _result: None


def grade_cohort(
    root: Path,
    out: Path,
    *,
    wanted: Sequence[Day] | None = None,
    jobs: int = 0,
    seed: int | None = None,
    device: str = "",
    call_limit_s: float = 20.0,
    total_limit_s: float = 300.0,
    memory_limit: int | None = None,
    progress: Progress | None = None,
) -> Gradebook:
    """Grade a folder of submissions. What was graded before, and has not changed, is not graded again.

    Args:
        out: folder of the gradebook and of its state.
        wanted: days; None for all that somebody handed in.
        jobs: submissions at a time; 0 for what the machine has room for.
        seed: for everybody; None for that of the last run here, or a fresh one.
        device: `cuda`, `cpu`, or "" for the best that answers.
        call_limit_s, total_limit_s: seconds for one call, and for one grading.
        memory_limit: bytes for each submission.

    Raises:
        CohortError: the folder or the device cannot be used.
    """
    progress = progress or Progress()
    found = submissions.find(root, wanted)
    device = working_device(device)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CohortError(f"{out}: {error.strerror}") from error
    with State(out) as state:
        jobs = jobs or pool.jobs_by_default(device)
        chosen = seed if seed is not None else state.seed if state.seed is not None else secrets.randbelow(100_000)
        settings = Settings(
            device, chosen, jobs, sandbox.available(), (root.resolve(), out.resolve()), call_limit_s, total_limit_s,
            memory_limit or pool.memory_for(jobs),
        )  # fmt: skip
        state.start(chosen)
        book = Gradebook(found, settings, datetime.now(UTC).isoformat(timespec="seconds"))
        tasks = _tasks(book, state)
        progress.started(book, len(tasks))

        def done(task: Task, result: Result) -> None:
            state.add(task.key, result)
            book.results[task.submission.student, task.submission.day.number] = result
            progress.done(task.submission, result)

        if tasks and device == "cpu":
            from emulator import launch

            launch.runtime()  # compiled once, not by all of them at the same time
        pool.run(tasks, settings, done)
    return book


def _tasks(book: Gradebook, state: State) -> list[Task]:
    """What is still to be graded; the others' results go into the book."""
    tasks, settings = [], book.settings
    for submission in book.found.submissions:
        place = submission.student, submission.day.number
        try:
            files = submissions.take(submission)
        except Unusable as error:
            book.results[place] = pool.failure(submission, settings, Verdict.CRASHED, str(error))
            continue
        source = submissions.source_hash(files)
        its_key = key(submission.student, submission.day, source, settings.seed, settings.device, settings.call_limit_s)
        if its_key in state.results:
            book.results[place] = state.results[its_key]
            book.known += 1
        else:
            tasks.append(Task(submission, files, its_key))
    return tasks


def working_device(wanted: str) -> str:
    """The device that everybody is graded on, `cuda` or `cpu`; found out in another process, so that no GPU is held here.

    Raises:
        CohortError: it does not work here.
    """
    code = "import sys; from engine import device; print(device.select(sys.argv[1] or None))"
    done = subprocess.run(
        [sys.executable, "-c", code, wanted], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    if done.returncode != 0:
        raise CohortError(
            (done.stderr.strip().splitlines() or ["the device cannot be found out"])[-1].partition(": ")[2]
        )
    return done.stdout.strip()
