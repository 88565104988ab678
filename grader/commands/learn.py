"""What a learner uses beside grading: the map, hints, watch, reset, diff, doctor."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from grader.commands.app import app, console, day_names, stop
from grader.commands.grade import Device, Seed, check_device

if TYPE_CHECKING:
    from grader.curriculum import Day

DayName = Annotated[str, typer.Argument(help="17, day17 or day17_forward_pass", autocompletion=day_names)]


def written_day(name: str) -> Day:
    """The day of that name, if it is written."""
    from grader import curriculum

    try:
        day = curriculum.find(name)
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    if not day.written:
        raise stop(f"day {day.number} · {day.slug} is {day.absence}; `python -m grader` shows which days are")
    return day


@app.command("map")
def show_map() -> None:
    """Show the sixty days and your progress."""
    from grader import present

    try:
        present.day_map(console())
    except ValueError as error:
        raise stop(str(error)) from error


@app.command("hint")
def show_hint(
    day: DayName,
    tier: Annotated[int, typer.Argument(min=1, max=3, help="1 where to look, 2 the key step, 3 the shape")] = 1,
) -> None:
    """Show one of a day's three hints."""
    from grader import hints

    found = hints.hints(written_day(day))
    if tier > len(found):
        raise stop(f"{day} has {len(found)} hints")
    hints.show(console(), found[tier - 1])
    if tier < len(found):
        console().print(f"[dim]more: python -m grader hint {day} {tier + 1}[/dim]")


@app.command("watch")
def watch_day(
    day: Annotated[
        str, typer.Argument(help="default: the next day that has not passed", autocompletion=day_names)
    ] = "",
    device: Device = "",
    seed: Seed = None,
) -> None:
    """Grade a day again whenever you save; keys for hints, the next day, the map."""
    from grader import progress, watch
    from grader.curriculum import days

    check_device(device)
    passed = progress.fresh()
    open_days = [d for d in days() if d.written and d.name not in passed]
    if day:
        chosen = written_day(day)
    elif open_days:
        chosen = open_days[0]
    else:
        raise stop("every lesson that is written has passed; name a day to watch it all the same")
    watch.watch(chosen, device=device, seed=seed, console=console())


@app.command("reset")
def reset_day(
    day: DayName,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put a day's stub back in place of your files, which are kept in a backup."""
    from grader import keeping

    chosen = written_day(day)
    changed = keeping.changed_files(chosen)
    if not changed:
        print(f"{chosen.name}: your files are the stubs already")
        return
    what = f"{' and '.join(changed)} of {chosen.name}"
    if not yes:
        if not sys.stdin.isatty():
            raise stop(f"reset would replace {what}; say --yes where nobody can be asked")
        if not typer.confirm(f"Replace {what} by the stubs? A backup is kept"):
            print("nothing changed")
            raise typer.Exit(1)
    try:
        backup = keeping.reset(chosen)
    except OSError as error:
        raise stop(f"{error.filename or chosen.lesson}: {error.strerror}; your files are as they were") from error
    print(f"{chosen.name} is its stub again; what you had: {backup}")


@app.command("diff")
def show_difference(
    day: DayName,
    spoil: Annotated[bool, typer.Option("--spoil", help="also before the day has passed")] = False,
) -> None:
    """Show your files beside the solution, once the day has passed."""
    from rich.syntax import Syntax

    from grader import keeping, progress

    chosen = written_day(day)
    if chosen.name not in progress.read() and not spoil:
        raise stop(f"{chosen.name} has not passed yet; --spoil shows the solution all the same")
    if not chosen.has_solution:
        raise stop(f"{chosen.name}: this edition of the course has no solution of it")
    try:
        difference = keeping.differences(chosen)
    except OSError as error:
        raise stop(f"{error.filename}: {error.strerror}") from error
    if not difference:
        print("no difference: your files are the solution")
        return
    if sys.stdout.isatty():
        console().print(Syntax(difference, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        print(difference, end="")


@app.command("doctor")
def examine(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Look at what this machine has: compile and run a kernel, and say what is missing and how to get it."""
    from grader import doctor

    findings = doctor.examine()
    if as_json:
        print(json.dumps({"findings": [f.as_json() for f in findings], "ready": doctor.ready(findings)}))
    else:
        doctor.show(console(), findings)
    raise typer.Exit(0 if doctor.ready(findings) else 1)
