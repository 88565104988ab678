"""A student edition: the course up to a day, in a folder that works by itself and gives no open solution away.

What goes in: the emulator, the grader, the engine and its kernels; the days that are published, as stubs; the whole map.

What stays out: the solutions, except those that are asked for, and the mutants, which are edits of them. The engine is made of
solutions too: where `solutions/…/lesson.py` or `kernel.cu` is a link, the engine keeps that file. The engine needs such a
module to be imported, so a withheld `.py` goes in as its stub: it has every name, and calling one says which day writes it.
A withheld `.cu` goes in as an `#error` with the same words: a kernel with an empty body would compile and compute garbage.
A header that nothing in the edition includes stays out; so do the fused steps, which later days build (`BUILT_BY`).
A learner without the reference still has an engine for the pieces that are solved, since those are the learner's own files.
A grading compares with the reference where it is there; elsewhere the checks that need it are NOT RUN, and say why.

Publishing into the same folder again updates what the learner has not edited. `edition.json` has a hash of each file as it was
published: a file that differs was edited, and is left alone. `.warp60/`, the learner's progress, is never touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grader import edition, pages, stubs
from grader.curriculum import REPOSITORY, Day, days
from grader.edition import Edition

ROOMS = ("emulator", "engine", "grader", "kernels")
FILES = (".gitignore", "LICENSE", "curriculum.yaml", "pyproject.toml")
PICTURES = (".png", ".svg")
# What later days build, as the engine keeps it: from the edition on that has the solutions up to this day.
BUILT_BY = {"engine/fused/": 34, "kernels/decode/": 34, "kernels/rows/": 34}
_CHECKS = re.compile(r"grader/checks/day(\d\d)\.py")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


class PublishError(ValueError):
    """An edition cannot be made; the message says why."""


@dataclass(frozen=True)
class Piece:
    """One file of an edition: its content, or a link to another file of it."""

    content: bytes = b""
    link: str = ""
    executable: bool = False

    @property
    def mark(self) -> str:
        """What `edition.json` notes of it."""
        return f"link {self.link}" if self.link else hashlib.sha256(self.content).hexdigest()[:32]


@dataclass
class Outcome:
    """What publishing did, as paths from the edition's root.

    Attributes:
        kept: edited since they were published, and left alone.
        backups: copies of edited files that `force` replaced.
        withheld: files of the engine that are left out or are stubs.
        shared: days whose solution was asked for and is left out: it is one file with that of a later day.
        leaks: places that show lines of a solution that is left out.
    """

    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)


def publish(to: Path, up_to: int, solutions_up_to: int = 0, *, force: bool = False) -> Outcome:
    """Make an edition, or bring one up to date.

    Args:
        to: its folder: a new one, an empty one, or one that was published into before.
        up_to: the last day that goes in.
        solutions_up_to: the last day whose solution goes in too.
        force: also replace what the learner edited; a copy of each stays beside it.

    Raises:
        PublishError: the folder is something else, or cannot be written; files that were edited are as they were.
    """
    if edition.read(REPOSITORY) is not None:
        raise PublishError("this is a student edition itself; an edition is made from a full checkout")
    if solutions_up_to > up_to:
        raise PublishError(f"solutions up to day {solutions_up_to} in an edition up to day {up_to}")
    before = _folder_is_free(to)
    outcome = Outcome()
    pieces = contents(up_to, solutions_up_to, outcome)
    outcome.leaks = [f"{place}: lines of day {day}'s solution" for place, day in leaks(pieces, solved(solutions_up_to))]
    try:
        _write(to, pieces, before or Edition(up_to, solutions_up_to), Edition(up_to, solutions_up_to), force, outcome)
    except OSError as error:
        raise PublishError(f"{error.filename or to}: {error.strerror}; run it again to go on") from error
    return outcome


# ---- what goes in ----------------------------------------------------------------------------------------------------


def owners() -> dict[str, list[Day]]:
    """The engine's files that are solutions, and of which days: also of days that the curriculum does not announce yet."""
    out: dict[str, list[Day]] = {}
    for day in days():
        for file in sorted(day.solution.glob("*")):
            place = file.resolve()
            if place.is_relative_to(REPOSITORY) and not place.is_relative_to(REPOSITORY / "solutions"):
                out.setdefault(place.relative_to(REPOSITORY).as_posix(), []).append(day)
    return out


def solved(solutions_up_to: int) -> list[Day]:
    """The days whose solutions can go in: no file of theirs is also that of a later day."""
    chosen = [day for day in days() if day.has_solution and day.number <= solutions_up_to]
    while True:
        split = [d for group in owners().values() if not all(d in chosen for d in group) for d in group if d in chosen]
        if not split:
            return chosen
        chosen = [day for day in chosen if day not in split]


