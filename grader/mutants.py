"""Named wrong versions of a solution: what the grader must fail, and what it recognises a learner's mistake by."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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
        needs: `checker` where only the emulator's checker can tell it apart.
    """

    name: str
    kind: str
    edits: tuple[tuple[str, str, str], ...]  # file, find, replace
    verdicts: tuple[Verdict, ...]
    diagnosis: str
    hint: int
    needs: str = ""


def mutants(day: Day) -> list[Mutant]:
    """The mutants of a day.

    Raises:
        MutantError: a key is missing or wrong.
    """
    path = day.solution / "mutants.yaml"
    out = []
    for entry in yaml.safe_load(path.read_text()):
        where = f"{path.parent.name}/{path.name}: {entry.get('name', 'a mutant without a name')}"
        try:
            mutant = Mutant(
                name=entry["name"],
                kind=entry["kind"],
                edits=tuple((e["file"], e["find"], e["replace"]) for e in entry["edits"]),
                verdicts=tuple(Verdict(v) for v in [entry["verdict"], *entry.get("also", [])]),
                diagnosis=entry["diagnosis"],
                hint=int(entry["hint"]),
                needs=entry.get("needs", ""),
            )
        except KeyError as error:
            raise MutantError(f"{where}: key {error} is missing") from error
        except ValueError as error:
            raise MutantError(f"{where}: {error}") from error
        if mutant.kind not in KINDS:
            raise MutantError(f"{where}: kind is {mutant.kind!r}: expected one of {', '.join(KINDS)}")
        out.append(mutant)
    return out


def apply(day: Day, mutant: Mutant, folder: Path) -> None:
    """Write the solution with the mutant's edits into a folder.

    Raises:
        MutantError: what an edit looks for does not stand exactly once in its file.
    """
    texts = {name: (day.solution / name).read_text() for name in day.files}
    for file, find, replace in mutant.edits:
        if texts[file].count(find) != 1:
            raise MutantError(
                f"{mutant.name}: {find!r} stands {texts[file].count(find)} times in {file}, expected once"
            )
        texts[file] = texts[file].replace(find, replace)
    for name, text in texts.items():
        (folder / name).write_text(text)


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
        folder = self._root / f"{day.name}-{mutant.name}"
        if not folder.exists():
            folder.mkdir()
            apply(day, mutant, folder)
        return folder
