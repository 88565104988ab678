"""The folded hints of a day's spec, one at a time."""

from __future__ import annotations

import re

from grader.curriculum import CurriculumError, Day


def hints(day: Day) -> list[tuple[str, str]]:
    """Title and text of each hint in the day's README.

    Raises:
        CurriculumError: the day has no spec yet.
    """
    spec = day.lesson / "README.md"
    if not spec.is_file():
        raise CurriculumError(f"{day.name} is not written yet")
    found = re.findall(r"<details>\s*<summary>(Hint.*?)</summary>(.*?)</details>", spec.read_text(), re.DOTALL)
    return [(title.strip(), text.strip()) for title, text in found]
