"""`grade`: one day or several; `all`: everything that is written, against what it should come to."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grader.commands.app import EPILOG, app, console, day_names, stop

if TYPE_CHECKING:
    from grader.curriculum import Day
    from grader.verdict import Report

Device = Annotated[str, typer.Option("--device", help="cuda or cpu; default: cuda where a GPU answers")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="repeat a grading with the same numbers")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")]
JUnit = Annotated[Path | None, typer.Option("--junit", help="write a JUnit XML file as well")]


def chosen_seed(seed: int | None) -> int:
    """The seed that was given, or a fresh one."""
    return secrets.randbelow(100_000) if seed is None else seed


def check_device(device: str) -> None:
    """Refuse a device that there is not."""
    if device not in ("", "cuda", "cpu"):
        raise stop(f"--device {device}: expected cuda or cpu")


@app.command("grade", epilog=EPILOG)
def grade_days(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="DAY…", help="17, day17 or day17_forward_pass; 8-17 for several", autocompletion=day_names
        ),
    ],
    solution: Annotated[bool, typer.Option("--solution", help="grade the reference solution")] = False,
    mutant: Annotated[str, typer.Option("--mutant", help="grade a named wrong version of the solution")] = "",
    folder: Annotated[Path | None, typer.Option("--from", help="grade the lesson in this folder")] = None,
    device: Device = "",
    seed: Seed = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="run every case, also after a failure")] = False,
    as_json: AsJson = False,
    junit: JUnit = None,
    time_limit: Annotated[float, typer.Option("--time-limit", min=0.1, help="seconds that one call may take")] = 20.0,
) -> None:
    """Grade a day, or several."""
    from grader import curriculum, mutants, present, progress
    from grader.grade import GraderError, grade
    from grader.verdict import Verdict, exit_status

    check_device(device)
    if (folder is not None) + solution + bool(mutant) > 1:
        raise stop("--solution, --mutant and --from exclude each other")
    try:
        days = curriculum.select(names)
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    if len(days) > 1 and (folder is not None or mutant):
        raise stop("--mutant and --from grade one day: name one")
    unwritten = [d for d in days if not d.written]
    if unwritten:
        first = unwritten[0]
        more = f", as {len(unwritten) - 1} more of these" if len(unwritten) > 1 else ""
        raise stop(
            f"day {first.number} · {first.slug} is {first.absence}{more}; `python -m grader` shows which days are"
        )
    seed = chosen_seed(seed)
    reports = []
    screen = console()
    for day in days:
        with mutants.Workshop() as workshop:
            try:
                target, source = _source(day, solution, mutant, folder, workshop)
                with _said(screen, f"grading {day.name} …", quiet=as_json):
                    report = grade(
                        day, source, device=device, seed=seed, keep_going=keep_going, call_limit_s=time_limit
                    )
            except (GraderError, mutants.MutantError) as error:
                raise stop(str(error)) from error
        reports.append(report)
        learners = source == day.lesson
        note = ""
        if learners:
            try:
                progress.note(day, source, report)
            except (OSError, ValueError) as error:
                note = f"your progress could not be noted: {error}"
        if not as_json:
            present.report(screen, day, report, target, learners, brief=len(days) > 1)
        if note:
            print(note, file=sys.stderr)
    _write_junit(junit, reports)
    if as_json:
        print(json.dumps(reports[0].as_json() if len(days) == 1 else {"days": [r.as_json() for r in reports]}))
    failed = [r.verdict for r in reports if r.verdict is not Verdict.PASSED]
    raise typer.Exit(exit_status(failed[0]) if failed else 0)


def _said(screen: Any, words: str, quiet: bool) -> Any:
    """Words that stand on a terminal while something lasts; elsewhere nothing is written."""
    return contextlib.nullcontext() if quiet else screen.status(words)


def _source(day: Day, solution: bool, mutant: str, folder: Path | None, workshop: Any) -> tuple[str, Path]:
    """What to grade, as the command names it and as a folder."""
    from grader import mutants

    if (solution or mutant) and not day.has_solution:
        raise stop(f"{day.name}: this edition of the course has no solution of it")
    if solution:
        return f"{day.name} --solution", day.solution
    if folder is not None:
        return f"{day.name} --from {folder}", folder
    if not mutant:
        return day.name, day.lesson
    named = {m.name: m for m in mutants.mutants(day)}
    if mutant not in named:
        raise stop(f"{day.name} has no mutant {mutant!r}; it has {', '.join(named)}")
    return f"{day.name} --mutant {mutant}", workshop.folder(day, named[mutant])


def _write_junit(path: Path | None, reports: list[Report]) -> None:
    if path is None:
        return
    from grader import junit

    try:
        path.write_text(junit.document(reports), encoding="utf-8")
    except OSError as error:
        raise stop(f"--junit {path}: {error.strerror}") from error


@app.command("all", epilog=EPILOG)
def grade_all(
    days: Annotated[str, typer.Option("--days", help="only these: 1-7, or 3,5,8-10")] = "",
    solutions: Annotated[bool, typer.Option("--solutions", help="the reference solutions: each must pass")] = False,
    stubs: Annotated[bool, typer.Option("--stubs", help="the stubs: each must be not solved")] = False,
    mutants: Annotated[bool, typer.Option("--mutants", help="the wrong versions: each must fail as it should")] = False,
    device: Device = "",
    seed: Seed = None,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="gradings at a time; 0: one for each core")] = 0,
    as_json: AsJson = False,
    junit: JUnit = None,
) -> None:
    """Grade every written day: your own lessons, or with --solutions, --stubs and --mutants the course itself."""
    from grader import curriculum, everything

    check_device(device)
    try:
        chosen = curriculum.select([n for n in days.split(",") if n]) if days else list(curriculum.days())
    except curriculum.CurriculumError as error:
        raise stop(str(error)) from error
    wanted = [kind for kind, on in (("solution", solutions), ("stub", stubs), ("mutant", mutants)) if on]
    work = everything.collect([d for d in chosen if d.written], wanted or ["lesson"])
    if not work:
        raise stop(f"none of the days {days} is written yet")
    screen = None if as_json else console()
    results = everything.run(work, device=device, seed=chosen_seed(seed), jobs=jobs, screen=screen)
    _write_junit(junit, [r.report for r in results])
    if as_json:
        print(json.dumps({"gradings": [r.as_json() for r in results], "as_expected": all(r.ok for r in results)}))
    raise typer.Exit(0 if all(r.ok for r in results) else 1)
