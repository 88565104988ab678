"""`python -m grader`: the map of the sixty days; `python -m grader day07`: grade a day."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """Exit status: 0 passed; 1 failed (wrong, unsafe, crashed, …); 2 wrong usage; 3 not solved yet; 4 not run;
130 interrupted."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def stop(message: str) -> typer.Exit:
    """A usage error: one line, status 2."""
    print(message, file=sys.stderr)
    return typer.Exit(2)


@app.command("grade", epilog=EPILOG)
def grade_day(
    day: Annotated[str, typer.Argument(help="17, day17 or day17_forward_pass")],
    solution: Annotated[bool, typer.Option("--solution", help="grade the reference solution")] = False,
    mutant: Annotated[str, typer.Option("--mutant", help="grade a named wrong version of the solution")] = "",
    folder: Annotated[Path | None, typer.Option("--from", help="grade the lesson in this folder")] = None,
    device: Annotated[str, typer.Option("--device", help="cuda or cpu; default: cuda where a GPU answers")] = "",
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="repeat a grading with the same numbers")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="run every case, also after a failure")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    time_limit: Annotated[float, typer.Option("--time-limit", min=0.1, help="seconds that one call may take")] = 20.0,
) -> None:
    """Grade one day."""
    from grader import curriculum, mutants, present, progress
    from grader.grade import GraderError, grade
    from grader.verdict import Verdict, exit_status

    if device not in ("", "cuda", "cpu"):
        raise stop(f"--device {device}: expected cuda or cpu")
    if (folder is not None) + solution + bool(mutant) > 1:
        raise stop("--solution, --mutant and --from exclude each other")
    try:
        chosen = curriculum.find(day)
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    if not chosen.written:
        raise stop(f"day {chosen.number} · {chosen.slug} is not written yet; `python -m grader` shows which days are")
    seed = secrets.randbelow(100_000) if seed is None else seed
    console = _console()
    with mutants.Workshop() as workshop:
        target, source = chosen.name, chosen.lesson
        if solution:
            target, source = f"{chosen.name} --solution", chosen.solution
        elif folder is not None:
            target, source = f"{chosen.name} --from {folder}", folder
        elif mutant:
            named = {m.name: m for m in mutants.mutants(chosen)}
            if mutant not in named:
                raise stop(f"{chosen.name} has no mutant {mutant!r}; it has {', '.join(named)}")
            target, source = f"{chosen.name} --mutant {mutant}", workshop.folder(chosen, named[mutant])
        try:
            report = grade(chosen, source, device=device, seed=seed, keep_going=keep_going, call_limit_s=time_limit)
        except GraderError as error:
            raise stop(str(error)) from error
    learners = source == chosen.lesson
    note = ""
    if learners and report.verdict is Verdict.PASSED:
        try:
            progress.record(chosen, source, report.device, seed)
        except (OSError, ValueError) as error:
            note = f"your progress could not be noted: {error}"
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        console.print(present.header(chosen, report.device, seed))
        present.checks(console, report)
        present.verdict(console, chosen, report, target, learners)
    if note:
        print(note, file=sys.stderr)
    raise typer.Exit(exit_status(report.verdict))


@app.command("map")
def show_map() -> None:
    """Show the sixty days and your progress."""
    from grader import present

    try:
        present.day_map(_console())
    except ValueError as error:
        raise stop(str(error)) from error


@app.command("hint")
def show_hint(
    day: Annotated[str, typer.Argument(help="17, day17 or day17_forward_pass")],
    tier: Annotated[int, typer.Argument(min=1, max=3, help="1 where to look, 2 the key step, 3 the shape")] = 1,
) -> None:
    """Show one of a day's three hints."""
    from rich.markdown import Markdown

    from grader import curriculum, hints

    try:
        found = hints.hints(curriculum.find(day))
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    if tier > len(found):
        raise stop(f"{day} has {len(found)} hints")
    title, text = found[tier - 1]
    console = _console()
    console.print(f"[bold]{title}[/bold]")
    console.print(Markdown(text))
    if tier < len(found):
        console.print(f"[dim]more: python -m grader hint {day} {tier + 1}[/dim]")


@app.command("stubs")
def make_stubs(
    check: Annotated[bool, typer.Option("--check", help="change nothing; fail where a stub is out of date")] = False,
) -> None:
    """Derive the stubs in days/ from solutions/ (for those who write lessons: overwrites days/)."""
    from grader import stubs

    try:
        changed = stubs.stale() if check else stubs.write_all()
    except stubs.StubError as error:
        raise stop(str(error)) from error
    for path in changed:
        print(f"{'out of date' if check else 'written'}: {path}")
    raise typer.Exit(1 if check and changed else 0)


def _console():  # type: ignore[no-untyped-def]
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


COMMANDS = {"grade", "map", "hint", "stubs"}


def main() -> None:
    """`python -m grader day07` is short for `python -m grader grade day07`; without a day it shows the map."""
    arguments = sys.argv[1:]
    if not arguments:
        arguments = ["map"]
    elif arguments[0] not in COMMANDS and not arguments[0].startswith("-"):
        arguments = ["grade", *arguments]
    try:
        app(args=arguments, prog_name="python -m grader")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
