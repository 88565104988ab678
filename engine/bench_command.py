"""`python -m engine bench`: how fast a model goes on with prompts of several lengths."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.commands import Device, Model, errors, open_model, write_whole
from engine.talk import Mine, Weights, use_pieces

LENGTHS = "16,64,256,512,2048"


def bench(
    name: Model,
    lengths: Annotated[str, typer.Option("--lengths", help="of the prompts, in tokens")] = LENGTHS,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="to go on with after each prompt")] = 32,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="at most so many runs of each that count")] = 100,
    seconds: Annotated[float, typer.Option("--seconds", help="no run of a prompt begins after so many")] = 30.0,
    price: Annotated[float | None, typer.Option("--price", help="dollars that the GPU costs an hour")] = None,
    weights: Weights = "bfloat16",
    plain: Annotated[bool, typer.Option("--plain", help="day 21's loop in place of the fused steps")] = False,
    mine: Mine = False,
    device_name: Device = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="write that object into this file")] = None,
    force: Annotated[bool, typer.Option("--force", help="even if the file is there")] = False,
) -> None:
    """Time to first token, tokens a second, memory. Ctrl-C ends it with what is there so far."""
    with errors():
        wanted = parsed(lengths)
        if not 0 < seconds < float("inf"):
            raise ValueError(f"--seconds is {seconds}: expected a number above 0")
        if price is not None and not 0 < price < float("inf"):
            raise ValueError(f"--price is {price}: expected dollars, above 0")
        check_target(out, force)
        use_pieces(mine)
        _, _, model = open_model(name, device_name)
        from engine import bench_report, benchmark, ceilings, device, machine, pieces

        on_gpu = device.name() == "cuda"
        read = ceilings.bandwidths()["read"] if on_gpu else None
        warm_ups = benchmark.WARM_UPS if on_gpu else bench_report.WARM_UPS_CPU
        plan = bench_report.Plan(wanted, tokens, repeats, seconds, warm_ups)
        needed = [bench_report.places(length, tokens) for length in wanted]
        capacity = max((n for n in needed if n <= model.config.max_position_embeddings), default=1)
        subject = bench_report.of_engine(model, capacity, weights, plain or mine)
        rows: list[bench_report.Row] = []
        interrupted = False
        with progress(quiet=as_json) as tell:
            try:
                bench_report.measure(subject, plan, benchmark.instruments(), rows, tell)
            except KeyboardInterrupt:
                interrupted = True
        record = {
            **machine.head("python -m engine", sys.argv[1:], machine.gpu() if on_gpu else machine.host()),
            "model": Path(name).name, "device": device.label(), "engine": subject.kind, "weights": weights,
            "pieces": pieces.in_use(), "tokens": tokens, "repeats": repeats, "seconds": seconds, "warm_ups": warm_ups,
            "price_per_hour": price, "read": read, "interrupted": interrupted,
            "rows": [bench_report.figures(row, subject, read, price) for row in rows],
        }  # fmt: skip
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        if out is not None and not interrupted:
            write_whole(out, lambda file: file.write(text.encode()))
    if as_json:
        print(text, end="")
    elif rows:
        bench_report.show(record)
    if interrupted:
        if out is not None:
            print(f"{out} is not written", file=sys.stderr)
        raise KeyboardInterrupt
    if out is not None:
        print(f"written: {out}", file=sys.stderr)


def parsed(lengths: str) -> tuple[int, ...]:
    """Lengths of prompts, ascending, each once.

    Raises:
        ValueError: it is not numbers with commas between them; the message names `--lengths`.
    """
    try:
        found = sorted({int(part) for part in lengths.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise ValueError(
            f"--lengths is {lengths!r}: expected whole numbers above 0 with commas between them: {LENGTHS}"
        )
    return tuple(found)


def check_target(path: Path | None, force: bool) -> None:
    """Refuse, before anything is measured, a file that cannot be written or would be lost.

    Raises:
        ValueError: the message names `--out`.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"--out {path}: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}")
    if path.exists() and not force:
        raise ValueError(f"--out {path}: it is there already; --force writes over it")


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """Shows on standard error which run is made: one line that changes on a terminal, a line for each length elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if quiet and not console.is_terminal:
        yield lambda length, runs: None
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda length, runs: status.update(moment(length, runs))
    else:
        yield (
            lambda length, runs: None if runs else print(f"measuring {length:,} tokens …", file=sys.stderr, flush=True)
        )


def moment(length: int, runs: Sequence[Any]) -> str:
    """What is known so far of a length."""
    from engine import bench_report, benchmark

    if not runs:
        return f"{length:,} tokens: warming up"
    return bench_report.line(bench_report.Row(length, benchmark.summary(runs)))


def register(app: typer.Typer) -> None:
    """Put the command into an application."""
    app.command()(bench)
