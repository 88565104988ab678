"""The folded hints of a day's spec, one at a time."""

from __future__ import annotations

import re
from typing import Any

from grader.curriculum import CurriculumError, Day


def hints(day: Day) -> list[tuple[str, str]]:
    """Title and text of each hint in the day's README.

    Raises:
        CurriculumError: the day has no spec yet.
    """
    spec = day.lesson / "README.md"
    if not spec.is_file():
        raise CurriculumError(f"{day.name} is {day.absence or 'without a page'}")
    text = spec.read_text(encoding="utf-8")
    found = re.findall(r"<details>\s*<summary>(Hint.*?)</summary>(.*?)</details>", text, re.DOTALL)
    return [(title.strip(), body.strip()) for title, body in found]


def show(console: Any, hint: tuple[str, str]) -> None:
    """Print one."""
    from rich.markdown import Markdown

    title, text = hint
    console.print(f"[bold]{title}[/bold]")
    console.print(Markdown(text))
