"""A learner's files, kept: backups before anything is overwritten, and the difference to the solution."""

from __future__ import annotations

import difflib
import shutil
from datetime import datetime
from pathlib import Path

from grader import progress, stubs
from grader.curriculum import Day


def changed_files(day: Day) -> list[str]:
    """Files of the learner's lesson that are not their stubs any more, missing ones included."""
    out = []
    for name, text in stubs.stub_files(day).items():
        try:
            if (day.lesson / name).read_text(encoding="utf-8") != text:
                out.append(name)
        except (OSError, UnicodeDecodeError):
            out.append(name)
    return out


def back_up(day: Day) -> Path:
    """Copy the learner's files to `.warp60/backups/`, into a folder of its own, and return that.

    Raises:
        OSError: it cannot be written; nothing of the lesson was touched.
    """
    root = progress.path().parent / "backups"
    stamp = f"{datetime.now():%Y-%m-%d-%H%M%S}"
    folder = root / f"{day.name}-{stamp}"
    number = 1
    while folder.exists():
        number += 1
        folder = root / f"{day.name}-{stamp}-{number}"
    folder.mkdir(parents=True)
    for name in day.files:
        if (day.lesson / name).is_file():
            shutil.copy2(day.lesson / name, folder / name)
    return folder


def reset(day: Day) -> Path:
    """Back up the learner's files, then put the stubs in their place.

    Returns:
        The folder of the backup.

    Raises:
        OSError: the backup or a stub cannot be written.
    """
    backup = back_up(day)
    day.lesson.mkdir(parents=True, exist_ok=True)
    for name, text in stubs.stub_files(day).items():
        whole = day.lesson / f".{name}.new"
        whole.write_text(text, encoding="utf-8")
        whole.replace(day.lesson / name)  # in one step: a full disk leaves the old file
    return backup


def differences(day: Day) -> str:
    """What separates the learner's files from the solution, as a unified diff; "" where nothing does."""
    parts: list[str] = []
    for name in day.files:
        mine = (day.lesson / name).read_text(encoding="utf-8").splitlines(keepends=True)
        theirs = solution_text(day, name).splitlines(keepends=True)
        parts += difflib.unified_diff(mine, theirs, f"yours/{name}", f"solution/{name}")
    return "".join(parts)


def solution_text(day: Day, name: str) -> str:
    """A file of the solution without the markers that stubs are made by."""
    return stubs.unmarked((day.solution / name).read_text(encoding="utf-8"))
