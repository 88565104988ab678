"""`publish`: a student edition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grader.commands.app import day_names, stop


def publish(
    day: Annotated[
        str, typer.Argument(help="the last day that goes in: 17, day17 or day17_forward_pass", autocompletion=day_names)
    ],
    to: Annotated[Path, typer.Argument(help="a new folder, or one that was published into before")],
    solutions_up_to: Annotated[int, typer.Option(min=0, help="the last day whose solution goes in too")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="also replace files that were edited; a copy of each stays as NAME.bak")
    ] = False,
) -> None:
    """Make a student edition up to a day, or bring one up to date; what its owner has edited is left alone."""
    from grader import curriculum
    from grader import publish as publishing

    try:
        up_to = curriculum.find(day).number
        done = publishing.publish(to, up_to, solutions_up_to, force=force)
    except (curriculum.CurriculumError, publishing.PublishError) as error:
        raise stop(str(error)) from error
    print(
        f"days 1 to {up_to} in {to}: {len(done.new)} files new, {len(done.updated)} updated, {len(done.removed)} removed"
    )
    if done.withheld:
        print(f"  left out of the engine, since a learner writes it: {', '.join(done.withheld)}")
    for words, names in (
        ("left out, since its solution is one file with a later day's", done.shared),
        ("left alone, since it was edited", done.kept),
        ("kept a copy", done.backups),
        ("WARNING: shows what a learner should write", done.leaks),
    ):
        for name in names:
            print(f"  {words}: {name}")
    if any(name.startswith("days/") for name in done.kept):
        print("  the new stubs are in stubs/")
