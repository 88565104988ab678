"""Where the time of a pass goes: a checkpoint's second table, from a record of `engine roofline`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.checkpoint import Figure, Notes, aligned, figure, ratio, shown
from engine.records import ROOFLINE, Record, check, machine_of

HEAD = ("kernel", "ms", "% of the pass", "% of its ceiling")
NO_FORMULA = "the roofline does not know it"
MOST = 5


def kernel_table(record: Record, most: int = MOST) -> str:
    """The table, with what it is of above and where it comes from below.

    Args:
        most: kernels that have a row of their own.

    Raises:
        ValueError: it is no such record; the message names the key.
    """
    check("roofline", record, ROOFLINE)
    notes = Notes()
    rows = kernel_rows(record, most, notes)
    one = record["tokens"] == 1
    what = f"a decode step, token {record['length']:,}" if one else f"a prompt of {record['tokens']:,} tokens"
    head = f"**{machine_of(record)}**: {record['model']}, {what}."
    source = f"- `{record['command']}`, {record['date']}"
    return "\n\n".join([head, "\n".join(aligned(HEAD, rows)), *notes.lines(), source]) + "\n"


def kernel_rows(record: Record, most: int, notes: Notes) -> list[list[str]]:
    """The rows below `HEAD`.

    Returns:
        The `most` kernels that lose most time, the worst first; without ceilings the longest. Then all others together, what
        the roofline does not know, and the whole pass. Then the kernels that were not run.

    Raises:
        ValueError: see `engine.checkpoint.figure`.
    """
    ran = [(number, kernel) for number, kernel in enumerate(record["kernels"]) if "not_run" not in kernel]
    times = [figure(kernel, f"kernels[{number}]").times(kernel["launches"]) for number, kernel in ran]
    unknown = [figure(spread, f"others.{name}") for name, spread in record["others"].items()]
    whole, roof = total([*times, *unknown]), record["ceilings"] is not None
    floors = [kernel["launches"] * kernel["floor_s"] if roof else 0.0 for _, kernel in ran]
    lost = [kernel["lost_s"] if roof else time.median for (_, kernel), time in zip(ran, times, strict=True)]
    order = sorted(range(len(ran)), key=lambda place: lost[place], reverse=True)

    def row(name: str, time: Figure, floor: float) -> list[str]:
        share = "100" if time is whole else shown(ratio(time, whole).times(100))
        if floor:
            ceiling = shown(ratio(Figure(floor, floor, floor), time).times(100))
        else:
            ceiling = notes.not_run(NO_FORMULA if roof else record["why_no_ceilings"])
        return [name, shown(time.times(1000)), share, ceiling]

    def together(name: str, places: Sequence[int]) -> list[str]:
        return row(name, total(times[place] for place in places), sum(floors[place] for place in places))

    rows = [together(ran[place][1]["name"], [place]) for place in order[:most]]
    rows += [together(f"the rest ({len(rest)})", rest)] if (rest := order[most:]) else []
    rows += [row("unknown", total(unknown), 0.0)] if unknown else []
    rows.append(row("the pass", whole, sum(floors)))
    for kernel in record["kernels"]:
        if "not_run" in kernel:
            rows.append([kernel["name"], *[notes.not_run(kernel["not_run"])] * (len(HEAD) - 1)])
    return rows


def total(figures: Iterable[Figure]) -> Figure:
    """Of things that happen one after the other; its ends are those of a run in which all are slow or all quick."""
    parts = list(figures)
    return Figure(sum(p.low for p in parts), sum(p.median for p in parts), sum(p.high for p in parts))
