"""`report`: progress as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grader.commands.app import stop


def report(
    out: Annotated[Path | None, typer.Option(help="the page; default: .warp60/report.html")] = None,
) -> None:
    """Write an HTML page about your progress: the map, the evidence of each day, errors, costs, plots."""
    from grader.report import facts, page, plots

    to = out or page.default_path()
    try:
        page.write(facts.gather(), to)
    except (ValueError, OSError) as error:
        raise stop(str(error)) from error
    print(to.resolve().as_uri())
    if plots.why_not():
        print(f"plots: NOT RUN: {plots.why_not()}")
