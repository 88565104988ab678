"""The gradebook: a CSV file for a spreadsheet and an HTML page for people. Whatever a submission says is only ever text."""

from __future__ import annotations

import collections
import csv
import io
import tempfile
from pathlib import Path
from typing import Any

from grader import pages, sandbox
from grader.cohort.grading import Gradebook
from grader.cohort.pool import Result
from grader.cohort.submissions import CohortError, shown
from grader.curriculum import Day
from grader.verdict import Verdict

CSV, HTML = "gradebook.csv", "gradebook.html"
MOST_TEXT = 300
MOST_ROWS = 20
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute
STYLES = {Verdict.PASSED: ("✓", "good"), Verdict.NOT_RUN: ("–", ""), Verdict.NOT_SOLVED: ("·", "warn")}


def write(book: Gradebook, out: Path) -> tuple[Path, Path]:
    """Write both, each in one step; returns where they are.

    Raises:
        CohortError: the folder cannot be written.
    """
    try:
        return _replace(out / CSV, as_csv(book)), _replace(out / HTML, as_html(book))
    except OSError as error:
        raise CohortError(f"{error.filename or out}: {error.strerror}") from error


def _replace(path: Path, text: str) -> Path:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".gradebook-") as workshop:
        whole = Path(workshop) / path.name
        whole.write_text(text, encoding="utf-8")
        whole.replace(path)
    return path


def words(text: object) -> str:
    """A line of what came from a submission: cut, and without control characters."""
    line = shown(" ".join(str(text)[: 4 * MOST_TEXT].split()))
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"


def why(result: Result) -> str:
    """The first failed check, or what was not run where nothing failed; "" for a plain pass."""
    for check in result["checks"]:
        if check["verdict"] == result["verdict"] != Verdict.PASSED:
            return words(f"{check['name']}: {check['detail']}")
    return ""


# ---- for a spreadsheet -----------------------------------------------------------------------------------------------


def as_csv(book: Gradebook) -> str:
    """One line for each student. It begins with a byte order mark: spreadsheets take the rest for UTF-8 only then."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [column for day in book.found.days for column in (day.name, f"{day.name} why", f"{day.name} seconds")]
    writer.writerow(["student", "passed", "days", *columns, "seed", "device"])
    for student in book.found.students:
        row: list[Any] = [_cell(shown(student)), book.passed(student), len(book.found.days)]
        for day in book.found.days:
            result = book.result(student, day)
            if result is None:
                row += ["not handed in", "", ""]
            else:
                row += [Verdict(result["verdict"]).words, _cell(why(result)), result["seconds"]]
        writer.writerow([*row, book.settings.seed, book.settings.device])
    return "\ufeff" + out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


# ---- for people ------------------------------------------------------------------------------------------------------


def as_html(book: Gradebook) -> str:
    """The page."""
    rows = [
        {
            "student": shown(student),
            "passed": book.passed(student),
            "cells": [_mark(r) if (r := book.result(student, day)) else None for day in book.found.days],
            "details": [
                _details(day, r)
                for day in book.found.days
                if (r := book.result(student, day)) and r["verdict"] != Verdict.PASSED
            ],
        }
        for student in book.found.students
    ]
    return pages.render(
        "gradebook.html.jinja",
        book=book, days=book.found.days, rows=rows, totals=[_total(book, day) for day in book.found.days],
        contained=sandbox.CONTAINED if book.settings.sandboxed else sandbox.NOT_CONTAINED,
        command="python -m grader cohort",
    )  # fmt: skip


def _mark(result: Result) -> dict[str, str]:
    verdict = Verdict(result["verdict"])
    mark, style = STYLES.get(verdict, ("✗", "bad"))
    return {"mark": mark, "style": style, "words": verdict.words, "why": why(result)}


def _details(day: Day, result: Result) -> dict[str, Any]:
    checks = []
    for check in result["checks"]:
        verdict = Verdict(check["verdict"])
        if verdict in (Verdict.PASSED, Verdict.NOT_RUN):
            continue
        mark, style = STYLES.get(verdict, ("✗", "bad"))
        rows = [(words(label), words(text)) for label, text in list(check["explanation"].items())[:MOST_ROWS]]
        checks.append(
            {"mark": mark, "style": style, "words": verdict.words, "name": words(check["name"]),
             "detail": words(check["detail"]), "rows": rows}
        )  # fmt: skip
    title = f"day {day.number} · {day.slug}: {Verdict(result['verdict']).words}"
    return {"title": title, "checks": checks, "printed": words(result.get("printed", ""))}


def _total(book: Gradebook, day: Day) -> dict[str, Any]:
    counts = collections.Counter(
        Verdict(r["verdict"]).words if (r := book.result(student, day)) else "not handed in"
        for student in book.found.students
    )
    return {"day": day, "words": ", ".join(f"{count} {how}" for how, count in counts.most_common())}


def as_json(book: Gradebook) -> dict[str, Any]:
    """The one object that `--json` prints."""
    return {
        "seed": book.settings.seed,
        "device": book.settings.device,
        "contained": book.settings.sandboxed,
        "when": book.when,
        "days": [day.name for day in book.found.days],
        "students": [
            {
                "student": shown(student),
                "passed": book.passed(student),
                "results": {day.name: book.result(student, day) for day in book.found.days},
            }
            for student in book.found.students
        ],
    }
