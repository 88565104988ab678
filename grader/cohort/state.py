"""What was graded already, one JSON line each: an interrupted cohort goes on where it stopped."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from grader.cohort.submissions import CohortError
from grader.curriculum import REPOSITORY, Day

NAME = "gradebook.state.jsonl"


class State:
    """The state file of a gradebook, held by one cohort at a time.

    Attributes:
        seed: of the last cohort here, or None.
        results: by key (see `key`).
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.seed: int | None = None
        self.results: dict[str, dict[str, Any]] = {}
        self._file: TextIO | None = None

    def __enter__(self) -> State:
        try:
            self._file = self.path.open("a+", encoding="utf-8", errors="replace")
        except OSError as error:
            raise CohortError(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise CohortError(f"{self.path}: another cohort is writing here") from error
        self._file.seek(0)
        last = ""
        for last in self._file:
            try:
                entry = json.loads(last)
                if "seed" in entry:
                    self.seed = int(entry["seed"])
                else:
                    self.results[str(entry["key"])] = dict(entry["result"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # a line that an interruption cut
        if last and not last.endswith("\n"):
            self._file.write("\n")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def start(self, seed: int) -> None:
        """Note the seed of this cohort."""
        if seed != self.seed:
            self.seed = seed
            self._append({"seed": seed})

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Note a grading."""
        self.results[key] = result
        self._append({"key": key, "result": result})

    def _append(self, entry: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def key(student: str, day: Day, source: str, seed: int, device: str, call_limit_s: float) -> str:
    """What a grading depends on: the submission, how it is graded, and by which grader."""
    parts = (student, day.folder_name, source, str(seed), device, str(call_limit_s), _rules(day))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@functools.cache
def _rules(day: Day) -> str:
    """Changes with what grades the day: the grader, the emulator, the day's checks and solution."""
    digest = hashlib.sha256()
    files = [
        p
        for p in (REPOSITORY / "grader").rglob("*.py")
        if p.parent.name not in ("checks", "cohort", "commands", "report")
    ]
    files += [p for p in (REPOSITORY / "emulator").rglob("*") if p.suffix in (".py", ".cpp", ".h", ".cuh")]
    files += [
        REPOSITORY / "grader" / "checks" / f"{day.name}.py",
        *(p for p in day.solution.glob("*") if p.suffix != ".md"),
    ]
    for file in sorted(files):
        if file.is_file():
            digest.update(f"{file.relative_to(REPOSITORY)}\n".encode() + file.read_bytes())
    return digest.hexdigest()
