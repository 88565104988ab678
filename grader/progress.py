"""Which days a learner has passed, on what evidence: `.warp60/progress.json` in the checkout."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from grader.curriculum import REPOSITORY, Day, days


@dataclass(frozen=True)
class Pass:
    """One passed day."""

    device: str
    seed: int
    source_hash: str
    when: str  # ISO 8601, UTC


def path() -> Path:
    """Where progress is kept."""
    return Path(os.environ.get("WARP60_PROGRESS") or REPOSITORY / ".warp60" / "progress.json")


def source_hash(day: Day, folder: Path) -> str:
    """Changes with any of the lesson's files."""
    digest = hashlib.sha256()
    for name in day.files:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


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
