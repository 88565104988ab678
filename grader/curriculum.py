"""The sixty days, as `curriculum.yaml` lists them, and how their names are understood."""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

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
        written: whether the lesson exists.
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


_FIELDS: dict[str, type] = {
    "day": int, "slug": str, "title": str, "minutes": int, "needs": list, "files": list, "functions": list, "piece": str,
}  # fmt: skip


@functools.cache
def days() -> tuple[Day, ...]:
    """All sixty, in order.

    Raises:
        CurriculumError: names the entry and the key that is missing, unknown or of the wrong type.
    """
    try:
        parts = yaml.load(CURRICULUM.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["parts"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CurriculumError(f"{CURRICULUM.name}: {error}") from error
    out: list[Day] = []
    for part in parts:
        for entry in part["days"]:
            where = f"{CURRICULUM.name}: day {entry.get('day', f'after {len(out)}')}"
            for key in entry:
                if key not in _FIELDS:
                    raise CurriculumError(f"{where}: unknown key {key!r}; known: {', '.join(_FIELDS)}")
            for key in ("day", "slug", "title"):
                if key not in entry:
                    raise CurriculumError(f"{where}: key {key!r} is missing")
            for key, value in entry.items():
                if not isinstance(value, _FIELDS[key]):
                    raise CurriculumError(f"{where}: {key!r} is {value!r}: expected {_FIELDS[key].__name__}")
            if entry["day"] != len(out) + 1:
                raise CurriculumError(f"{where}: expected day {len(out) + 1} here")
            out.append(
                Day(
                    number=entry["day"],
                    slug=entry["slug"],
                    title=entry["title"],
                    part=part["title"],
                    minutes=entry.get("minutes", 60),
                    needs=tuple(entry.get("needs", ())),
                    files=tuple(entry.get("files", ())),
                    functions=tuple(entry.get("functions", ())),
                    piece=entry.get("piece", ""),
                    written=bool(entry.get("files")),
                )
            )
    return tuple(out)


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
