"""`python -m grader`: the map of the sixty days; `python -m grader day07`: grade a day; `--help` for the rest."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from engine import terminal
from grader.commands.app import app

for _name in ("grade", "learn", "teach", "author"):  # in the order of `--help`
    importlib.import_module(f"grader.commands.{_name}")


def main() -> None:
    """Run, under the name by which it was called."""
    terminal.run(app, "warp60" if Path(sys.argv[0]).name == "warp60" else "python -m grader")


if __name__ == "__main__":
    main()
