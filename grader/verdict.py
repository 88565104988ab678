"""What a check and a whole grading can end as. PASSED, failed and NOT_RUN are three different things."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How it ended; the words of `--json`."""

    PASSED = "PASSED"
    NOT_SOLVED = "NOT_SOLVED"
    COMPILE_ERROR = "COMPILE_ERROR"
    CRASHED = "CRASHED"
    TIMED_OUT = "TIMED_OUT"
    WRONG = "WRONG"
    UNSAFE = "UNSAFE"
    WASTEFUL = "WASTEFUL"
    NOT_RUN = "NOT_RUN"

    @property
    def words(self) -> str:
        """As people read it."""
        return {"COMPILE_ERROR": "DOES NOT COMPILE"}.get(self.value, self.value.replace("_", " "))


EXIT_STATUS = {Verdict.PASSED: 0, Verdict.NOT_SOLVED: 3, Verdict.NOT_RUN: 4}
FAILED_STATUS = 1


def exit_status(verdict: Verdict) -> int:
    """0 for PASSED only; 3 not solved, 4 not run, 1 for every failure; 2 is left for usage errors, 130 for Ctrl-C."""
    return EXIT_STATUS.get(verdict, FAILED_STATUS)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, as the screen shows it.
        detail: one line: the figure, or what went wrong.
        rows: label and text pairs that explain a failure.
        figures: numbers for `--json`.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """One grading of one lesson."""

    day: int
    slug: str
    source: str  # the folder that was graded
    device: str
    seed: int
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    remaining: int = 0  # cases left out after the first failure
    printed: str = ""  # what the lesson itself wrote
    pieces: dict[str, str] = field(default_factory=dict)  # parts of the engine that it ran on: `yours` or `reference`

    @property
    def verdict(self) -> Verdict:
        """The first failure's verdict; PASSED when nothing failed and something passed; else NOT_RUN."""
        for check in self.checks:
            if check.verdict not in (Verdict.PASSED, Verdict.NOT_RUN):
                return check.verdict
        return Verdict.PASSED if any(c.verdict is Verdict.PASSED for c in self.checks) else Verdict.NOT_RUN

    def as_json(self) -> dict[str, Any]:
        """The one object that `--json` prints."""
        return {
            "day": self.day,
            "slug": self.slug,
            "source": self.source,
            "device": self.device,
            "seed": self.seed,
            "verdict": self.verdict.value,
            "checks": [
                {
                    "name": c.name,
                    "verdict": c.verdict.value,
                    "detail": c.detail,
                    "explanation": dict(c.rows),
                    "figures": c.figures,
                }
                for c in self.checks
            ],
            "seconds": round(self.seconds, 3),
            **({"pieces": self.pieces} if self.pieces else {}),
        }
