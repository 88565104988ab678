"""Which days a learner has passed, on what evidence: `.warp60/progress.json` in the checkout.

Beside it, `history.jsonl` has a line for each grading of the learner's own lessons, the newest last.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import pieces as pieces_of_engine
from grader.curriculum import Day, days
from grader.verdict import Report, Verdict

MOST_HISTORY_BYTES = 4 << 20  # some two thousand gradings; then the older half goes


@dataclass(frozen=True)
class Pass:
    """One passed day."""

    device: str
    seed: int
    source_hash: str
    when: str  # ISO 8601, UTC


def path() -> Path:
    """Where progress is kept."""
    return pieces_of_engine.progress_file()


def source_hash(day: Day, folder: Path) -> str:
    """Changes with any of the lesson's files."""
    return pieces_of_engine.source_hash(folder, day.files)


def read() -> dict[str, Pass]:
    """Passed days by name; none where nothing was passed yet.

    Raises:
        ValueError: the file is there and is not what it should be; it is left as it is.
    """
    file = path()
    try:
        entries = json.loads(file.read_text())
        return {name: Pass(**entry) for name, entry in entries.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read: {error}. Move it away to start afresh.") from error


def record(day: Day, folder: Path, device: str, seed: int) -> None:
    """Note that the learner's own lesson passed; the file is replaced in one step."""
    passed = read()
    kind = "cpu" if device.startswith("cpu") else "gpu"
    passed[day.name] = Pass(kind, seed, source_hash(day, folder), datetime.now(UTC).isoformat(timespec="seconds"))
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as out:
        json.dump({name: asdict(p) for name, p in sorted(passed.items())}, out, indent=1)
    Path(out.name).replace(file)


def is_stale(day: Day, passed: Pass) -> bool:
    """Whether the lesson was edited since it passed."""
    try:
        return source_hash(day, day.lesson) != passed.source_hash
    except OSError:
        return True


def fresh() -> list[str]:
    """Names of the days that passed and were not edited since."""
    passed = read()
    return [day.name for day in days() if day.name in passed and not is_stale(day, passed[day.name])]


def pieces(without: Day) -> dict[str, Path]:
    """The learner's lesson of each piece of the engine whose day has passed, by piece.

    Args:
        without: the day that is being graded.
    """
    passed = fresh()
    return {d.piece: d.lesson / "lesson.py" for d in days() if d.piece and d.name in passed and d != without}


def note(day: Day, folder: Path, report: Report) -> None:
    """Note a grading of the learner's own lesson: in the history, and if it passed, as progress.

    Raises:
        OSError, ValueError: it cannot be noted.
    """
    remember(day, folder, report)
    if report.verdict is Verdict.PASSED:
        record(day, folder, report.device, report.seed)


# ---- history ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grading:
    """One grading of the learner's own lesson, as it was noted.

    Attributes:
        day: `day07`.
        device: as output names it.
        when: ISO 8601, UTC.
        checks: name, verdict, detail and figures of each.
    """

    day: str
    verdict: str
    device: str
    seed: int
    source_hash: str
    when: str
    seconds: float
    checks: tuple[dict[str, Any], ...]


def history_path() -> Path:
    """Where the history is kept."""
    return path().parent / "history.jsonl"


def remember(day: Day, folder: Path, report: Report) -> None:
    """Add a grading to the history.

    Raises:
        OSError: it cannot be written.
    """
    checks = [
        {"name": c.name, "verdict": c.verdict.value, "detail": c.detail[:300], "figures": c.figures}
        for c in report.checks
    ]
    entry = Grading(
        day.name, report.verdict.value, report.device, report.seed, source_hash(day, folder),
        datetime.now(UTC).isoformat(timespec="seconds"), round(report.seconds, 3), tuple(checks),
    )  # fmt: skip
    file = history_path()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        size = out.seek(0, os.SEEK_END)
        if size:
            out.seek(-1, os.SEEK_END)
        whole = not size or out.read(1) == b"\n"  # what an interruption cut does not take this line with it
        out.write((b"" if whole else b"\n") + json.dumps(asdict(entry)).encode() + b"\n")
        if size > MOST_HISTORY_BYTES:
            _shorten(file)


def history() -> list[Grading]:
    """All gradings that were noted, the oldest first; lines that are none are left out."""
    return [grading for line in _lines(history_path()) if (grading := _grading(line)) is not None]


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            yield from lines
    except OSError:
        return


def _grading(line: bytes) -> Grading | None:
    kinds: dict[str, Any] = {
        "day": str, "verdict": str, "device": str, "seed": int, "source_hash": str, "when": str, "seconds": (int, float),
        "checks": list,
    }  # fmt: skip
    try:
        entry = json.loads(line)
        known = {key: entry[key] for key in kinds}
        if not all(isinstance(known[key], kind) for key, kind in kinds.items()):
            return None
        datetime.fromisoformat(known["when"])
        checks = [
            {"name": str(c["name"]), "verdict": Verdict(c["verdict"]).value, "detail": str(c["detail"]),
             "figures": dict(c["figures"])}
            for c in known["checks"]
        ]  # fmt: skip
        return Grading(**{**known, "verdict": Verdict(known["verdict"]).value, "checks": tuple(checks)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _shorten(file: Path) -> None:
    """Keep the newer half of the history, and of the older half each day's first pass."""
    lines = list(_lines(file))
    passed: set[str] = set()
    kept = []
    for number, line in enumerate(lines):
        grading = _grading(line)
        first = grading is not None and grading.verdict == Verdict.PASSED and grading.day not in passed
        if grading is not None and first:
            passed.add(grading.day)
        if grading is not None and (first or number >= len(lines) // 2):
            kept.append(line)
    with tempfile.NamedTemporaryFile("wb", dir=file.parent, delete=False) as out:
        out.writelines(kept)
    Path(out.name).replace(file)
