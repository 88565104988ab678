"""A model's pass under the roof, measured: as figures that JSON takes, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import profiling
from engine.model import Model
from engine.roofline import Kernel, Machine, Standing, bottlenecks, kernels, place, ridge
from engine.timing import spread

NO_CEILING = "the times are the emulator's on this CPU, not a GPU's: there is no ceiling to hold them against"
NOT_SEEN = "never launched in a pass"
WORST = 3

Figures = dict[str, Any]


def measured(model: Model, tokens: int, length: int, ceilings: Mapping[str, Any] | None) -> Figures:
    """Every kernel of a pass: what it must do, how long it takes, and how far that is from what the machine could do.

    Args:
        tokens: that go in.
        length: in the caches afterwards.
        ceilings: of this GPU, as `engine.ceilings.measure` returns them; None in the emulator.

    Returns:
        `kernels`, in the order of `engine.roofline.kernels`: each with its work, with median and quartiles of one launch in
        seconds (or `not_run`, why not), and with ceilings also with `floor_s`, `bound`, `share` and `lost_s`.
        `others`: seconds a pass of launches that the roofline does not know, by name.
        `bottlenecks` and `longest`: names; the first is None without ceilings, and `why_no_ceilings` says why.

    Raises:
        ValueError: the model cannot make the pass.
        profiling.HostTooSlow: see there.
    """
    work = kernels(model.config, tokens, length, model.embedding.dtype.itemsize)
    times = profiling.measure(model, tokens, length)
    machine = None if ceilings is None else machine_of(ceilings)
    rows, standings = [], []
    for kernel in work:
        row, standing = _row(kernel, times.pop(kernel.name, []), machine)
        rows.append(row)
        standings += [] if standing is None else [standing]
    out: Figures = {"tokens": tokens, "length": length, "kernels": rows, "others": {}}
    out["others"] = {name.removeprefix("other: "): spread(seconds) for name, seconds in times.items()}
    if machine is None:
        out |= {"bottlenecks": None, "why_no_ceilings": NO_CEILING}
    else:
        out |= {"ridge": ridge(machine), "bottlenecks": [s.kernel.name for s in bottlenecks(standings, WORST)]}
    ran = [row for row in rows if "median_s" in row]
    out["longest"] = [row["name"] for row in sorted(ran, key=together, reverse=True)[:WORST]]
    return out


def machine_of(ceilings: Mapping[str, Any]) -> Machine:
    """What a GPU gives at best: bytes when it reads, operations when its tensor cores multiply bfloat16."""
    return Machine(ceilings["read"]["bytes_per_s"], ceilings["product"]["operations_per_s"])


def together(row: Mapping[str, Any]) -> float:
    """Seconds of all launches of a pass."""
    return float(row["launches"] * row["median_s"])


def _row(kernel: Kernel, times_s: Sequence[float], machine: Machine | None) -> tuple[Figures, Standing | None]:
    """One kernel's figures, and where it stands."""
    row: Figures = {
        "name": kernel.name, "launches": kernel.launches, "bytes": kernel.bytes, "operations": kernel.operations,
        "intensity": kernel.operations / kernel.bytes,
    }  # fmt: skip
    if not times_s or min(times_s) <= 0:
        return {**row, "not_run": NOT_SEEN}, None
    row |= spread([seconds / kernel.launches for seconds in times_s])
    if machine is None:
        return row, None
    standing = place(kernel, machine, row["median_s"])
    more = {"floor_s": standing.floor_s, "bound": standing.bound, "share": standing.share, "lost_s": standing.lost_s}
    return row | more, standing


# ---- for people ----------------------------------------------------------------------------------------------------------


def scaled(number: float) -> str:
    """Three digits and a unit: 525 M."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5:
            return f"{number:.3g} {unit}".rstrip()
        number /= 1000
    return f"{number:.3g} T"


def title(figures: Mapping[str, Any]) -> str:
    """Which pass it is."""
    tokens, length = figures["tokens"], figures["length"]
    return f"a decode step, token {length:,} of a text" if tokens == 1 else f"prefill, a prompt of {tokens:,} tokens"


def show(figures: Mapping[str, Any], where: str) -> None:
    """Print it as a table, with the bottlenecks below.

    Args:
        where: the model and the device.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    roof = figures["bottlenecks"] is not None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = ["kernel", "n", "bytes", "op", "op/byte", "µs"]
    columns += ["floor", "share", "bound", "lost"] if roof else ["of the time"]
    for column in columns:
        table.add_column(column, justify="left" if column in ("kernel", "bound") else "right", no_wrap=True)
    ran = [row for row in figures["kernels"] if "median_s" in row]
    whole = sum(map(together, ran)) + sum(other["median_s"] for other in figures["others"].values())
    for row in figures["kernels"]:
        cells = [row["name"], f"{row['launches']}", scaled(row["bytes"]), scaled(row["operations"])]
        cells.append(f"{row['intensity']:.3g}")
        if "not_run" in row:
            table.add_row(*cells, "NOT RUN")
        elif roof:
            share = f"{100 * row['share']:.0f} %"
            lost = f"{1e6 * row['lost_s']:,.1f}"
            bound = "op" if row["bound"] == "operations" else "bytes"
            table.add_row(*cells, f"{1e6 * row['median_s']:.1f}", f"{1e6 * row['floor_s']:.1f}", share, bound, lost)
        else:
            table.add_row(*cells, f"{1e6 * row['median_s']:.1f}", f"{100 * together(row) / whole:.0f} %")
    for name, other in figures["others"].items():
        table.add_row(name, "", "", "", "", f"{1e6 * other['median_s']:.1f}")
    console = Console(highlight=False)
    console.print(f"{where}: {title(figures)}")
    console.print(table)
    for line in summary(figures, whole):
        console.print(line)


def summary(figures: Mapping[str, Any], whole_s: float) -> list[str]:
    """What stands below the table.

    Args:
        whole_s: seconds of all kernels of a pass.
    """
    rows, roof = {row["name"]: row for row in figures["kernels"]}, figures["bottlenecks"] is not None
    lines = ["n: launches in a pass; bytes, operations and times are those of one" + (", lost of all" if roof else "")]
    lines.append(f"all launches of a pass together: {1e3 * whole_s:.3g} ms")
    if not roof:
        longest = (f"{name} {100 * together(rows[name]) / whole_s:.0f} %" for name in figures["longest"])
        return [*lines, f"longest: {', '.join(longest)}", f"floor, share and bound: n/a, {figures['why_no_ceilings']}"]
    floor = sum(row["launches"] * row["floor_s"] for row in rows.values() if "floor_s" in row)
    lines.append(f"at the ceilings: {1e3 * floor:.3g} ms; the two meet at {figures['ridge']:.0f} op/byte")
    worst = (f"{name} {1e6 * rows[name]['lost_s']:.0f} µs" for name in figures["bottlenecks"])
    return [*lines, f"most time lost: {', '.join(worst) or 'none'}"]
