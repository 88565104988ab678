"""Gradings and the map on a terminal: one screen, quiet colours that also work without colour, the last line matters."""

from __future__ import annotations

import itertools

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader import progress
from grader.curriculum import REPOSITORY, Day, days
from grader.verdict import Check, Report, Verdict

MARKS = {Verdict.PASSED: ("✓", "green"), Verdict.NOT_RUN: ("–", "dim")}


def report(console: Console, day: Day, graded: Report, target: str, is_learners: bool, *, brief: bool = False) -> None:
    """A whole grading: one screen, or for one of many days that passed, one line."""
    if brief and graded.verdict is Verdict.PASSED:
        not_run = sum(c.verdict is Verdict.NOT_RUN for c in graded.checks)
        more = f"   {not_run} NOT RUN" if not_run else ""
        head = f"day {day.number} · {day.slug}"
        line = Text.assemble(("✓ ", "green"), f"{head:<32} {graded.verdict.words}   in {graded.seconds:.1f} s{more}")
        console.print(line, soft_wrap=True)
        return
    console.print(header(day, graded.device, graded.seed))
    checks(console, graded)
    _pieces(console, graded)
    verdict(console, day, graded, target, is_learners)


def _pieces(console: Console, graded: Report) -> None:
    """Whose code the lesson ran on, where it ran on other days' pieces."""
    by_owner = {whose: [p for p, w in graded.pieces.items() if w == whose] for whose in ("yours", "reference")}
    said = "; ".join(f"{whose}: {', '.join(names)}" for whose, names in by_owner.items() if names)
    if said:
        console.print(Text(f"  ran on pieces, {said}", style="dim"))


