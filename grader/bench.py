"""What the stages of one grading share: the lesson, its checks, its workers, the report."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from grader import edition, progress
from grader.curriculum import REPOSITORY, Day
from grader.models import ModelMissing
from grader.runner import Worker, copies
from grader.spec import BadInput, Case, DayChecks, Speed, Task, arguments
from grader.verdict import Check, Report, Verdict

SCHEDULES = 4
FINE = (Verdict.PASSED, Verdict.NOT_RUN)
NO_REFERENCE = "this edition leaves out the solution to compare with"


class Bench:
    """One grading in progress.

    Args:
        device: `cuda`, `cpu`, or "" for the best that answers.
        on_check: told of each check as it ends.
        sandboxed, hidden, memory_limit: see `grader.grade.grade`.
        stack: closes the workers.
    """

    def __init__(
        self,
        day: Day,
        folder: Path,
        checks: DayChecks,
        *,
        device: str,
        seed: int,
        call_limit_s: float,
        on_check: Callable[[Check], None] | None,
        sandboxed: bool,
        hidden: Sequence[Path],
        memory_limit: int | None,
        stack: ExitStack,
    ) -> None:
        self.day, self.folder, self.checks, self.seed, self.on_check = day, folder, checks, seed, on_check
        self.call_limit_s, self.stack = call_limit_s, stack
        self.report = Report(day.number, day.slug, str(folder), device or "cpu", seed)
        given = folder.resolve() == day.solution.resolve()
        self.protected = [] if given else [(day.solution / name).resolve() for name in day.files]
        self.has_kernel = any(name.endswith(".cu") for name in day.files)
        compiled = [Path(importlib.util.cache_from_source(str(p))) for p in self.protected if p.suffix == ".py"]
        self._contained = {
            "sandboxed": sandboxed, "readable": [folder], "hidden": [*hidden, *self.protected, *compiled],
            "memory_limit": memory_limit,
        }  # fmt: skip
        self.worker = self.new_worker(device)
        self._checked: Worker | None = None
        self._loaded: list[Worker] = []

    def new_worker(self, device: str, *, own: bool = True, **options: Any) -> Worker:
        """A worker for the lesson, or one for code of ours."""
        contained: dict[str, Any] = self._contained if own else {}
        worker = Worker(device, call_limit_s=self.call_limit_s, seed=self.seed, **contained, **options)
        return self.stack.enter_context(worker)

    def checked(self) -> Worker:
        """The worker that runs kernels under the emulator's checker; started at the first call."""
        if self._checked is None:
            outputs = sorted({name for task in self.checks.tasks for name in task.outputs})
            self._checked = self.new_worker("cpu", check=True, outputs=outputs, schedules=SCHEDULES)
        return self._checked

    def load(self, worker: Worker) -> dict[str, Any]:
        """Load the lesson into a worker.

        The learner's own runs on the learner's own pieces where its numbers are compared, and everywhere in a student edition,
        which may have no others. A worker is told of them once.
        """
        mine = self.folder.resolve() == self.day.lesson.resolve() and worker not in self._loaded
        compared = worker is self.worker or edition.read(REPOSITORY) is not None
        self._loaded.append(worker)
        return worker.load(self.folder, self.protected, progress.pieces(self.day) if mine and compared else None)

    def arguments(self, what: Case | BadInput | Speed) -> Sequence[Any]:
        """The arguments of a case, from this grading's seed.

        Raises:
            ModelMissing: they need a model that was not pulled, or a part of the engine that a student edition leaves out.
        """
        with _left_out_is_missing():
            return arguments(what, self.seed)

    def expected(self, task: Task, args: Sequence[Any]) -> Any:
        """The oracle's answer, from copies of the arguments.

        Raises:
            ModelMissing: as in `arguments`.
        """
        with _left_out_is_missing():
            return task.oracle(*copies(args))

    def cases(self) -> list[tuple[Task, Case]]:
        """All cases, task by task."""
        return [(task, case) for task in self.checks.tasks for case in task.cases]

    def add(self, check: Check) -> None:
        """Put a check into the report."""
        self.report.checks.append(check)
        if self.on_check is not None:
            self.on_check(check)

    @property
    def failed(self) -> bool:
        """Whether any check failed so far."""
        return any(check.verdict not in FINE for check in self.report.checks)


@contextlib.contextmanager
def _left_out_is_missing() -> Iterator[None]:
    """What a student edition leaves out of the engine says so by a NotImplementedError; elsewhere that is a mistake of ours."""
    try:
        yield
    except NotImplementedError as error:
        if edition.read(REPOSITORY) is None:
            raise
        raise ModelMissing(f"it needs a part of the engine that this edition leaves out ({error})") from error
