"""Named wrong versions of a solution: what the grader must fail, and what it recognises a learner's mistake by."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from grader import located
from grader.curriculum import Day
from grader.verdict import Verdict

KINDS = ("boundary", "synchronisation", "indexing", "numerics", "semantics", "waste")


class MutantError(ValueError):
    """A mutants.yaml that cannot be used; the message names the mutant and the key."""


@dataclass(frozen=True)
class Mutant:
    """One wrong version.

    Attributes:
        verdicts: any of which is right for it; the first is the one to expect.
        diagnosis: what the grader says it looks like.
        hint: which of the day's hints to open.
    """

    name: str
    kind: str
    edits: tuple[tuple[str, str, str], ...]  # file, find, replace
    verdicts: tuple[Verdict, ...]
    diagnosis: str
    hint: int


def mutants(day: Day) -> list[Mutant]:
    """The mutants of a day; none where a student edition leaves its solution out.

    Raises:
        MutantError: a key is missing or wrong.
    """
    path = day.solution / "mutants.yaml"
    if not day.has_solution:
        return []
    try:
        return [_mutant(entry, f"{path.parent.name}/{path.name}") for entry in located.load(path)]
    except located.LocatedError as error:
        raise MutantError(str(error)) from error


_FIELDS: dict[str, type] = {
    "name": str, "kind": str, "edits": list, "verdict": str, "also": list, "diagnosis": str, "hint": int,
}  # fmt: skip
_EDIT: dict[str, type] = {"file": str, "find": str, "replace": str}


def _mutant(entry: Any, file: str) -> Mutant:
    name = entry.get("name", "a mutant without a name") if isinstance(entry, dict) else "a mutant"
    located.check(
        entry, f"{file}: {name}", _FIELDS, ("name", "kind", "edits", "verdict", "diagnosis", "hint")
    )  # fmt: skip
    for edit in entry["edits"]:
        located.check(edit, f"{file}: {name}", _EDIT, tuple(_EDIT))

    def refuse(key: str, problem: str) -> NoReturn:
        raise MutantError(f"{file}:{entry.lines[key]}: {name}: {problem}")

    if entry["kind"] not in KINDS:
        refuse("kind", f"kind is {entry['kind']!r}: expected one of {', '.join(KINDS)}")
    if not 1 <= entry["hint"] <= 3:
        refuse("hint", f"hint is {entry['hint']}: expected 1, 2 or 3")
    for key, values in (("verdict", [entry["verdict"]]), ("also", entry.get("also", []))):
        for value in values:
            if value not in Verdict.__members__:
                refuse(key, f"{key} is {value!r}: expected one of {', '.join(Verdict.__members__)}")
    return Mutant(
        name=entry["name"],
        kind=entry["kind"],
        edits=tuple((e["file"], e["find"], e["replace"]) for e in entry["edits"]),
        verdicts=tuple(Verdict(v) for v in [entry["verdict"], *entry.get("also", [])]),
        diagnosis=entry["diagnosis"],
        hint=entry["hint"],
    )


def texts(day: Day, mutant: Mutant) -> dict[str, str]:
    """The solution's files with the mutant's edits.

    Raises:
        MutantError: what an edit looks for does not stand exactly once in its file.
    """
    out = {name: (day.solution / name).read_text(encoding="utf-8") for name in day.files}
    for file, find, replace in mutant.edits:
        if out.get(file, "").count(find) != 1:
            raise MutantError(
                f"{mutant.name}: {find!r} stands {out.get(file, '').count(find)} times in {file}, expected once"
            )
        out[file] = out[file].replace(find, replace)
    return out


class Workshop:
    """Mutants written out, to be graded or compared with; gone when it closes."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="warp60-mutants-"))

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: Any) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def folder(self, day: Day, mutant: Mutant) -> Path:
        """The folder of a mutant, made at the first call."""
        return self.folder_of(f"{day.name}-{mutant.name}", texts(day, mutant))

    def folder_of(self, name: str, files: Mapping[str, str]) -> Path:
        """A folder with these files, made at the first call for that name."""
        folder = self._root / name
        if not folder.exists():
            folder.mkdir()
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
        return folder
