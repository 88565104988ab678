"""What a report says, from a learner's progress and the history of gradings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from grader import progress
from grader.curriculum import Day, days
from grader.progress import Grading, Pass
from grader.verdict import Verdict

STATES = {
    "passed": ("✓", "good"), "edited": ("~", "warn"), "failed": ("✗", "bad"), "to do": ("·", ""), "absent": ("–", ""),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One counter of one check.

    Attributes:
        reference: what the solution needs, or None where it was not there.
        limit: the largest ratio that passes, or None where the day sets none.
    """

    check: str
    counter: str
    mine: float
    reference: float | None
    limit: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as much; None where it cannot be said."""
        if self.reference is None:
            return None
        if not self.reference:
            return None if self.mine else 1.0
        return self.mine / self.reference

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Mine, the reference's, the ratio and the limit, for people."""
        return (
            _amount(self.mine),
            "not here" if self.reference is None else _amount(self.reference),
            "" if self.ratio is None else f"{self.ratio:.2f} ×",
            "" if self.limit is None else f"{self.limit:g} ×",
        )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"


@dataclass(frozen=True)
class Speed:
    """One timing on a GPU."""

    grading: Grading
    check: dict[str, Any]

    @property
    def detail(self) -> str:
        """What was said of it."""
        return str(self.check["detail"])

    @property
    def times(self) -> list[tuple[str, str]]:
        """Whose, and the median and the spread."""
        out = []
        for whose in ("mine", "reference"):
            figures = self.check["figures"].get(whose)
            if isinstance(figures, dict) and _number(figures.get("median_s")):
                spread = figures.get("spread_s")
                half = f" ± {5e5 * float(spread or 0):,.2f}" if _number(spread) else ""
                out.append(("yours" if whose == "mine" else "reference", f"{1e6 * figures['median_s']:,.1f}{half} µs"))
        return out


@dataclass(frozen=True)
class DayFacts:
    """What is known of one day.

    Attributes:
        state: a key of `STATES`.
        words: the state as people read it.
        passed: the evidence, where it has passed.
        gradings: all that were noted, the oldest first.
    """

    day: Day
    state: str
    words: str
    passed: Pass | None
    gradings: tuple[Grading, ...] = ()

    @property
    def mark(self) -> str:
        """The state as one character."""
        return STATES[self.state][0]

    @property
    def style(self) -> str:
        """The state as a class of the page."""
        return STATES[self.state][1]

    @property
    def last(self) -> Grading | None:
        """The newest grading."""
        return self.gradings[-1] if self.gradings else None

    @property
    def checks(self) -> tuple[dict[str, Any], ...]:
        """Of the newest grading."""
        return self.last.checks if self.last else ()

    @property
    def shares(self) -> list[tuple[str, float]]:
        """Cases of the newest grading and their errors as shares of the budget."""
        found = ((c["name"], c["figures"].get("share_of_budget")) for c in self.checks)
        return [(name, float(share)) for name, share in found if _number(share)]

    @property
    def exact(self) -> int:
        """How many cases of the newest grading allowed no error and had none."""
        return sum(c["detail"] == "exact" and c["verdict"] == Verdict.PASSED for c in self.checks)

    @property
    def costs(self) -> list[Cost]:
        """What the newest grading counted; what the day limits comes first."""
        out = []
        for check in self.checks:
            mine, reference, limits = (_mapping(check["figures"].get(k)) for k in ("mine", "reference", "limits"))
            if "median_s" in mine:
                continue
            for counter, value in mine.items():
                other, limit = reference.get(counter), limits.get(counter)
                if _number(value) and (value or other or limit):
                    cost = Cost(check["name"], counter, value, other if _number(other) else None, limit)
                    out.append(cost)
        return sorted(out, key=lambda cost: cost.limit is None)

    @property
    def speeds(self) -> list[Speed]:
        """The newest timing on a GPU of everything that was ever timed."""
        found: dict[str, Speed] = {}
        for grading in self.gradings:
            for check in grading.checks:
                if "median_s" in _mapping(check["figures"].get("mine")):
                    found[check["name"]] = Speed(grading, check)
        return list(found.values())

    @property
    def not_run(self) -> list[dict[str, Any]]:
        """Checks of the newest grading that could not run."""
        return [c for c in self.checks if c["verdict"] == Verdict.NOT_RUN]

    @property
    def failed(self) -> dict[str, Any] | None:
        """The check that failed in the newest grading."""
        return next((c for c in self.checks if c["verdict"] not in (Verdict.PASSED, Verdict.NOT_RUN)), None)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Facts:
    """Everything that a report says."""

    days: tuple[DayFacts, ...]
    made: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def parts(self) -> list[tuple[str, list[DayFacts]]]:
        """The days, part by part."""
        return [(title, list(group)) for title, group in itertools.groupby(self.days, key=lambda d: d.day.part)]

    @property
    def passed(self) -> list[DayFacts]:
        """Days that have passed and were not edited since."""
        return [d for d in self.days if d.state == "passed"]

    @property
    def graded(self) -> list[DayFacts]:
        """Days with something to show."""
        return [d for d in self.days if d.gradings or d.passed]

    @property
    def next(self) -> DayFacts | None:
        """The first day that is there and has not passed."""
        return next((d for d in self.days if d.day.written and d.state != "passed"), None)

    @property
    def first_passes(self) -> list[tuple[datetime, Day]]:
        """When each day passed for the first time, in that order."""
        out = []
        for facts in self.days:
            times = [g.when for g in facts.gradings if g.verdict == Verdict.PASSED]
            times += [facts.passed.when] if facts.passed else []
            if times:
                out.append((min(map(_time, times)), facts.day))
        return sorted(out, key=lambda entry: (entry[0], entry[1].number))


def _time(text: str) -> datetime:
    """A noted time; a broken one counts as the beginning of time, so that nothing is lost for it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def gather() -> Facts:
    """What is known now.

    Raises:
        ValueError: the progress file cannot be read.
    """
    return of(days(), progress.read(), progress.history())


def of(all_days: Sequence[Day], passed: dict[str, Pass], history: Sequence[Grading]) -> Facts:
    """The facts of these days."""
    gradings: dict[str, list[Grading]] = {}
    for grading in history:
        gradings.setdefault(grading.day, []).append(grading)
    out = []
    for day in all_days:
        its_pass, its_gradings = passed.get(day.name), tuple(gradings.get(day.name, ()))
        state, words = _state(day, its_pass, its_gradings)
        out.append(DayFacts(day, state, words, its_pass, its_gradings))
    return Facts(tuple(out))


def _state(day: Day, its_pass: Pass | None, gradings: tuple[Grading, ...]) -> tuple[str, str]:
    if not day.written:
        return "absent", day.absence
    if its_pass is not None and not progress.is_stale(day, its_pass):
        return "passed", f"passed on {its_pass.device}"
    if its_pass is not None:
        return "edited", "edited since it passed"
    if gradings and gradings[-1].verdict not in (Verdict.NOT_SOLVED, Verdict.NOT_RUN, Verdict.PASSED):
        return "failed", Verdict(gradings[-1].verdict).words.lower()
    return "to do", "to do"