def contents(up_to: int, solutions_up_to: int, outcome: Outcome) -> dict[str, Piece]:
    """Every file of an edition, by path.

    Args:
        outcome: gets what is withheld.

    Raises:
        PublishError: none of these days is written.
    """
    published = [day for day in days() if day.written and day.number <= up_to]
    if not published:
        raise PublishError(f"no day up to {up_to} is written yet")
    with_solution = solved(solutions_up_to)
    outcome.shared = [
        d.name for d in days() if d.has_solution and d.number <= solutions_up_to and d not in with_solution
    ]
    withheld = {path: group for path, group in owners().items() if not all(d in with_solution for d in group)}
    outcome.withheld = sorted(withheld)
    out: dict[str, Piece] = {}
    for path in _room_files():
        name = path.relative_to(REPOSITORY).as_posix()
        later = _CHECKS.fullmatch(name)
        if later and int(later[1]) > up_to:
            continue
        if any(name.startswith(folder) and solutions_up_to < day for folder, day in BUILT_BY.items()):
            continue
        if name in withheld:
            out[name] = Piece(_left_out(path, withheld[name], up_to).encode())
        else:
            out[name] = Piece(path.read_bytes(), executable=bool(path.stat().st_mode & stat.S_IXUSR))
    for day in published:
        for path in _pages(day.lesson):
            out[f"days/{day.folder_name}/{path.name}"] = Piece(path.read_bytes())
        for name, text in stubs.stub_files(day).items():
            out[f"days/{day.folder_name}/{name}"] = out[f"{stubs.GIVEN}/{day.folder_name}/{name}"] = Piece(
                text.encode()
            )
    for day in with_solution:
        for path in sorted(p for p in day.solution.iterdir() if p.is_file() and not p.name.startswith(".")):
            name = f"solutions/{day.folder_name}/{path.name}"
            kept = path.is_symlink() and path.resolve().relative_to(REPOSITORY).as_posix() in out
            out[name] = Piece(link=str(path.readlink())) if kept else Piece(path.read_bytes())
    for name in _unused_headers(out):
        del out[name]
    text = pages.render(
        "edition.md.jinja", days=published, up_to=up_to, solved=with_solution, withheld=outcome.withheld
    )
    out["README.md"] = Piece(text.encode())
    for name, piece in out.items():
        if name.endswith(".md") and piece.content:
            out[name] = Piece(_without_dead_links(piece.content.decode(), name, out).encode())
    return dict(sorted(out.items()))


def _room_files() -> Iterator[Path]:
    for name in FILES:
        if (REPOSITORY / name).is_file():
            yield REPOSITORY / name
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*")):
            parts = path.relative_to(REPOSITORY).parts
            if path.is_file() and not any(p.startswith(".") or p == "__pycache__" or p.endswith("~") for p in parts):
                yield path


def _unused_headers(pieces: dict[str, Piece]) -> list[str]:
    """Headers of kernels/ that nothing in the edition includes: one may be what a learner writes, kept for later days."""
    headers = {name for name in pieces if name.startswith("kernels/") and name.endswith(".cuh")}
    used: set[str] = set()
    waiting = [name for name in pieces if name.endswith(".cu")]
    while waiting:
        text = pieces[waiting.pop()].content.decode(errors="replace")
        found = {f"kernels/{name}" for name in re.findall(r'^\s*#include "([^"]+)"', text, re.MULTILINE)}
        waiting += sorted((found & headers) - used)
        used |= found & headers
    return sorted(headers - used)


def _pages(folder: Path) -> list[Path]:
    """A day's page and its pictures; what else lies there may be somebody's work."""
    return sorted(p for p in folder.iterdir() if p.is_file() and (p.name == "README.md" or p.suffix in PICTURES))


def _left_out(path: Path, group: Sequence[Day], up_to: int) -> str:
    """What stands in place of a file that would give solutions away."""
    words = "; ".join(
        f"day {d.number} ({d.slug}) "
        + (f"is where you write it, in days/{d.folder_name}/" if d.number <= up_to else "is not published yet")
        for d in group
    )
    if path.suffix == ".py":
        return f"# Left out of this edition: {words}.\n" + stubs.stub_of(path.read_text(encoding="utf-8"), path.name)
    return f'#error "left out of this edition: {words}"\n'


