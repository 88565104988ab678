"""Is bad input refused, with a message that helps?"""

from __future__ import annotations

from grader import recognise
from grader.bench import Bench
from grader.runner import Worker
from grader.spec import BadInput, Task
from grader.verdict import Check, Verdict

NAME = "bad input"


def run(bench: Bench) -> None:
    """All bad input of all functions, as one check."""
    bad = [(task, one) for task in bench.checks.tasks for one in task.bad_input]
    if not bad:
        return
    problems = accepted(bench, bench.worker, bad)
    if not problems:
        bench.add(Check(NAME, Verdict.PASSED, f"{len(bad)} refused"))
        return
    rows = [*problems.items(), *recognise.manners(bench, bad, problems)]
    bench.add(Check(NAME, Verdict.WRONG, f"{len(problems)} of {len(bad)} not refused as they should be", tuple(rows)))


def accepted(bench: Bench, worker: Worker, bad: list[tuple[Task, BadInput]]) -> dict[str, str]:
    """What was not refused by a ValueError that names what is wrong: the input's name, and what came instead."""
    problems = {}
    for task, one in bad:
        answer = worker.call(task.function, bench.arguments(one), task.in_place)
        if answer["outcome"] != "raised" or answer["type"] != "ValueError":
            what = "accepted" if answer["outcome"] == "ok" else f"{answer.get('type', answer['outcome'])}"
            problems[one.name] = f"{what}: expected a ValueError that names `{one.mentions}`"
        elif one.mentions not in answer["message"]:
            problems[one.name] = f"the message does not name `{one.mentions}`: {answer['message']}"
    return problems
