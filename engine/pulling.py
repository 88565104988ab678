"""The command `pull` of `python -m engine`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def pull(
    name: Annotated[str, typer.Argument(help="smollm2-135m, ORG/NAME on Hugging Face, a .gguf file or a folder")],
    force: Annotated[bool, typer.Option("--force", help="get it again although it is there")] = False,
) -> None:
    """Get a model into the cache (WARP60_HOME, or your platform's cache folder)."""
    from engine import hub

    there = hub.find(name)
    if there is not None and not force:
        print(f"{name} is already here: {there}")
        return
    try:
        folder = _with_progress(lambda progress: hub.pull(name, force=force, progress=progress))
    except hub.HubError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    print(f"{name} is ready: {folder} ({size / 1e6:,.0f} MB of weights)")


def _with_progress(work):  # type: ignore[no-untyped-def]
    """Run `work(progress)` under a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total or None)
            bars.update(tasks[step], completed=done)

        return work(progress)


def register(app: typer.Typer) -> None:
    """Put the command into an application."""
    app.command()(pull)
