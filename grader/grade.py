"""Grades one lesson: its numbers, its manners with bad input, its safety and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from grader import mutants, stubs
from grader.checks import load
from grader.compare import compare
from grader.curriculum import Day
from grader.models import ModelMissing
from grader.runner import Worker, copies
from grader.spec import Case, DayChecks
from grader.verdict import Check, Report, Verdict

SCHEDULES = 4
VERDICTS = {
    "not-solved": Verdict.NOT_SOLVED,
    "compile-error": Verdict.COMPILE_ERROR,
    "timed-out": Verdict.TIMED_OUT,
    "unsafe": Verdict.UNSAFE,
    "no-compiler": Verdict.NOT_RUN,
    "wrong-type": Verdict.WRONG,
}


class GraderError(Exception):
    """A lesson that cannot be graded at all, such as a folder without its files."""


def generator(seed: int, name: str) -> np.random.Generator:
    """The numbers of one case: they depend on the seed and the case's name, not on which cases ran before."""
    return np.random.default_rng([seed, *name.encode()])


def grade(
    day: Day,
    folder: Path,
    *,
    device: str = "",
    seed: int,
    keep_going: bool = False,
    call_limit_s: float = 20.0,
    on_check: Callable[[Check], None] | None = None,
) -> Report:
    """Grade the lesson in a folder.

    Args:
        device: `cuda`, `cpu`, or "" for the best that answers.
        seed: of every random number.
        keep_going: run all cases, also after a failure.
        call_limit_s: seconds that one call may take.
        on_check: told of each check as it ends.

    Raises:
        GraderError: a file of the lesson is missing.
    """
    for name in day.files:
        if not (folder / name).is_file():
            raise GraderError(f"{folder / name}: no such file; {day.name} is made of {', '.join(day.files)}")
    with ExitStack() as stack:
        grading = _Grading(day, folder, load(day.number), device, seed, call_limit_s, on_check, stack)
        started = time.monotonic()
        grading.run(keep_going)
        grading.report.seconds = time.monotonic() - started
    return grading.report


