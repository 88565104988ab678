"""`python -m grader`: the map of the sixty days; `python -m grader day07`: grade a day; `--help` for the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine import terminal

COMMANDS = ("grade", "learn", "teach", "author")  # modules of grader/commands, in the order of `--help`


def load() -> Any:
    """The application with all its commands."""
    import importlib

    from grader.commands.app import app

    for name in COMMANDS:
        importlib.import_module(f"grader.commands.{name}")
    return app


def main() -> None:
    """Run, under the name by which it was called."""
    terminal.start(load, "warp60" if Path(sys.argv[0]).name == "warp60" else "python -m grader")


if __name__ == "__main__":
    main()
