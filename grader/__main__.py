"""`python -m grader`: the map of the sixty days; `python -m grader day07`: grade a day; `--help` for the rest."""

from __future__ import annotations

import sys

COMMANDS = ("grade", "learn", "teach", "author")  # modules of grader/commands, in the order of `--help`


def main() -> None:
    """Run, under the name by which it was called."""
    try:
        import importlib
        from pathlib import Path

        from engine import terminal
        from grader.commands.app import app

        for name in COMMANDS:
            importlib.import_module(f"grader.commands.{name}")
    except KeyboardInterrupt:  # before there is anybody to handle it
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("engine", "grader", "emulator"):
            raise
        print(
            f"{sys.executable} has no package {error.name}: it is not the environment that warp60 is installed in.\n"
            "In this folder: source .venv/bin/activate",
            file=sys.stderr,
        )
        sys.exit(2)
    terminal.run(app, "warp60" if Path(sys.argv[0]).name == "warp60" else "python -m grader")


if __name__ == "__main__":
    main()
