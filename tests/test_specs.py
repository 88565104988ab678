"""What every written day's page must be: short, with three hints that keep the answer, and true to the screen."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from grader import hints, present, stubs
from grader.curriculum import Day, days
from grader.grade import grade

SECTIONS = ["The idea", "Build", "Traps", "How it is graded", "Hints", "Go further"]
every_day = pytest.mark.parametrize("day", [day for day in days() if day.written], ids=lambda day: day.name)


def spec(day: Day) -> str:
    return (day.lesson / "README.md").read_text()


@every_day
def test_it_can_be_read_in_ten_minutes(day):
    without_screens = re.sub(r"```.*?```", "", spec(day), flags=re.DOTALL)
    prose = re.sub(r"^    .*$|<[^>]+>", "", without_screens, flags=re.MULTILINE)
    assert 500 <= len(prose.split()) <= 900


@every_day
def test_sections(day):
    text = spec(day)
    assert text.startswith(f"# Day {day.number} · ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "**Where you are.**" in text.split("\n## ")[0]
    assert 2 <= len(re.findall(r"<details><summary>(?!Hint)", text)) <= 4


@every_day
def test_hints_never_paste_the_answer(day):
    text = spec(day)
    assert [title[:6] for title, _ in hints.hints(day)] == ["Hint 1", "Hint 2", "Hint 3"]
    for name, stub in stubs.stub_files(day).items():
        given_lines = {line.strip() for line in stub.splitlines()}
        for line in (day.solution / name).read_text().splitlines():
            code = line.strip()
            if len(code) > 12 and code not in given_lines and not code.startswith(("#", "//")):
                assert code not in text, code


@every_day
def test_it_shows_what_the_unsolved_day_prints(day, tmp_path):
    for name, stub in stubs.stub_files(day).items():
        (tmp_path / name).write_text(stub)
    shown = re.search(rf"```\n(day {day.number} .*? seed (\d+)\n.*?)```", spec(day), re.DOTALL)
    assert shown
    screen = io.StringIO()
    console = Console(file=screen, width=100, highlight=False)
    report = grade(day, tmp_path, device="cpu", seed=int(shown[2]))
    console.print(present.header(day, report.device, report.seed))
    present.checks(console, report)
    present.verdict(console, day, report, day.name, is_learners=True)
    assert _timeless(shown[1]) == _timeless(screen.getvalue())


def _timeless(text: str) -> list[str]:
    return [re.sub(r"in \d+\.\d s", "in … s", line.rstrip()) for line in text.rstrip().splitlines()]