def _without_dead_links(text: str, page: str, names: dict[str, Piece]) -> str:
    """A page in which a link to what is not in the edition is its words alone."""
    folders = {parent.as_posix() for name in names for parent in Path(name).parents}

    def link(match: re.Match[str]) -> str:
        target = match[2].partition("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        place = os.path.normpath(Path(page).parent / target)
        return match[0] if place in names or place in folders else match[1]

    return _LINK.sub(link, text)


# ---- does it give anything away? --------------------------------------------------------------------------------------

RUN = 2  # so many lines in a row are no coincidence


def leaks(pieces: dict[str, Piece], with_solution: Sequence[Day]) -> list[tuple[str, int]]:
    """Places that show what a learner should write: path and line, and the day.

    Lines that a learner is given elsewhere do not count, nor does the grader: it has to know the right answers.
    """
    given: set[tuple[str, ...]] = set()
    for day in days():
        if day.has_solution:
            sources = [stub.splitlines() for stub in stubs.stub_files(day).values()]
            if day in with_solution:
                sources += [(day.solution / name).read_text(encoding="utf-8").splitlines() for name in day.files]
            given.update(run for lines in sources for _, run in _runs(list(enumerate(lines, 1))))
    secret: dict[tuple[str, ...], int] = {}
    for day in days():
        if day.has_solution and day not in with_solution:
            for name in day.files:
                lines = stubs.lesson_lines((day.solution / name).read_text(encoding="utf-8"))
                secret.update((run, day.number) for _, run in _runs(lines) if run not in given)
    found = []
    for name, piece in pieces.items():
        if name.endswith((".cu", ".cuh", ".h", ".md", ".py")) and not name.startswith("grader/"):
            lines = list(enumerate(piece.content.decode(errors="replace").splitlines(), 1))
            hits = {secret[run]: place for place, run in reversed(list(_runs(lines))) if run in secret}
            found += [(f"{name}:{place}", day) for day, place in hits.items()]
    return found


def _runs(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Lines of code, `RUN` at a time, with the number of the first; blank ones, comments and brackets aside."""
    code = [
        (n, " ".join(t.split())) for n, t in lines if re.search(r"\w{2}", t) and not t.lstrip().startswith(("#", "//"))
    ]
    for i in range(len(code) - RUN + 1):
        yield code[i][0], tuple(text for _, text in code[i : i + RUN])


# ---- writing it ------------------------------------------------------------------------------------------------------


def _folder_is_free(to: Path) -> Edition | None:
    """The edition that is there already; refuses a folder that is something else."""
    place = to.resolve()
    if place.is_relative_to(REPOSITORY) or REPOSITORY.is_relative_to(place):
        raise PublishError(f"{to}: choose a folder outside of this checkout")
    try:
        before = edition.read(place)
        if before is None and place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise PublishError(f"{to}: there is something else already; choose a new folder")
    except edition.EditionError as error:
        raise PublishError(str(error)) from error
    except OSError as error:
        raise PublishError(f"{to}: {error.strerror}") from error
    return before


def _write(
    to: Path, pieces: dict[str, Piece], before: Edition, now: Edition, force: bool, outcome: Outcome
) -> None:  # fmt: skip
    root = to.resolve()
    root.mkdir(parents=True, exist_ok=True)
    marks = {name: piece.mark for name, piece in pieces.items()}
    # Noted before anything is written: what an interruption leaves behind is not taken for the learner's work.
    _put(root / edition.NAME, Piece(Edition(now.up_to, now.solutions_up_to, before.files, marks).text().encode()))

    def untouched(name: str, mark: str | None) -> bool:
        return mark is not None and mark in (before.files.get(name), before.pending.get(name))

    for name, piece in pieces.items():
        path, mark = root / name, _mark_of(root, name)
        if mark == piece.mark:
            continue
        if mark is None:
            outcome.new.append(name)
        elif untouched(name, mark):
            outcome.updated.append(name)
        elif force and mark != _OTHER:
            outcome.backups.append(_back_up(path).relative_to(root).as_posix())
            outcome.updated.append(name)
        else:
            outcome.kept.append(name)
            marks[name] = before.files.get(name, "")
            continue
        _put(path, piece)
    for name in sorted((before.files.keys() | before.pending.keys()) - pieces.keys()):
        mark = _mark_of(root, name)
        if untouched(name, mark):
            (root / name).unlink()
            outcome.removed.append(name)
            _remove_empty(root, (root / name).parent)
        elif mark is not None:
            outcome.kept.append(name)
            marks[name] = before.files.get(name, "")
    _put(root / edition.NAME, Piece(Edition(now.up_to, now.solutions_up_to, marks).text().encode()))


_OTHER = "something else"  # a folder, a pipe, or a way out of the edition


def _mark_of(root: Path, name: str) -> str | None:
    """The mark of what is there now, or None."""
    path = root / name
    if not path.parent.resolve().is_relative_to(root):
        return _OTHER
    if path.is_symlink():
        return Piece(link=str(path.readlink())).mark
    if path.is_file():
        return Piece(path.read_bytes()).mark
    if path.exists() or any(p.exists() and not p.is_dir() for p in path.parents):
        return _OTHER
    return None


def _put(path: Path, piece: Piece) -> None:
    """Write a file in one step: a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".publish-") as workshop:
        whole = Path(workshop) / "new"
        if piece.link:
            whole.symlink_to(piece.link)
        else:
            whole.write_bytes(piece.content)
            whole.chmod(0o755 if piece.executable else 0o644)
        whole.replace(path)


def _back_up(path: Path) -> Path:
    number, backup = 1, path.with_name(f"{path.name}.bak")
    while backup.exists() or backup.is_symlink():
        number += 1
        backup = path.with_name(f"{path.name}.bak{number}")
    path.rename(backup)
    return backup


def _remove_empty(root: Path, folder: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
