"""What those who write lessons use."""

from __future__ import annotations

from typing import Annotated

import typer

from grader.commands.app import app, stop


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