def header(day: Day, device: str, seed: int) -> Table:
    """The first line: which day, where, with which numbers."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1)
    table.add_column(justify="right")
    table.add_row(Text(f"day {day.number} · {day.slug}", style="bold"), Text(f"{device}   seed {seed}", style="dim"))
    return table


def checks(console: Console, report: Report) -> None:
    """Every check; passed cases in a row share a line, and so do checks that are NOT RUN for the same reason."""
    for kind, group in itertools.groupby(report.checks, key=_kind):
        members = list(group)
        if kind and len(members) > 1:
            _check(console, _merged(kind, members))
        else:
            for check in members:
                _check(console, check)
    if report.remaining:
        more = "case" if report.remaining == 1 else "cases"
        console.print(
            Text(f"  – {report.remaining} more {more} not run after the first failure (--keep-going)", style="dim")
        )


def _kind(check: Check) -> str:
    """What it can share a line with: `budget` or `exact` cases that passed, the reason for NOT RUN; "" for nothing."""
    if check.verdict is Verdict.NOT_RUN:
        return f"not run: {check.detail}"
    if check.verdict is not Verdict.PASSED:
        return ""
    return "budget" if "share_of_budget" in check.figures else "exact" if check.detail == "exact" else ""


def _merged(kind: str, members: list[Check]) -> Check:
    """One line for several checks."""
    first = members[0]
    if first.verdict is Verdict.NOT_RUN:
        return Check(f"{first.name}, and {len(members) - 1} more", Verdict.NOT_RUN, first.detail)
    if kind == "exact":
        return Check(f"{len(members)} cases", Verdict.PASSED, "exact")
    worst = max(members, key=lambda c: c.figures["share_of_budget"])
    share = 100 * worst.figures["share_of_budget"]
    return Check(f"{len(members)} cases", Verdict.PASSED, f"worst error {share:.0f} % of budget, {worst.name}")


def _check(console: Console, check: Check) -> None:
    mark, style = MARKS.get(check.verdict, ("✗", "red"))
    table = Table.grid(padding=(0, 1))
    table.add_column(width=3, justify="right")
    table.add_column(width=min(34, max(18, console.width // 3)))
    table.add_column(ratio=1)
    detail = Text(check.detail)
    if check.verdict is not Verdict.PASSED:
        detail = Text.assemble((check.verdict.words, style if style != "dim" else ""), "  ", check.detail)
    table.add_row(Text(mark, style=style), Text(check.name), detail)
    console.print(table)
    rows = [(label, text) for label, text in check.rows if label or text]
    if not rows:
        return
    inner = Table.grid(padding=(0, 2))
    inner.add_column(style="dim", no_wrap=True)
    inner.add_column(ratio=1)
    for label, text in rows:
        inner.add_row(Text(label), Text(text))
    console.print(Padding(inner, (0, 0, 0, 6)))


def verdict(console: Console, day: Day, report: Report, target: str, is_learners: bool) -> None:
    """The last lines: how it ended, and the one next thing to do."""
    ended = report.verdict
    again = f"again with the same numbers: python -m grader {target} --seed {report.seed}"
    if report.printed.strip():
        console.print(Text("  your lesson printed", style="dim"))
        for line in report.printed.strip().splitlines()[:8]:
            console.print(Text(f"      {line}", style="dim"))
    style = {Verdict.PASSED: "bold green", Verdict.NOT_RUN: "bold yellow"}.get(ended, "bold red")
    last = Text.assemble("  ", (ended.words, style), f"   in {report.seconds:.1f} s")
    not_run = sum(c.verdict is Verdict.NOT_RUN for c in report.checks)
    if ended is Verdict.PASSED:
        if not_run:
            last.append(f"   {not_run} {'check' if not_run == 1 else 'checks'} NOT RUN", style="dim")
        console.print(last)
        if is_learners:
            console.print(_bar())
            following = next((d for d in days() if d.number > day.number), None)
            if following:
                console.print(Text(f"  next   {_what_to_open(following)}", style="dim"), soft_wrap=True)
    elif ended is Verdict.NOT_SOLVED:
        spec = (day.lesson / "README.md").relative_to(REPOSITORY)
        console.print(last)
        console.print(f"  next   open {spec}", soft_wrap=True)
        console.print(
            f"         fill in {' and '.join(day.files)}; python -m grader watch {day.name} grades on save",
            soft_wrap=True,
        )
    else:
        console.print(last)
        console.print(Text(f"  {again}", style="dim"), soft_wrap=True)  # one line to copy


def _what_to_open(day: Day) -> str:
    """The day that comes next, and where it begins."""
    head = f"day {day.number} · {day.slug}"
    if day.absence:
        return f"{head} ({day.absence})"
    return f"{head}: open {(day.lesson / 'README.md').relative_to(REPOSITORY)}"


def _bar() -> Text:
    passed = len(progress.fresh())
    cells = passed * 20 / 60
    full = int(cells)
    return Text.assemble("  ", ("█" * full + ("▌" if cells > full else ""), "green"), f" {passed} of 60 days")


def day_map(console: Console) -> None:
    """The sixty days with their state."""
    passed = progress.read()
    next_day = next((d for d in days() if d.written and d.name not in passed), None)
    for part, members in itertools.groupby(days(), key=lambda d: d.part):
        console.print(Text(part, style="bold"))
        for day in members:
            console.print(_map_row(day, passed))
    written, published = sum(d.written for d in days()), sum(d.published for d in days())
    console.print(_bar())
    if next_day is None and written:
        console.print("  next   every lesson that is written has passed; python -m grader all grades them again")
    if next_day is not None:
        console.print(f"  next   {_what_to_open(next_day)}", soft_wrap=True)
    state = "are written so far" if published == len(days()) else "are in this edition"
    console.print(Text(f"  {written} of {len(days())} lessons {state}", style="dim"))


def _map_row(day: Day, passed: dict[str, progress.Pass]) -> Text:
    head = f"  {day.number:>2} {day.slug:<22} "
    if not day.written:
        return Text(f"  {head}{day.absence}", style="dim")
    if day.name not in passed:
        return Text(f"  {head}to do")
    if progress.is_stale(day, passed[day.name]):
        return Text.assemble(("~ ", "yellow"), f"{head}edited since it passed: grade it again")
    return Text.assemble(("✓ ", "green"), f"{head}passed on {passed[day.name].device}")
