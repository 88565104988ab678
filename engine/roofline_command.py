"""`python -m engine roofline`: each kernel of a model's pass beside what the machine could do.

The pass is that of the lessons, day 17's, as `generate` makes it with `--mine`: its kernels are the ones that day 24 counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.commands import Device, Model, errors, open_model
from engine.talk import Mine, use_pieces


def roofline(
    name: Model,
    context: Annotated[int, typer.Option("--context", min=1, help="a decode step: tokens with the new one")] = 256,
    prefill: Annotated[int, typer.Option("--prefill", min=0, help="in its place a prompt of so many tokens")] = 0,
    plot: Annotated[Path | None, typer.Option("--plot", help="draw it into this file, .svg or .png")] = None,
    mine: Mine = False,
    device_name: Device = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Time every kernel of a pass of the plain loop, and hold it against the machine's ceilings."""
    with errors():
        use_pieces(mine)
        from engine import device, machine, roofline_plot, roofline_report
        from engine.roofline import check_pass

        if plot is not None:
            roofline_plot.check(plot)
        _, _, model = open_model(name, device_name)
        tokens, length = (prefill, prefill) if prefill else (1, context)
        check_pass(model.config, tokens, length, model.embedding.dtype.itemsize)
        ceilings: dict[str, Any] | None = None
        if device.name() == "cuda":
            from engine import ceilings as measuring

            ceilings = measuring.measure()
        figures = roofline_report.measured(model, tokens, length, ceilings)
        where = f"{name} on {device.label()}"
        if plot is not None:
            roofline_plot.write(plot, where, [figures], ceilings)
    if as_json:
        head = machine.head("python -m engine", sys.argv[1:], machine.host() if ceilings is None else machine.gpu())
        print(json.dumps({**head, "model": Path(name).name, "device": device.label(), "ceilings": ceilings, **figures}))
        return
    if ceilings is not None:
        best = roofline_report.machine_of(ceilings)
        print(f"ceilings of this GPU, measured now: {best.bytes_per_s / 1e9:,.0f} GB/s read, "
              f"{best.operations_per_s / 1e12:,.0f} TFLOP/s in bfloat16; an empty launch takes "
              f"{1e6 * ceilings['launch']['median_s']:.1f} µs")  # fmt: skip
    roofline_report.show(figures, where)
    if plot is not None:
        print(f"drawn: {plot}")


def register(app: typer.Typer) -> None:
    """Put these commands into an application."""
    app.command()(roofline)
