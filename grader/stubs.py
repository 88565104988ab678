"""Stubs from solutions: a learner's file is its solution with the lesson taken out, so the two cannot drift apart.

In a solution, `# solve: begin` and `# solve: end` (`// solve: …` in CUDA) enclose what the learner writes; lines between
them that start with `# stub: ` are what the stub has in its place.
"""

from __future__ import annotations

import re
from pathlib import Path

from grader.curriculum import Day, days

SUFFIXES = (".py", ".cu")
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


def stub_files(day: Day) -> dict[str, str]:
    """The stubs of a day, by file name."""
    return {
        name: stub_of((day.solution / name).read_text(), f"solutions/{day.folder_name}/{name}")
        for name in day.files
        if Path(name).suffix in SUFFIXES
    }


def stale() -> list[Path]:
    """Stubs in `days/` that differ from what their solutions give."""
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
