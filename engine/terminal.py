"""How a command line of ours ends: statuses and last words, the same for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

INTERRUPTED = 130
USAGE = 2
OURS = ("engine", "grader", "emulator")
PIPE_CLOSED = 141  # as a shell reports SIGPIPE


def start(load: Callable[[], Any], name: str) -> NoReturn:
    """Import an application, run it and leave.

    An interruption during the imports ends as one does later; a package that is missing is named, with what to do.

    Args:
        load: does all imports and returns the application.
        name: of the program, as help and errors show it.
    """
    try:
        app = load()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OURS:
            raise
        print(
            f"{sys.executable} has no package {error.name}: it is not the environment that warp60 is installed in.\n"
            "In this folder: source .venv/bin/activate",
            file=sys.stderr,
        )
        sys.exit(USAGE)
    run(app, name)


def run(app: Any, name: str) -> NoReturn:
    """Run a Typer application and leave.

    Ctrl-C ends with one word and status 130, wrong usage with one line and status 2; a reader that goes away (`… | head`) ends
    it quietly.

    Args:
        name: of the program, as help and errors show it.
    """
    try:
        status = app(prog_name=name, standalone_mode=False)  # what typer.Exit carried, or None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush into
        sys.exit(PIPE_CLOSED)
    except (KeyboardInterrupt, EOFError):
        status = INTERRUPTED
    except Exception as error:
        if type(error).__name__ == "Abort":  # Click's word for Ctrl-C
            status = INTERRUPTED
        elif hasattr(error, "format_message"):  # a usage error of Click's
            print(f"{error.format_message()}\ntry: {name} --help", file=sys.stderr)
            status = USAGE
        else:
            raise
    if status == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    sys.exit(status)
