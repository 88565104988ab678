"""The command line itself: how commands are found, what day names complete to, how a usage error looks."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

EPILOG = """Exit status: 0 passed; 1 failed (wrong, unsafe, crashed, …); 2 wrong usage; 3 not solved yet; 4 not run;
130 interrupted."""


def day_names(incomplete: str) -> list[str]:
    """What a day's name completes to in a shell."""
    from grader.curriculum import CurriculumError, days

    try:
        return [d.folder_name for d in days() if d.folder_name.startswith(incomplete) or d.slug.startswith(incomplete)]
    except CurriculumError:
        return []


class DayFirst(TyperGroup):
    """`grader day07` is short for `grader grade day07`; without a word it shows the map."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of a bare day."""
        if ctx.resilient_parsing:  # of a line that is still being typed
            return super().parse_args(ctx, args)
        if not args:
            args = ["map"]
        elif not args[0].startswith("-") and args[0] not in self.commands:
            near = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.7)
            if near and not any(c.isdigit() for c in args[0]) and args[0] not in day_names(args[0]):
                ctx.fail(f"there is no command or day {args[0]!r}; did you mean {near[0]}?")
            args = ["grade", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands and days."""
        return [*super().shell_complete(ctx, incomplete), *map(_completion_item(), day_names(incomplete))]


def _completion_item() -> Any:
    """Click's class for it, from wherever this Typer has its Click."""
    try:
        module = importlib.import_module("typer._click.shell_completion")
    except ImportError:
        module = importlib.import_module("click.shell_completion")
    return module.CompletionItem


app = typer.Typer(
    cls=DayFirst,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
    help="Grades the sixty days. Without a word: the map and your progress; with a day's name: grades it.",
)


def stop(message: str) -> typer.Exit:
    """A usage error: one line, status 2."""
    print(message, file=sys.stderr)
    return typer.Exit(2)


def console() -> Any:
    """Where people read."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)
