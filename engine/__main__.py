"""`python -m engine`: the engine on the command line."""

from __future__ import annotations

from typing import Any

from engine import terminal

NAME = "python -m engine"


def load() -> Any:
    """The application with all its commands, in the order of `--help`."""
    import typer

    from engine import bench_command, checkpoint_command, commands, pulling, roofline_command, talk

    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A small, fast Llama engine. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    for module in (pulling, commands, talk, bench_command, roofline_command, checkpoint_command):
        module.register(app)
    return app


def main() -> None:
    """Run."""
    terminal.start(load, NAME)


if __name__ == "__main__":
    main()
