"""What the lesson costs beside the reference: memory traffic, bank conflicts, barriers, launches, host memory, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grader import recognise
from grader.answers import failure
from grader.bench import NO_REFERENCE, Bench
from grader.models import ModelMissing
from grader.runner import Worker
from grader.spec import Case, Task
from grader.verdict import Check, Verdict


def run(bench: Bench) -> None:
    """Each case that counts, as a check of its own, up to the first that is not as it should be."""
    cases = [(task, case) for task, case in bench.cases() if case.count_costs]
    if not cases:
        return
    mine = counting_worker(bench, own=True)
    workers = [(mine, bench.folder)]
    if bench.day.has_solution:
        workers.append((counting_worker(bench, own=False), bench.day.solution))
    for worker, folder in workers:
        loaded = bench.load(worker) if worker is mine else worker.load(folder)
        if loaded["outcome"] != "ok":
            bench.add(failure("costs", loaded))
            return
    for task, case in cases:
        _compare(bench, task, case, [worker for worker, _ in workers], several=len(cases) > 1)
        if bench.failed:
            return


def counting_worker(bench: Bench, own: bool) -> Worker:
    """A worker that counts what a call costs."""
    return bench.new_worker("cpu", own=own, **counting(bench))


def counting(bench: Bench) -> dict[str, Any]:
    """What such a worker is told."""
    outputs = sorted({name for task in bench.checks.tasks for name in task.outputs})
    host_memory = any("host bytes" in task.cost_limits for task in bench.checks.tasks)
    return {"check": True, "costs": True, "host_memory": host_memory, "outputs": outputs, "schedules": 1}


def _compare(bench: Bench, task: Task, case: Case, workers: list[Worker], several: bool) -> None:
    """One case: the lesson's counts beside the reference's, where there is one."""
    main = next(iter(task.cost_limits))
    name = {"global bytes": "memory traffic", "host bytes": "host memory", "milliseconds": "time"}.get(main, main)
    name = f"{name}, {task.function}" if several else name
    try:
        args = bench.arguments(case)
    except ModelMissing as missing:
        bench.add(Check(name, Verdict.NOT_RUN, str(missing)))
        return
    counts = []
    for worker in workers:
        answer = counted(bench, worker, task, args)
        if answer["outcome"] != "ok":
            bench.add(failure(name, answer))
            return
        counts.append(answer["costs"])
    ours = counts[0]
    amount = f"{ours[main]:,} {'bytes' if main.endswith('bytes') else main}"
    if len(counts) == 1:
        bench.add(Check(name, Verdict.NOT_RUN, f"{amount}; {NO_REFERENCE}", figures={"mine": ours}))
        return
    theirs = counts[1]
    if theirs["launches"] and not ours["launches"]:
        problem = "no kernel of the lesson is launched: the numbers are right, and computed elsewhere"
        bench.add(Check(name, Verdict.WRONG, problem, figures={"mine": ours, "reference": theirs}))
        return
    over = [
        (what, f"{ours[what]:,} where the reference needs {theirs[what]:,}; at most {limit:g} × that")
        for what, limit in task.cost_limits.items()
        if not ratio(ours[what], theirs[what]) <= limit
    ]
    figures: dict[str, Any] = {"mine": ours, "reference": theirs, "limits": dict(task.cost_limits)}
    if over:
        rows = (*over, *recognise.costs(bench, task, args, ours))
        bench.add(Check(name, Verdict.WASTEFUL, f"right, but {over[0][0]} are too many", rows, figures))
        return
    detail = f"{amount}, {ratio(ours[main], theirs[main]):.2f} × the reference"
    bench.add(Check(name, Verdict.PASSED, detail, figures=figures))


def counted(bench: Bench, worker: Worker, task: Task, args: Sequence[Any]) -> dict[str, Any]:
    """A call that counts; where host memory does, after one that compiles the kernels, which takes memory of its own."""
    if bench.has_kernel and "host bytes" in task.cost_limits:
        worker.call(task.function, args, task.in_place)
    return worker.call(task.function, args, task.in_place)


def ratio(mine: float, reference: float) -> float:
    """How many times as much; 1 where both are nothing."""
    return (mine + 1e-9) / (reference + 1e-9) if mine or reference else 1.0


def same(mine: dict[str, float], theirs: dict[str, float], names: tuple[str, ...]) -> bool:
    """Whether two calls cost the same: counters exactly, host memory nearly, time within a factor of three."""
    slack = {"host bytes": (1.05, 4096), "milliseconds": (3.0, 0)}

    def near(name: str) -> bool:
        times, plus = slack.get(name, (1.0, 0))
        less, more = sorted((mine[name], theirs[name]))
        return more <= times * less + plus

    return all(near(name) for name in names)
