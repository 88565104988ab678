"""`python -m engine checkpoint`: recorded runs side by side, as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands import errors
from engine.talk import Mine, use_pieces


def checkpoint(
    files: Annotated[list[Path], typer.Argument(help="records of `bench --out`", metavar="RECORD…")],
    baseline: Annotated[
        str, typer.Option("--baseline", help="the others are compared with it; default: the first")
    ] = "",
    kernels: Annotated[list[Path] | None, typer.Option("--kernels", help="a record of `roofline --json`")] = None,
    mine: Mine = False,
) -> None:
    """A table of several records of one model: each is called as its file is, without `.json`."""
    with errors():
        use_pieces(mine)
        from engine import records
        from engine.checkpoint import Entry, speed_table
        from engine.checkpoint_report import kernel_table

        entries = [Entry(path.stem, records.read(path)) for path in files]
        parts = [speed_table(entries, baseline or entries[0].name)]
        parts += [kernel_table(records.read(path)) for path in kernels or ()]
    print("\n".join(parts), end="")


def register(app: typer.Typer) -> None:
    """Put the command into an application."""
    app.command()(checkpoint)
