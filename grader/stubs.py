"""Stubs from solutions: a learner's file is its solution with the lesson taken out, so the two cannot drift apart.

In a solution, `# solve: begin` and `# solve: end` (`// solve: …` in CUDA) enclose what the learner writes; lines between
them that start with `# stub: ` are what the stub has in its place.
"""

from __future__ import annotations

import re
from pathlib import Path

from grader import edition
from grader.curriculum import REPOSITORY, Day, days

GIVEN = "stubs"  # folder of a student edition: the stubs as they were published
_MARKER = re.compile(r"^(\s*)(?:#|//) (solve: begin|solve: end|stub:)(?: (.*))?$")


class StubError(ValueError):
    """A solution's markers do not pair up; the message names the file and the line."""


def stub_of(text: str, name: str) -> str:
    """The stub of a solution's text.

    Raises:
        StubError: an unpaired marker, or a stub line outside a pair.
    """
    out: list[str] = []
    inside = 0
    for number, line in enumerate(text.splitlines(), 1):
        marker = _MARKER.match(line)
        if marker is None:
            if not inside:
                out.append(line)
            continue
        indent, kind, rest = marker[1], marker[2], marker[3] or ""
        if kind == "solve: begin":
            if inside:
                raise StubError(f"{name}:{number}: a second `solve: begin` before the end of the one in line {inside}")
            inside = number
        elif not inside:
            raise StubError(f"{name}:{number}: `{kind}` without a `solve: begin` before it")
        elif kind == "solve: end":
            inside = 0
        else:
            out.append(f"{indent}{rest}".rstrip())
    if inside:
        raise StubError(f"{name}:{inside}: `solve: begin` without an end")
    return "\n".join(out) + "\n"


def unmarked(text: str) -> str:
    """A solution's text without its markers, as a learner should see it."""
    return "".join(line for line in text.splitlines(keepends=True) if _MARKER.match(line.rstrip("\n")) is None)


def lesson_lines(text: str) -> list[tuple[int, str]]:
    """What a learner writes: the numbers and texts of the lines between a solution's markers."""
    out: list[tuple[int, str]] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        marker = _MARKER.match(line)
        if marker is not None:
            inside = marker[2] != "solve: end"
        elif inside:
            out.append((number, line))
    return out


def stub_files(day: Day) -> dict[str, str]:
    """The stubs of a day, by file name: from its solution, or where a student edition leaves that out, as published."""
    out = {}
    for name in day.files:
        given = REPOSITORY / GIVEN / day.folder_name / name
        if day.has_solution:
            text = (day.solution / name).read_text(encoding="utf-8")
            out[name] = stub_of(text, f"solutions/{day.folder_name}/{name}")
        elif given.is_file():
            out[name] = given.read_text(encoding="utf-8")
    return out


def _only_where_lessons_are_written() -> None:
    if edition.read(REPOSITORY) is not None:
        raise StubError("this is a student edition: what is in days/ is yours, and `reset DAY` brings a stub back")


def stale() -> list[Path]:
    """Stubs in `days/` that differ from what their solutions give.

    Raises:
        StubError: a marker without its pair, or this is a student edition.
    """
    _only_where_lessons_are_written()
    out = []
    for day in days():
        for name, text in stub_files(day).items() if day.written else ():
            path = day.lesson / name
            if not path.is_file() or path.read_text() != text:
                out.append(path)
    return out


def write_all() -> list[Path]:
    """Write every stub anew; returns those that changed.

    For those who write lessons: a learner's work in `days/` is overwritten.
    """
    changed = stale()
    for day in days():
        for name, text in stub_files(day).items() if day.written else ():
            day.lesson.mkdir(parents=True, exist_ok=True)
            (day.lesson / name).write_text(text)
    return changed
