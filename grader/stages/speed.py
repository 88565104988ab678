"""Time on a GPU beside the reference, on the same machine and data. Without a GPU: NOT RUN."""

from __future__ import annotations

from grader.answers import failure
from grader.bench import NO_REFERENCE, Bench
from grader.models import ModelMissing
from grader.spec import Task
from grader.verdict import Check, Verdict


def run(bench: Bench) -> None:
    """Every function that is timed."""
    timed = [task for task in bench.checks.tasks if task.speed is not None]
    for task in timed:
        _time(bench, task, "speed" if len(timed) == 1 else f"speed, {task.function}")


def _time(bench: Bench, task: Task, name: str) -> None:
    speed = task.speed
    assert speed is not None
    if bench.worker.device_name != "cuda":
        bench.add(Check(name, Verdict.NOT_RUN, f"no GPU here: {speed.name} is timed on one"))
        return
    try:
        args = bench.arguments(speed)
    except ModelMissing as missing:
        bench.add(Check(name, Verdict.NOT_RUN, str(missing)))
        return
    figures = []
    workers = [(bench.worker, bench.folder)]
    if bench.day.has_solution:  # in a process of its own: nothing of the lesson's is in it
        workers.append((bench.new_worker("cuda", own=False), bench.day.solution))
    for worker, folder in workers:
        answer = worker.load(folder, bench.protected if worker is bench.worker else ())
        if answer["outcome"] == "ok":
            answer = worker.measure(task.function, args)
        if answer["outcome"] != "ok":
            bench.add(failure(name, answer))
            return
        figures.append({k: v for k, v in answer.items() if k != "outcome"})
    mine = figures[0]
    rate = speed.rate(args, mine["median_s"])
    said = ", ".join(f"{value:,.{0 if value >= 100 else 1}f} {unit}" for unit, value in rate.items())
    if len(figures) == 1:
        detail = f"{speed.name}: {said}; {NO_REFERENCE}"
        bench.add(Check(name, Verdict.NOT_RUN, detail, figures={"mine": mine, **rate}))
        return
    reference = figures[1]
    ratio = mine["median_s"] / reference["median_s"]
    detail = f"{speed.name}: {said}, {1 / ratio:.2f} × the reference"
    verdict = Verdict.PASSED if ratio <= speed.slowest else Verdict.WASTEFUL
    bench.add(Check(name, verdict, detail, figures={"mine": mine, "reference": reference, **rate}))
