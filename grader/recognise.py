"""Which named mistake a failure looks like: the mutant that fails in the same way, on the same input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from grader import compare, mutants
from grader.answers import VERDICTS
from grader.bench import Bench
from grader.runner import Worker
from grader.spec import Allowed, BadInput, Task
from grader.verdict import Verdict

Rows = list[tuple[str, str]]
MUTANT_LIMIT_S = 60.0  # a call compiles its kernels first, on a machine that may be doing the same for others
HANGING_LIMIT_S = 12.0  # beside a lesson that timed out: a mutant that does the same is waited for to the end


def _rows(bench: Bench, mutant: mutants.Mutant | None) -> Rows:
    if mutant is None:
        return []
    hint = f"python -m grader hint {bench.day.name} {mutant.hint}"
    return [("looks like", f"{mutant.name}: {mutant.diagnosis}"), ("hint", hint)]


def _loaded(bench: Bench, verdict: Verdict, **options: Any) -> Iterator[tuple[mutants.Mutant, Worker]]:
    """The mutants that may fail with that verdict, each loaded into a worker.

    Those of which it is the first verdict come before those of which it is another. In each group, those that may touch what
    they should not come last, and nothing runs after them in their process, except under the checker.
    """
    worker: Worker | None = None
    fitting = [mutant for mutant in mutants.mutants(bench.day) if verdict in mutant.verdicts]
    with mutants.Workshop() as workshop:
        try:
            for mutant in sorted(fitting, key=lambda m: (m.verdicts[0] is not verdict, _harmful(m))):
                if worker is None or worker.process.poll() is not None or worker.closed:
                    limit_s = HANGING_LIMIT_S if verdict is Verdict.TIMED_OUT else MUTANT_LIMIT_S
                    worker = Worker("cpu", call_limit_s=limit_s, seed=bench.seed, **options)
                if worker.load(workshop.folder(bench.day, mutant))["outcome"] == "ok":
                    yield mutant, worker
                if _harmful(mutant) and not options.get("check"):
                    worker.close()
        finally:
            if worker is not None:
                worker.close()


def _harmful(mutant: mutants.Mutant) -> bool:
    return Verdict.UNSAFE in mutant.verdicts or Verdict.CRASHED in mutant.verdicts


def numbers(bench: Bench, task: Task, args: Sequence[Any], answer: dict[str, Any], expected: Any) -> Rows:
    """The mutant that gives the same wrong result, or fails in the same words; the nearest where several do.

    A mutant whose answer is right here explains nothing: it would match whatever is wrong by little.
    """
    verdict = Verdict.WRONG if answer["outcome"] == "ok" else VERDICTS.get(answer["outcome"], Verdict.CRASHED)
    if verdict not in (Verdict.WRONG, Verdict.CRASHED, Verdict.TIMED_OUT):
        return []
    near = _near(task.budget(*args) if task.budget is not None else 0.0)
    nearest, distance = None, float("inf")
    for mutant, worker in _loaded(bench, verdict):
        theirs = worker.call(task.function, args, task.in_place)
        if theirs["outcome"] != answer["outcome"]:
            continue
        if theirs["outcome"] != "ok":
            apart = 0.0 if theirs.get("type") == answer.get("type") and _message(theirs) == _message(answer) else None
        elif compare.judge(task, args, theirs["result"], expected).right:
            apart = None
        else:
            mutants_result, result = (compare.part(task, args, one["result"])[0] for one in (theirs, answer))
            apart = compare.same(mutants_result, result, near)
        if apart is not None and apart < distance:
            nearest, distance = mutant, apart
        if distance == 0.0:
            break
    return _rows(bench, nearest)


def _near(budget: Any) -> Any:
    """How far apart two results may be and still count as wrong in the same way: four budgets."""
    if isinstance(budget, Mapping):
        return {name: _near(one) for name, one in budget.items()}
    allowed = budget if isinstance(budget, Allowed) else Allowed(budget)
    return Allowed(4 * allowed.relative, 4 * allowed.absolute)


def _message(answer: dict[str, Any]) -> str:
    """The words of a failure, without the place of a scratch file."""
    return " ".join(w for w in str(answer.get("message", "")).split() if "/" not in w)


def changes(bench: Bench, task: Task, args: Sequence[Any], answer: dict[str, Any]) -> Rows:
    """The mutant that changes the same arguments."""

    def matches(_mutant: mutants.Mutant, worker: Worker) -> bool:
        theirs = worker.call(task.function, args, task.in_place)
        return theirs["outcome"] == "ok" and all(theirs[w] == answer[w] for w in ("changed", "changed_files"))

    return _first(bench, Verdict.WRONG, matches)


def shared(bench: Bench, task: Task, args: Sequence[Any]) -> Rows:
    """The mutant whose results lie in the same memory."""

    def matches(_mutant: mutants.Mutant, worker: Worker) -> bool:
        return bool(worker.call(task.function, args, again=True).get("shared"))

    return _first(bench, Verdict.WRONG, matches)


def manners(bench: Bench, bad: list[tuple[Task, BadInput]], problems: dict[str, str]) -> Rows:
    """The mutant that lets the same bad input pass."""
    from grader.stages.manners import accepted

    telling = sorted(bad, key=lambda one: one[1].name not in problems)  # most mutants differ in the first of these

    def how(problems: dict[str, str], name: str) -> str:
        return problems.get(name, "").split(":")[0]

    def matches(_mutant: mutants.Mutant, worker: Worker) -> bool:
        return all(how(accepted(bench, worker, [one]), one[1].name) == how(problems, one[1].name) for one in telling)

    return _first(bench, Verdict.WRONG, matches)


def safety(bench: Bench, task: Task, args: Sequence[Any], finding: dict[str, Any]) -> Rows:
    """The mutant in which the checker finds the same."""
    outputs = sorted({name for t in bench.checks.tasks for name in t.outputs})

    def matches(_mutant: mutants.Mutant, worker: Worker) -> bool:
        answer = worker.call(task.function, args, task.in_place)
        return answer["outcome"] == "unsafe" and _symptom(answer["findings"][0]) == _symptom(finding)

    return _first(bench, Verdict.UNSAFE, matches, check=True, outputs=outputs)


def _symptom(finding: dict[str, Any]) -> tuple[Any, ...]:
    """What was found, at which element, in which lines, by which threads.

    Outside all arrays, the words say which array is nearest: that depends on where each process has its memory.
    """
    places = ((place["text"], str(place["block"]), str(place["thread"])) for place in finding["places"])
    return finding["kind"], "" if finding["kind"] == "out-of-bounds" else finding["message"], *places


def costs(bench: Bench, task: Task, args: Sequence[Any], mine: dict[str, float]) -> Rows:
    """The wasteful mutant that costs the same."""
    from grader.stages.costs import counted, counting, same

    def matches(_mutant: mutants.Mutant, worker: Worker) -> bool:
        answer = counted(bench, worker, task, args)
        return answer["outcome"] == "ok" and same(mine, answer["costs"], tuple(task.cost_limits))

    return _first(bench, Verdict.WASTEFUL, matches, **counting(bench))


def _first(bench: Bench, verdict: Verdict, matches: Callable[[mutants.Mutant, Worker], bool], **options: Any) -> Rows:
    for mutant, worker in _loaded(bench, verdict, **options):
        if matches(mutant, worker):
            return _rows(bench, mutant)
    return []
