"""Is bad input refused, with a message that helps?"""

from __future__ import annotations

from collections.abc import Sequence

from grader import recognise
from grader.bench import Bench
from grader.models import ModelMissing
from grader.runner import Worker
from grader.spec import BadInput, Task
from grader.verdict import Check, Verdict

NAME = "bad input"


def run(bench: Bench) -> None:
    """All bad input of all functions, as one check."""
    bad, missing = [], []
    for task in bench.checks.tasks:
        for one in task.bad_input:
            try:
                bench.arguments(one)
                bad.append((task, one))
            except ModelMissing as why:
                missing.append(str(why))
    if missing:
        bench.add(Check(f"{NAME}, {len(missing)} more", Verdict.NOT_RUN, missing[0]))
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
        wanted = (one.mentions,) if isinstance(one.mentions, str) else one.mentions
        if answer["outcome"] != "raised" or not answer.get("value_error"):
            what = "accepted" if answer["outcome"] == "ok" else f"{answer.get('type', answer['outcome'])}"
            problems[one.name] = f"{what}: expected a ValueError that names {named(wanted)}"
        elif absent := [word for word in wanted if word not in answer["message"]]:
            problems[one.name] = f"the message does not name {named(absent)}: {answer['message']}"
    return problems


def named(words: Sequence[str]) -> str:
    """Words, each in backticks."""
    return ", ".join(f"`{word}`" for word in words)
