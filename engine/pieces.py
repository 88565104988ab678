"""Whose code the engine runs: the reference, or the learner's own for every piece whose day has passed.

A piece is a module of the engine, `engine.ops.rope` or `engine.weights`. `install` puts the learner's lesson in that module's
place before anything imports it, so every part of the engine that uses the piece gets the learner's.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).parent


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
            ENGINE / "generate.py",
        )
        if path.stem not in ("__init__", "arguments", "attend", "linear")
    )
)
