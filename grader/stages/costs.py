"""What the lesson costs beside the reference: memory traffic, bank conflicts, barriers, launches, host memory."""

from __future__ import annotations

from typing import Any

from grader import recognise
from grader.answers import failure
from grader.bench import Bench
from grader.models import ModelMissing
from grader.runner import Worker
from grader.spec import Case, Task
from grader.verdict import Check, Verdict


def run(bench: Bench) -> None:
    """Each case that counts, as a check of its own."""
    cases = [(task, case) for task, case in bench.cases() if case.count_costs]
    if not cases:
        return
    mine, reference = counting_worker(bench, own=True), counting_worker(bench, own=False)
    for worker, folder in ((mine, bench.folder), (reference, bench.day.solution)):
        loaded = worker.load(folder, bench.protected if worker is mine else ())
        if loaded["outcome"] != "ok":
            bench.add(failure("costs", loaded))
            return
    for task, case in cases:
        _compare(bench, task, case, mine, reference, several=len(cases) > 1)


def counting_worker(bench: Bench, own: bool) -> Worker:
    """A worker that counts what a call costs."""
    outputs = sorted({name for task in bench.checks.tasks for name in task.outputs})
    return bench.new_worker("cpu", own=own, check=True, costs=True, outputs=outputs, schedules=1)


def _compare(bench: Bench, task: Task, case: Case, mine: Worker, reference: Worker, several: bool) -> None:
    main = next(iter(task.cost_limits))
    name = {"global bytes": "memory traffic", "host bytes": "host memory"}.get(main, main)
    name = f"{name}, {task.function}" if several else name
    try:
        args = bench.arguments(case)
    except ModelMissing as missing:
        bench.add(Check(name, Verdict.NOT_RUN, str(missing)))
        return
    counts = []
    for worker in (mine, reference):
        answer = worker.call(task.function, args, task.in_place)
        if answer["outcome"] != "ok":
            bench.add(failure(name, answer))
            return
        counts.append(answer["costs"])
    ours, theirs = counts
    over = [
        (what, f"{ours[what]:,} where the reference needs {theirs[what]:,}; at most {limit:g} × that")
        for what, limit in task.cost_limits.items()
        if not ratio(ours[what], theirs[what]) <= limit
    ]
    figures: dict[str, Any] = {"mine": ours, "reference": theirs}
    if over:
        rows = (*over, *recognise.costs(bench, task, args, ours))
        bench.add(Check(name, Verdict.WASTEFUL, f"right, but {over[0][0]} are too many", rows, figures))
        return
    unit = "" if main.endswith("bytes") else f" {main}"
    amount = f"{ours[main]:,} bytes" if main.endswith("bytes") else f"{ours[main]:,}{unit}"
    detail = f"{amount}, {ratio(ours[main], theirs[main]):.2f} × the reference"
    bench.add(Check(name, Verdict.PASSED, detail, figures=figures))


def ratio(mine: float, reference: float) -> float:
    """How many times as much; 1 where both are nothing."""
    return (mine + 1e-9) / (reference + 1e-9) if mine or reference else 1.0


def same(mine: dict[str, float], theirs: dict[str, float], names: tuple[str, ...]) -> bool:
    """Whether two calls cost the same: counters exactly, host memory within a hundredth."""
    return all(
        abs(mine[n] - theirs[n]) <= (0.01 * mine[n] if n == "host bytes" else 0) for n in names
    )  # fmt: skip
