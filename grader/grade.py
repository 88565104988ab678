"""Grades one lesson: its numbers, its manners with bad input, its safety and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from grader.answers import failure
from grader.bench import Bench
from grader.checks import load
from grader.curriculum import Day
from grader.runner import CALL_LIMIT_S
from grader.stages import costs, manners, numbers, safety, speed
from grader.verdict import Check, Report, Verdict


class GraderError(Exception):
    """A lesson that cannot be graded at all, such as a folder without its files."""


def grade(
    day: Day,
    folder: Path,
    *,
    device: str = "",
    seed: int,
    keep_going: bool = False,
    call_limit_s: float = CALL_LIMIT_S,
    on_check: Callable[[Check], None] | None = None,
    sandboxed: bool = False,
    hidden: Sequence[Path] = (),
    memory_limit: int | None = None,
) -> Report:
    """Grade the lesson in a folder.

    Args:
        device: `cuda`, `cpu`, or "" for the best that answers.
        seed: of every random number.
        keep_going: run all cases, also after a failure.
        call_limit_s: seconds that one call may take.
        on_check: told of each check as it ends.
        sandboxed: run the lesson in namespaces of its own (see grader/sandbox.py).
        hidden: files and folders that it cannot see there, beside those that no lesson can.
        memory_limit: bytes that the lesson may hold.

    Raises:
        GraderError: a file of the lesson is missing or cannot be read.
    """
    if folder == day.solution and not day.has_solution:
        raise GraderError(f"{day.name}: this edition of the course has no solution of it")
    for name in day.files:
        try:
            (folder / name).read_bytes()
        except FileNotFoundError as error:
            expected = f"{day.name} is made of {', '.join(day.files)}"
            raise GraderError(f"{folder / name}: no such file; {expected}") from error
        except OSError as error:
            raise GraderError(f"{folder / name}: cannot be read: {error.strerror}") from error
    started = time.monotonic()
    with ExitStack() as stack:
        bench = Bench(
            day, folder, load(day.number), device=device, seed=seed, call_limit_s=call_limit_s, on_check=on_check,
            sandboxed=sandboxed, hidden=hidden, memory_limit=memory_limit, stack=stack,
        )  # fmt: skip
        _run(bench, keep_going)
        bench.report.printed = bench.worker.printed()
        bench.worker.close()
        if bench.worker.left_behind:
            detail = f"the lesson left {bench.worker.left_behind} running, which were ended with it"
            bench.add(Check("processes", Verdict.CRASHED, detail))
    bench.report.seconds = time.monotonic() - started
    return bench.report


def _run(bench: Bench, keep_going: bool) -> None:
    """Everything, in the order in which a learner can use it."""
    if bench.has_kernel:
        bench.checked()  # starts while the numbers are compared
    loaded = bench.load(bench.worker)
    if loaded["outcome"] != "ok":
        bench.add(failure("lesson.py loads", loaded))
        return
    bench.report.device = bench.worker.device_label
    if not numbers.run(bench, keep_going):
        return
    manners.run(bench)
    safety.run(bench)
    if not bench.failed:
        costs.run(bench)
        speed.run(bench)