class _Grading:
    """One grading in progress."""

    def __init__(
        self,
        day: Day,
        folder: Path,
        checks: DayChecks,
        device: str,
        seed: int,
        call_limit_s: float,
        on_check: Callable[[Check], None] | None,
        stack: ExitStack,
    ) -> None:
        self.day, self.folder, self.checks, self.seed, self.on_check = day, folder, checks, seed, on_check
        self.device, self.call_limit_s, self.stack = device, call_limit_s, stack
        self.report = Report(day.number, day.slug, str(folder), device or "cpu", seed)
        self.worker = self._worker(device)
        given = folder.resolve() == day.solution.resolve()
        self.protected = [] if given else [(day.solution / name).resolve() for name in day.files]
        self.failed = False

    def _worker(self, device: str, **options: Any) -> Worker:
        return self.stack.enter_context(Worker(device, call_limit_s=self.call_limit_s, seed=self.seed, **options))

    def run(self, keep_going: bool) -> None:
        """Everything, in the order in which a learner can use it."""
        checked = self._worker("cpu", check=True, outputs=self.checks.outputs, schedules=SCHEDULES)  # starts meanwhile
        loaded = self.worker.load(self.folder, self.protected)
        if loaded["outcome"] != "ok":
            self._fail("lesson.py loads", loaded)
            return
        self.report.device = self.worker.device_label
        if not self._cases(keep_going, checked):
            self.report.printed = self.worker.printed()
            return
        self._bad_input()
        self._sanitize(checked)
        if not self.failed:
            self._costs()
            self._speed()
        self.report.printed = self.worker.printed()

    # ---- numbers -----------------------------------------------------------------------------------------------

    def _cases(self, keep_going: bool, checked: Worker) -> bool:
        """All cases up to the first failure; False when one failed."""
        for i, case in enumerate(self.checks.cases):
            check = self._case(case, checked)
            self._add(check)
            if check.verdict in (Verdict.PASSED, Verdict.NOT_RUN):
                continue
            self.failed = True
            hopeless = check.verdict in (Verdict.NOT_SOLVED, Verdict.COMPILE_ERROR, Verdict.CRASHED, Verdict.TIMED_OUT)
            if hopeless or not keep_going:
                self.report.remaining = len(self.checks.cases) - i - 1
                return False
        return not self.failed

    def _case(self, case: Case, checked: Worker) -> Check:
        try:
            args = case.make(generator(self.seed, case.name))
        except ModelMissing as missing:
            return Check(case.name, Verdict.NOT_RUN, str(missing))
        expected = self.checks.oracle(*copies(args))
        answer = self.worker.call(self.checks.function, args)
        if answer["outcome"] != "ok":
            return self._failure(case.name, answer)
        if answer["changed"]:
            which = ", ".join(map(str, answer["changed"]))
            return Check(
                case.name, Verdict.WRONG, f"the lesson changed its argument {which}: it must leave them as they are"
            )
        comparison = compare(answer["result"], expected, args[0].dtype, self.checks.budget(*args))
        figures = {"share_of_budget": None if np.isnan(comparison.share) else round(comparison.share, 4)}
        if comparison.right:
            return Check(case.name, Verdict.PASSED, f"err {100 * comparison.share:.0f} % of budget", figures=figures)
        untouched = self._untouched()
        if untouched:
            return Check(case.name, Verdict.NOT_SOLVED, f"{untouched} is as it was: its body is still to be written")
        rows = list(comparison.rows)
        rows += self._cause(case, checked)
        rows += self._looks_like(args, answer["result"], expected)
        return Check(case.name, Verdict.WRONG, comparison.problem, tuple(rows), figures)

    def _untouched(self) -> str:
        """A file that is still its stub."""
        for name, text in stubs.stub_files(self.day).items():
            if (self.folder / name).read_text() == text:
                return name
        return ""

    def _cause(self, case: Case, checked: Worker) -> list[tuple[str, str]]:
        """A race or a stray access explains wrong numbers better than the numbers do."""
        if not case.sanitize or checked.load(self.folder, self.protected)["outcome"] != "ok":
            return []
        answer = checked.call(self.checks.function, case.make(generator(self.seed, case.name)))
        return finding_rows(answer["findings"][0]) if answer["outcome"] == "unsafe" else []

    def _looks_like(self, args: Sequence[Any], got: np.ndarray, expected: np.ndarray) -> list[tuple[str, str]]:
        """The mutant that gives the same wrong numbers, within the budget; the nearest where several do.

        A mutant whose answer is right here explains nothing: it would match whatever is wrong by little.
        """
        budget = self.checks.budget(*args)
        nearest, distance = None, np.inf
        with mutants.Workshop() as workshop, Worker("cpu", call_limit_s=5.0) as worker:
            for mutant in mutants.mutants(self.day):
                if mutant.needs or worker.load(workshop.folder(self.day, mutant))["outcome"] != "ok":
                    continue
                answer = worker.call(self.checks.function, args)
                if answer["outcome"] != "ok":
                    if worker.process.poll() is not None:
                        break
                    continue
                numbers = answer["result"]
                if compare(numbers, expected, args[0].dtype, budget).right or not same_numbers(
                    numbers, got, 4 * budget
                ):
                    continue
                error = float(np.nanmax(np.abs(numbers.astype(np.float64) - got.astype(np.float64)), initial=0.0))
                if error < distance:
                    nearest, distance = mutant, error
                if distance == 0.0:
                    break
        if nearest is None:
            return []
        hint = f"python -m grader hint {self.day.name} {nearest.hint}"
        return [("looks like", f"{nearest.name}: {nearest.diagnosis}"), ("hint", hint)]

    # ---- manners and safety ----------------------------------------------------------------------------------------

    def _bad_input(self) -> None:
        accepted = []
        for bad in self.checks.bad_input:
            answer = self.worker.call(self.checks.function, bad.make(generator(self.seed, bad.name)))
            refused = answer["outcome"] == "raised" and answer["type"] == "ValueError"
            if not refused:
                what = "accepted" if answer["outcome"] == "ok" else f"{answer.get('type', answer['outcome'])}"
                accepted.append((bad.name, f"{what}: expected a ValueError that names `{bad.mentions}`"))
            elif bad.mentions not in answer["message"]:
                accepted.append((bad.name, f"the message does not name `{bad.mentions}`: {answer['message']}"))
        if self.checks.bad_input:
            verdict = Verdict.WRONG if accepted else Verdict.PASSED
            detail = f"{len(accepted)} not refused" if accepted else f"{len(self.checks.bad_input)} refused"
            self._add(Check("bad input", verdict, detail, tuple(accepted)))

    def _sanitize(self, checked: Worker) -> None:
        name = "races, bounds, initialisation, divergence"
        cases = [c for c in self.checks.cases if c.sanitize]
        if not cases or self.failed:
            return
        loaded = checked.load(self.folder, self.protected)
        if loaded["outcome"] != "ok":
            self._add(self._failure(name, loaded))
            return
        for case in cases:
            answer = checked.call(self.checks.function, case.make(generator(self.seed, case.name)))
            if answer["outcome"] == "unsafe":
                finding = answer["findings"][0]
                rows = [*finding_rows(finding), ("case", f"{case.name}, threads in {finding['order']} order")]
                self._add(Check(name, Verdict.UNSAFE, finding["message"], tuple(rows)))
                return
            if answer["outcome"] != "ok":
                self._add(self._failure(name, answer))
                return
        self._add(Check(name, Verdict.PASSED, f"nothing found in {len(cases)} cases, {SCHEDULES} schedules each"))

    # ---- cost and speed ------------------------------------------------------------------------------------------------

    def _costs(self) -> None:
        cases = [c for c in self.checks.cases if c.count_costs]
        if not cases:
            return
        name = "memory traffic"
        counts = []
        workers = [
            self._worker("cpu", check=True, costs=True, outputs=self.checks.outputs, schedules=1) for _ in range(2)
        ]
        for worker, folder in zip(workers, (self.folder, self.day.solution), strict=True):
            loaded = worker.load(folder, self.protected if folder is self.folder else ())
            args = cases[0].make(generator(self.seed, cases[0].name))
            answer = loaded if loaded["outcome"] != "ok" else worker.call(self.checks.function, args)
            if answer["outcome"] != "ok":
                self._add(self._failure(name, answer))
                return
            counts.append(answer["costs"])
        mine, reference = counts
        over = []
        for what, limit in self.checks.cost_limits.items():
            ratio = (mine[what] + 1e-9) / (reference[what] + 1e-9) if reference[what] or mine[what] else 1.0
            if not ratio <= limit:
                over.append(
                    (what, f"{mine[what]:,} where the reference needs {reference[what]:,}; at most {limit:g} × that")
                )
        ratio = mine["global bytes"] / max(1, reference["global bytes"])
        figures = {"mine": mine, "reference": reference}
        if over:
            rows = tuple(over) + self._wasteful_mutant(mine)
            self._add(Check(name, Verdict.WASTEFUL, f"right, but {over[0][0]} are too many", rows, figures))
        else:
            detail = f"{mine['global bytes']:,} bytes, {ratio:.2f} × the reference"
            self._add(Check(name, Verdict.PASSED, detail, figures=figures))

    def _wasteful_mutant(self, mine: dict[str, float]) -> tuple[tuple[str, str], ...]:
        """The wasteful mutant that counts the same."""
        wasteful = [m for m in mutants.mutants(self.day) if m.kind == "waste"]
        case = next(c for c in self.checks.cases if c.count_costs)
        with mutants.Workshop() as workshop:
            for mutant in wasteful:
                worker = self._worker("cpu", check=True, costs=True, outputs=self.checks.outputs, schedules=1)
                if worker.load(workshop.folder(self.day, mutant))["outcome"] != "ok":
                    continue
                answer = worker.call(self.checks.function, case.make(generator(self.seed, case.name)))
                if answer["outcome"] == "ok" and answer["costs"] == mine:
                    hint = f"python -m grader hint {self.day.name} {mutant.hint}"
                    return (("looks like", f"{mutant.name}: {mutant.diagnosis}"), ("hint", hint))
        return ()

    def _speed(self) -> None:
        speed = self.checks.speed
        if speed is None:
            return
        name = "speed"
        if self.worker.device_name != "cuda":
            self._add(Check(name, Verdict.NOT_RUN, f"no GPU here: {speed.name} is timed on one"))
            return
        args = speed.make(generator(self.seed, speed.name))
        figures = []
        reference_worker = self._worker("cuda")  # a process of its own: nothing of the lesson's is in it
        for worker, folder in ((self.worker, self.folder), (reference_worker, self.day.solution)):
            answer = worker.load(folder, self.protected if folder is self.folder else ())
            if answer["outcome"] == "ok":
                answer = worker.measure(self.checks.function, args)
            if answer["outcome"] != "ok":
                self._add(self._failure(name, answer))
                return
            figures.append({k: v for k, v in answer.items() if k != "outcome"})
        mine, reference = figures
        ratio = mine["median_s"] / reference["median_s"]
        rate = speed.bytes_moved(args) / mine["median_s"] / 1e9
        detail = f"{speed.name}: {rate:,.0f} GB/s, {1 / ratio:.2f} × the reference"
        verdict = Verdict.PASSED if ratio <= speed.slowest else Verdict.WASTEFUL
        self._add(Check(name, verdict, detail, figures={"mine": mine, "reference": reference, "gb_per_s": rate}))

    # ---- helpers ---------------------------------------------------------------------------------------------------------

    def _add(self, check: Check) -> None:
        self.report.checks.append(check)
        self.failed = self.failed or check.verdict not in (Verdict.PASSED, Verdict.NOT_RUN)
        if self.on_check is not None:
            self.on_check(check)

    def _fail(self, name: str, answer: dict[str, Any]) -> None:
        self._add(self._failure(name, answer))
        self.report.printed = self.worker.printed()

    def _failure(self, name: str, answer: dict[str, Any]) -> Check:
        """Anything but an answer, as a check."""
        outcome = answer["outcome"]
        verdict = VERDICTS.get(outcome, Verdict.CRASHED)
        message = str(answer.get("message", "")).strip()
        rows: list[tuple[str, str]] = []
        if outcome == "compile-error":
            for d in answer["diagnostics"]:
                rows.append((f"{d['file']}:{d['line']}", f"{d['message']}"))
                rows.append(("", d["text"].strip()))
            message = answer["diagnostics"][0]["message"] if answer["diagnostics"] else message
        elif outcome == "unsafe":
            rows = finding_rows(answer["findings"][0])
        elif outcome == "not-solved":
            rows = [("where", answer.get("where", ""))]
        elif outcome == "wrong-type":
            message = f"the function returned {answer['type']}: expected a {answer['expected']} array"
        elif outcome == "raised":
            message = f"{answer['type']}: {message}"
            rows = [("where", answer["where"])] if answer.get("where") else []
        head, *more = message.split("\n") or [""]
        return Check(name, verdict, head, tuple(rows + [("", line.strip()) for line in more[:6]]))


def finding_rows(finding: dict[str, Any]) -> list[tuple[str, str]]:
    """A finding of the checker, for the screen."""
    rows = [("unsafe", finding["message"])]
    for place in finding["places"]:
        who = f"thread {_tuple(place['thread'])} of block {_tuple(place['block'])}"
        rows.append((f"{Path(place['file']).name}:{place['line']}", f"{place['text']}   {place['action']} by {who}"))
    return [*rows, ("do", finding["advice"])]


def _tuple(index: Sequence[int] | None) -> str:
    if index is None:
        return "?"
    return str(index[0]) if not any(index[1:]) else f"({', '.join(map(str, index))})"


def same_numbers(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two wrong answers are wrong in the same way, NaN for NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    x, y = a.astype(np.float64), b.astype(np.float64)
    return bool(np.allclose(x, y, rtol=tolerance, atol=1e-30, equal_nan=True))
