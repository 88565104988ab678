"""Submissions as they come: any names, links, pipes, folders in a file's place. Only plain files of sensible size are taken."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.curriculum import Day, days

MOST_BYTES = 1 << 20  # of one file: a lesson has a few thousand
MOST_OTHER_BYTES = 1 << 20  # of all that lies beside a lesson's own files
OTHERS = (".cu", ".cuh", ".h", ".hpp", ".py")  # that a lesson may come with beside its own files


class CohortError(ValueError):
    """A folder of submissions cannot be graded as a whole; the message says why."""


class Unusable(Exception):  # noqa: N818  (a property of what was handed in)
    """Something was handed in that is no lesson; the message says what."""


@dataclass(frozen=True)
class Submission:
    """What a student handed in for one day.

    Attributes:
        student: the name of their folder, as the file system has it.
        folder: where the day's files lie.
        root: the student's folder, which nothing may lead out of.
    """

    student: str
    day: Day
    folder: Path
    root: Path

    @property
    def name(self) -> str:
        """For the screen."""
        return f"{shown(self.student)} · {self.day.name}"


@dataclass(frozen=True)
class Found:
    """A folder of submissions, looked through."""

    students: tuple[str, ...]
    days: tuple[Day, ...]
    submissions: tuple[Submission, ...]


def shown(text: str) -> str:
    """Text from outside, fit for a screen or a page: no control characters, nothing that is no Unicode."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in clean)


def _order(name: str) -> tuple[str, str]:
    """As people sort names: an accent or a capital comes second."""
    return unicodedata.normalize("NFKD", name).casefold(), name


def find(root: Path, wanted: Sequence[Day] | None = None) -> Found:
    """Look through a folder with one subfolder for each student.

    A student's folder has `dayNN_slug/` folders, in it or in `days/`; or, where one day is wanted, its files directly.

    Args:
        wanted: the days to grade; None for all that somebody handed in.

    Raises:
        CohortError: it is no folder, nobody handed in anything, or files lie there without a day.
    """
    try:
        entries = sorted((e for e in os.scandir(root) if not e.name.startswith(".")), key=lambda e: _order(e.name))
    except OSError as error:
        raise CohortError(f"{root}: {error.strerror}") from error
    people = [e for e in entries if e.is_symlink() or e.is_dir()]
    if not people:
        raise CohortError(f"{root}: no folders in it; expected one for each student")
    direct = wanted[0] if wanted is not None and len(wanted) == 1 else None
    out = []
    for person in people:
        for day in (d for d in days() if d.written) if wanted is None else wanted:
            place = _place(Path(person.path), day, day == direct)
            if place is not None:
                out.append(Submission(person.name, day, place, Path(person.path)))
    if not out:
        lying = any(os.path.lexists(Path(p.path) / "lesson.py") for p in people)
        hint = "; which day are the files of? Say --days" if lying and wanted is None else ""
        raise CohortError(f"{root}: nobody handed in a folder dayNN_slug{hint}")
    found = wanted if wanted is not None else sorted({s.day for s in out}, key=lambda d: d.number)
    return Found(tuple(p.name for p in people), tuple(found), tuple(out))


def _place(person: Path, day: Day, direct: bool) -> Path | None:
    for folder in (person / day.folder_name, person / "days" / day.folder_name):
        if os.path.lexists(folder):
            return folder
    return person if direct and any(os.path.lexists(person / name) for name in day.files) else None


def take(submission: Submission) -> dict[str, bytes]:
    """The files of a submission.

    Raises:
        Unusable: one of the day's files is missing, too large, no plain file, or lies outside of the student's folder.
    """
    out = {name: _read(submission, submission.folder / name) for name in submission.day.files}
    try:
        others = sorted(p.name for p in submission.folder.iterdir() if p.suffix in OTHERS and p.name not in out)
    except OSError:
        others = []
    room = MOST_OTHER_BYTES
    for name in others:
        try:
            content = _read(submission, submission.folder / name)
        except Unusable:
            continue  # nobody asked for it
        room -= len(content)
        if room < 0:
            break
        out[name] = content
    return out


def _read(submission: Submission, path: Path) -> bytes:
    if submission.root.is_symlink():
        raise Unusable("the student's folder is a link")
    name = path.relative_to(submission.root).as_posix()
    place = Path(os.path.realpath(path))
    if not place.is_relative_to(os.path.realpath(submission.root)):
        raise Unusable(f"{shown(name)} is a link that leads out of the submission")
    try:
        # Opening a pipe without O_NONBLOCK would wait for somebody to write.
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Unusable(f"{shown(name)}: no such file") from error
    except OSError as error:
        raise Unusable(f"{shown(name)}: cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise Unusable(f"{shown(name)} is {kind}: expected a file")
        if status.st_size > MOST_BYTES:
            raise Unusable(f"{shown(name)} has {status.st_size:,} bytes: expected at most {MOST_BYTES:,}")
        return os.pread(descriptor, MOST_BYTES, 0)
    except OSError as error:
        raise Unusable(f"{shown(name)}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def source_hash(files: dict[str, bytes]) -> str:
    """Changes with any of the files."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{len(name)} {len(content)} {name}\n".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()[:32]
