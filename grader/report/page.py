"""The report as a page, and where it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grader import pages, progress
from grader.report import plots
from grader.report.facts import DayFacts, Facts
from grader.verdict import Verdict

MARK = '<meta name="generator" content="warp60">'
MARKS = {Verdict.PASSED: ("✓", "good"), Verdict.NOT_RUN: ("–", ""), Verdict.NOT_SOLVED: ("·", "warn")}


class ReportError(ValueError):
    """The report cannot be written; the message says why."""


def default_path() -> Path:
    """Beside the progress that it is made of."""
    return progress.path().parent / "report.html"


def write(facts: Facts, to: Path) -> None:
    """Write the page in one step.

    Raises:
        ReportError: something else lies there, or it cannot be written.
    """
    try:
        if to.exists() and MARK not in to.read_text(encoding="utf-8", errors="replace")[:2000]:
            raise ReportError(f"{to}: there is something else already; choose another name")
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=".report-") as workshop:
            whole = Path(workshop) / "report.html"
            whole.write_text(html(facts), encoding="utf-8")
            whole.replace(to)
    except OSError as error:
        raise ReportError(f"{to}: {error.strerror}") from error


def html(facts: Facts) -> str:
    """The page."""
    return pages.render(
        "report.html.jinja",
        facts=facts, passed=len(facts.passed), total=len(facts.days), plots=plots.draw(facts), no_plots=plots.why_not(),
        details=[_details(day) for day in facts.graded],
    )  # fmt: skip


def _details(facts: DayFacts) -> dict[str, Any]:
    last = facts.last
    mark, style = MARKS.get(Verdict(last.verdict), ("✗", "bad")) if last else ("", "")
    return {
        "facts": facts,
        "evidence": list(_evidence(facts)),
        "verdict": Verdict(last.verdict).words if last else "",
        "mark": mark,
        "style": style,
        "shares": [(name, _percent(share), min(100.0, 100 * share), share > 1) for name, share in facts.shares],
    }


def _evidence(facts: DayFacts) -> Iterator[tuple[str, str]]:
    passed, last = facts.passed, facts.last
    is_it = passed and last and (last.source_hash, last.seed) == (passed.source_hash, passed.seed)
    if passed:
        yield "passed", time(passed.when)
        yield "device", last.device if last and is_it else passed.device
        yield "seed", str(passed.seed)
        yield "source hash", passed.source_hash
    if last and not is_it:
        yield "last graded", time(last.when)
        yield "on", f"{last.device}, seed {last.seed}"
    if last:
        yield "gradings", str(len(facts.gradings))


def time(text: str) -> str:
    """A noted time for people."""
    return text[:16].replace("T", " ") + " UTC"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 100 else f"{share:,.0f} ×"
