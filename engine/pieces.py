"""Whose code the engine runs: the reference, or the learner's own for every piece whose day has passed.

A piece is a module of the engine, `engine.ops.rope` or `engine.weights`. `install` puts the learner's lesson in that module's
place before anything imports it, so every part of the engine that uses the piece gets the learner's.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).parent
REPOSITORY = ENGINE.parent


class PieceError(RuntimeError):
    """A piece cannot be used; the message names it."""


def module_name(piece: str) -> str:
    """The engine's module of a piece: `engine.ops.rope` for `rope`.

    Raises:
        PieceError: the engine has no such piece.
    """
    for name, path in ((f"engine.ops.{piece}", ENGINE / "ops"), (f"engine.{piece}", ENGINE)):
        if (path / f"{piece}.py").is_file():
            return name
    raise PieceError(f"the engine has no piece {piece!r}")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the learner's lesson where an engine module is asked for."""

    def __init__(self) -> None:
        self.lessons: dict[str, Path] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The lesson, under the name of the module that it stands for."""
        lesson = self.lessons.get(fullname)
        return None if lesson is None else importlib.util.spec_from_file_location(fullname, lesson)


_finder = _Finder()


def install(lessons: Mapping[str, Path]) -> None:
    """Let the engine use a learner's lessons from now on.

    Args:
        lessons: lesson.py by piece.

    Raises:
        PieceError: the engine has no such piece, or has imported it already.
    """
    for piece in lessons:
        if module_name(piece) in sys.modules:
            raise PieceError(f"{piece} is in use already: pieces are chosen before the engine starts")
    _finder.lessons |= {module_name(piece): path for piece, path in lessons.items()}
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def progress_file() -> Path:
    """Where the grader keeps which days have passed: `WARP60_PROGRESS`, else `.warp60/progress.json` in the checkout."""
    return Path(os.environ.get("WARP60_PROGRESS") or REPOSITORY / ".warp60" / "progress.json")


def source_hash(folder: Path, files: Iterable[str]) -> str:
    """Changes with any of a lesson's files.

    Raises:
        OSError: one cannot be read.
    """
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def learners() -> dict[str, Path]:
    """The learner's own lesson.py of every piece whose day has passed and was not edited since, by piece.

    Raises:
        PieceError: what is kept about the progress cannot be read.
    """
    import yaml

    try:
        passed = json.loads(progress_file().read_text(encoding="utf-8"))
        hashes = {name: entry["source_hash"] for name, entry in passed.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PieceError(f"{progress_file()} cannot be read: {error}") from error
    out = {}
    curriculum = yaml.safe_load((REPOSITORY / "curriculum.yaml").read_text(encoding="utf-8"))
    for day in (day for part in curriculum["parts"] for day in part["days"] if "piece" in day):
        name = f"day{day['day']:02}"
        folder = REPOSITORY / "days" / f"{name}_{day['slug']}"
        try:
            if name in hashes and source_hash(folder, day["files"]) == hashes[name]:
                out[day["piece"]] = folder / "lesson.py"
        except OSError:
            continue  # the lesson is gone: the reference stands in
    return out


def in_use() -> dict[str, str]:
    """Each piece that was imported, and whose it is: `yours` or `reference`."""
    return {
        piece: "yours" if module_name(piece) in _finder.lessons else "reference"
        for piece in PIECES
        if module_name(piece) in sys.modules
    }


PIECES = tuple(
    sorted(
        path.stem
        for path in (
            *(ENGINE / "ops").glob("*.py"),
            ENGINE / "weights.py",
            ENGINE / "tokenizer.py",
            ENGINE / "cache.py",
            ENGINE / "sampling.py",
            ENGINE / "generate.py",
            ENGINE / "benchmark.py",
            ENGINE / "roofline.py",
            ENGINE / "checkpoint.py",
        )
        if path.stem not in ("__init__", "arguments", "attend", "linear")
    )
)
