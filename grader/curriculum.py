"""The sixty days, as `curriculum.yaml` lists them, and how their names are understood."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from grader import edition, located

DAYS = 60
REPOSITORY = Path(__file__).resolve().parents[1]
CURRICULUM = REPOSITORY / "curriculum.yaml"


class CurriculumError(ValueError):
    """`curriculum.yaml` is not what it should be, or a day was asked for that it does not have."""


@dataclass(frozen=True)
class Day:
    """One day of the course.

    Attributes:
        number: 1 to 60.
        slug: fixed for ever: links, progress and published solutions use it.
        minutes: what it takes.
        needs: numbers of the days it builds on.
        files: what the learner completes.
        functions: the lesson's functions and kernels, as hints for the eye.
        piece: the engine piece it provides, or "".
        written: whether the lesson exists here.
        published: False where it may exist, but this is a student edition that ends before it.
    """

    number: int
    slug: str
    title: str
    part: str
    minutes: int
    needs: tuple[int, ...]
    files: tuple[str, ...]
    functions: tuple[str, ...]
    piece: str
    written: bool
    published: bool = True

    @property
    def name(self) -> str:
        """`day07`."""
        return f"day{self.number:02}"

    @property
    def folder_name(self) -> str:
        """`day07_rmsnorm`."""
        return f"{self.name}_{self.slug}"

    @property
    def lesson(self) -> Path:
        """The learner's folder."""
        return REPOSITORY / "days" / self.folder_name

    @property
    def solution(self) -> Path:
        """The reference solution's folder."""
        return REPOSITORY / "solutions" / self.folder_name

    @property
    def has_solution(self) -> bool:
        """Whether the reference is here: a student edition leaves it out."""
        return bool(self.files) and all((self.solution / name).is_file() for name in self.files)

    @property
    def absence(self) -> str:
        """Why there is no lesson, in words; "" where there is one."""
        return "" if self.written else "not written yet" if self.published else "not published yet"


_FIELDS: dict[str, type] = {
    "day": int, "slug": str, "title": str, "minutes": int, "needs": list, "files": list, "functions": list, "piece": str,
}  # fmt: skip
_LISTED: dict[str, type] = {"needs": int, "files": str, "functions": str}
_FILES = ("lesson.py", "kernel.cu")


@functools.cache
def days() -> tuple[Day, ...]:
    """All sixty, in order.

    Raises:
        CurriculumError: names the line and the key that is missing, unknown, of the wrong type or has an impossible value.
    """
    try:
        return tuple(_read())
    except (located.LocatedError, edition.EditionError) as error:
        raise CurriculumError(str(error)) from error


def _read() -> Iterator[Day]:
    file = CURRICULUM.name
    content = located.load(CURRICULUM)
    last = edition.last_day(REPOSITORY)
    located.check(content, f"{file}: the file", {"parts": list}, ("parts",))
    number = 0
    slugs: dict[str, int] = {}
    for part in content["parts"]:
        located.check(part, f"{file}: a part", {"title": str, "days": list}, ("title", "days"))
        for entry in part["days"]:
            number += 1
            label = entry.get("day", number) if isinstance(entry, dict) else number
            located.check(entry, f"{file}: day {label}", _FIELDS, ("day", "slug", "title"))
            _check_values(entry, number, slugs, file)
            yield Day(
                number=number,
                slug=entry["slug"],
                title=entry["title"],
                part=part["title"],
                minutes=entry.get("minutes", 60),
                needs=tuple(entry.get("needs", ())),
                files=tuple(entry.get("files", ())),
                functions=tuple(entry.get("functions", ())),
                piece=entry.get("piece", ""),
                written=bool(entry.get("files")) and number <= last,
                published=number <= last,
            )
    if number != DAYS:
        raise located.LocatedError(f"{file}: {number} days: expected {DAYS}")


def _check_values(entry: located.Mapping, number: int, slugs: dict[str, int], file: str) -> None:
    """What types alone do not say."""

    def refuse(key: str, problem: str) -> NoReturn:
        raise located.LocatedError(f"{file}:{entry.lines[key]}: day {entry['day']}: {problem}")

    if entry["day"] != number:
        refuse("day", f"expected day {number} here")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", entry["slug"]):
        refuse("slug", f"'slug' is {entry['slug']!r}: expected small letters, digits and _")
    if entry["slug"] in slugs:
        refuse("slug", f"'slug' {entry['slug']!r} is day {slugs[entry['slug']]}'s already")
    slugs[entry["slug"]] = number
    for key, kind in _LISTED.items():
        for value in entry.get(key, ()):
            if not isinstance(value, kind) or isinstance(value, bool):
                refuse(key, f"{key!r} has {value!r}: expected a list of {kind.__name__}")
    for need in entry.get("needs", ()):
        if not 1 <= need < number:
            refuse("needs", f"'needs' has {need}: expected days before day {number}")
    for name in entry.get("files", ()):
        if name not in _FILES:
            refuse("files", f"'files' has {name!r}: expected {' or '.join(_FILES)}")
    if not 1 <= entry.get("minutes", 60) <= 240:
        refuse("minutes", f"'minutes' is {entry['minutes']}: expected 1 to 240")


def find(name: str) -> Day:
    """The day of that name: `17`, `day17` or `day17_forward_pass`.

    Raises:
        CurriculumError: there is none; the message suggests the nearest.
    """
    match = re.fullmatch(r"(?:day)?_?0*(\d+)(?:_(\w+))?", name.strip().lower())
    all_days = days()
    if match and 1 <= int(match[1]) <= len(all_days):
        day = all_days[int(match[1]) - 1]
        if match[2] in (None, day.slug):
            return day
    for day in all_days:
        if name.strip().lower() == day.slug:
            return day
    known = [n for d in all_days for n in (d.folder_name, d.slug, d.name)]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f": days go from 1 to {len(all_days)}"
    raise CurriculumError(f"there is no day {name!r}{hint}")


def select(names: Sequence[str]) -> list[Day]:
    """The days that are meant, in order, each once: names as `find` takes them, and ranges such as `8-17`.

    Raises:
        CurriculumError: a name that is none, or a range that is empty.
    """
    chosen: set[int] = set()
    for name in names:
        match = re.fullmatch(r"(.+?)(?:-|\.\.)((?:day)?_?\d+\w*)", name.strip())
        if match is None:
            chosen.add(find(name).number)
            continue
        first, last = find(match[1]).number, find(match[2]).number
        if first > last:
            raise CurriculumError(f"{name}: expected the earlier day first, as in {last}-{first}")
        chosen.update(range(first, last + 1))
    return [days()[n - 1] for n in sorted(chosen)]
