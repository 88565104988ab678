"""Day 25: a checkpoint: recorded runs, checked, side by side in a table that anybody can make again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from engine.records import Record, check_bench, machine_of
from engine.roofline import check_positive

LEAST_RUNS = 6  # fewer do not hold a median (day 23)
DIGITS = 4  # of a figure, at most
NO_RECORD = "no record of this machine"
NO_ROW = "not in its record"
NO_BASELINE = "the baseline was not run"
NO_MEMORY = "this system does not say how much memory was taken"
SPEED_HEAD = ("prompt", "engine", "first token, ms", "speed-up", "tokens/s", "speed-up", "peak, MiB", "runs")


@dataclass(frozen=True)
class Figure:
    """What was measured: in half of the runs it lay from `low` to `high`, the quartiles. All are above 0."""

    low: float
    median: float
    high: float

    def times(self, factor: float) -> "Figure":
        """The same in another unit."""
        return Figure(self.low * factor, self.median * factor, self.high * factor)


@dataclass(frozen=True)
class Entry:
    """Who stands in the table.

    Attributes:
        name: the same on each machine.
        record: as `python -m engine bench --json` prints it; None where there is none yet.
        command: that would make it, where there is none.
    """

    name: str
    record: Record | None
    command: str = ""


@dataclass(frozen=True)
class Cell:
    """What an entry has of one length of prompt: figures, or in `not_run` why it has none.

    Attributes:
        first: time to first token, seconds.
        token: of each further one.
        peak_bytes: None where nobody knows.
        runs: fewest of any figure.
        steady: as the record says.
    """

    not_run: str = ""
    first: Figure | None = None
    token: Figure | None = None
    peak_bytes: int | None = None
    runs: int = 0
    steady: bool = False


class Notes:
    """Reasons why something was not run, numbered as they come; the same reason keeps its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def not_run(self, reason: str) -> str:
        """What stands in the cell."""
        return f"NOT RUN ({self._numbers.setdefault(reason, len(self._numbers) + 1)})"

    def lines(self) -> list[str]:
        """What stands below the table."""
        return ["NOT RUN: " + "; ".join(f"({n}) {why}" for why, n in self._numbers.items())] if self._numbers else []


# ---- figures -------------------------------------------------------------------------------------------------------------


def figure(spread: Mapping[str, Any], where: str) -> Figure:
    """What a record says of one quantity.

    Args:
        spread: with `quartile1_s`, `median_s` and `quartile3_s`, in seconds.
        where: it stands, such as `rows[2].first`; messages begin with it.

    Raises:
        ValueError: one is missing or no positive number; the message names it: `rows[2].first.quartile1_s`. Or the median
            does not lie between the others: `rows[2].first.median_s`.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: check three numbers, and their order")
    for key in ("quartile1_s", "median_s", "quartile3_s"):
        check_positive(f"{where}.{key}", spread.get(key))
    low, median, high = spread["quartile1_s"], spread["median_s"], spread["quartile3_s"]
    if not low <= median <= high:
        raise ValueError(f"{where}.median_s is {median}: expected it between the quartiles, {low} and {high}")
    return Figure(low, median, high)
    # solve: end


def rate(token: Figure) -> Figure:
    """Tokens a second, from the seconds of a token."""
    # solve: begin
    # stub: raise NotImplementedError("day 25: the shortest time is the highest rate")
    return Figure(1 / token.high, 1 / token.median, 1 / token.low)
    # solve: end


def ratio(of: Figure, to: Figure) -> Figure:
    """How many times as large one figure is as another.

    Its ends are the least and the most that it can be while each figure stays between its quartiles.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: the quotient, and its two worst cases")
    return Figure(of.low / to.high, of.median / to.median, of.high / to.low)
    # solve: end


def shown(figure: Figure) -> str:
    """A figure for people: `1,230 ± 20`.

    The spread is half of the distance from `low` to `high`. Its first digit says to which place both are rounded, but the
    median keeps at least one digit and at most `DIGITS`. Where the spread rounds to nothing at that place, it is 1 there: a
    spread is never 0. Without any spread there is no ±, and the median has `DIGITS` digits.

    Thousands have commas. A digit before the point can be a rounded one: 1,234.5 with a spread of 21 is `1,230 ± 20`.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: the spread decides how many digits there are")
    spread = (figure.high - figure.low) / 2
    first = math.floor(math.log10(figure.median))  # the place of its first digit: 0 for ones, -1 for tenths
    place = first - DIGITS + 1
    if spread > 0:
        place = min(max(place, math.floor(math.log10(spread))), first)

    def rounded(value: float) -> str:
        return f"{round(value, -place):,.{max(0, -place)}f}"

    return f"{rounded(figure.median)} ± {rounded(max(spread, 10.0**place))}" if spread > 0 else rounded(figure.median)
    # solve: end


# ---- who stands where ----------------------------------------------------------------------------------------------------


def cell(entry: Entry, prompt: int) -> Cell:
    """What an entry has of a length of prompt.

    Returns:
        Figures, or a cell with nothing but `not_run`:

        - no record: "`COMMAND` makes its record", where COMMAND is `entry.command`; `NO_RECORD` where that is empty.
        - no row of that prompt in the record: `NO_ROW`.
        - a row with `not_run`: that.
        - one of its two figures has fewer than `LEAST_RUNS` repeats: "3 of the 6 runs that a median takes", the fewest.

    Raises:
        ValueError: see `figure`; messages begin with the entry's name, as in `mine: rows[2].first.median_s`. Or the row has
            other `tokens` than the record; or `peak_bytes` is there and no positive number.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: the row of that prompt, or why there is none")
    if entry.record is None:
        return Cell(f"`{entry.command}` makes its record" if entry.command else NO_RECORD)
    rows = entry.record["rows"]
    number = next((n for n, row in enumerate(rows) if row["prompt_tokens"] == prompt), None)
    if number is None:
        return Cell(NO_ROW)
    row, where = rows[number], f"{entry.name}: rows[{number}]"
    if "not_run" in row:
        return Cell(row["not_run"])
    if row["tokens"] != entry.record["tokens"]:
        raise ValueError(f"{where}.tokens is {row['tokens']}: expected {entry.record['tokens']}, as the record says")
    if row["peak_bytes"] is not None:
        check_positive(f"{where}.peak_bytes", row["peak_bytes"])
    first, token = figure(row["first"], f"{where}.first"), figure(row["token"], f"{where}.token")
    runs = min(row["first"]["repeats"], row["token"]["repeats"])
    if runs < LEAST_RUNS:
        return Cell(f"{runs} of the {LEAST_RUNS} runs that a median takes")
    return Cell("", first, token, row["peak_bytes"], runs, row["steady"])
    # solve: end


def by_machine(entries: Sequence[Entry], baseline: str) -> dict[str, list[Entry]]:
    """Who stands in the table of each machine: everybody, with a record or without.

    Args:
        entries: in any order; the result does not depend on it.
        baseline: a name.

    Returns:
        By `machine_of`, ascending. For each machine that has a record, an entry for every name that there is: the baseline
        first, then the others, ascending. Where the machine has no record of a name, it is the entry of that name without
        a record, and where there is none of that kind either, `Entry(name, None)`.

    Raises:
        ValueError: two records of one name and machine, or two entries of one name without a record: the message has the
            name. Or the baseline is none of the names: it names `baseline`. Or the records are not all of one model, or not
            all of as many tokens after the prompt: `model`, `tokens`. Or there are none: `records`.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: every name on every machine, in an order of its own")
    found: dict[tuple[str, str], Entry] = {}  # by machine and name; "" for no machine
    for entry in entries:
        machine = machine_of(entry.record) if entry.record is not None else ""
        if (machine, entry.name) in found:
            where = f"on {machine}" if machine else "without a record"
            raise ValueError(f"{entry.name}: there are two {where}: expected one")
        found[machine, entry.name] = entry
    names = {entry.name for entry in entries}
    if baseline not in names:
        raise ValueError(f"baseline is {baseline!r}: expected one of {', '.join(sorted(names))}")
    records = [entry.record for entry in entries if entry.record is not None]
    if not records:
        raise ValueError("there are no records: expected at least one")
    for key in ("model", "tokens"):
        if len(values := {record[key] for record in records}) > 1:
            raise ValueError(f"{key} is not the same in all records: {', '.join(sorted(map(str, values)))}")
    order = [baseline, *sorted(names - {baseline})]
    return {
        machine: [found.get((machine, name)) or found.get(("", name)) or Entry(name, None) for name in order]
        for machine in sorted({machine_of(record) for record in records})
    }
    # solve: end


# ---- rows ----------------------------------------------------------------------------------------------------------------


def speed_up(base: Figure | None, mine: Figure, notes: Notes) -> str:
    """How many times as fast; `base` and `mine` are times, `base` is None where the baseline was not run.

    `~` behind it says that it may be 1: no difference is known.
    """
    if base is None:
        return notes.not_run(NO_BASELINE)
    # solve: begin
    # stub: raise NotImplementedError("day 25: a ratio of times, and whether it can be 1")
    times = ratio(base, mine)
    return shown(times) + (" ~" if times.low <= 1 <= times.high else "")
    # solve: end


def speed_rows(entries: Sequence[Entry], notes: Notes) -> list[list[str]]:
    """The rows below `SPEED_HEAD`.

    Args:
        entries: of one machine, the baseline first.

    Returns:
        For each length of prompt that any of the records has, ascending, a row for each entry, in their order. In it:

        - the prompt, with commas, and the name.
        - `shown` of the first token's time in milliseconds, and its `speed_up`; of tokens a second, and the speed-up of their
          time. The baseline's own are `1`.
        - `shown` of the peak in MiB, 2²⁰ bytes, as a figure without spread; `NO_MEMORY` where nobody knows.
        - the runs, and ` *` behind them where they were not steady.

        Every cell behind the name says `notes.not_run`, with the reason, where the entry was not run.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: every prompt, every entry, nothing left blank")
    rows = []
    for prompt in sorted({row["prompt_tokens"] for e in entries if e.record is not None for row in e.record["rows"]}):
        base = cell(entries[0], prompt)
        for entry in entries:
            mine = cell(entry, prompt)
            start = [f"{prompt:,}", entry.name]
            if mine.first is None or mine.token is None:
                rows.append(start + [notes.not_run(mine.not_run)] * (len(SPEED_HEAD) - len(start)))
                continue
            ups = ["1" if entry is entries[0] else speed_up(*times, notes)
                   for times in ((base.first, mine.first), (base.token, mine.token))]  # fmt: skip
            peak = mine.peak_bytes
            memory = shown(Figure(peak, peak, peak).times(2**-20)) if peak is not None else notes.not_run(NO_MEMORY)
            speeds = [shown(mine.first.times(1000)), ups[0], shown(rate(mine.token)), ups[1]]
            rows.append([*start, *speeds, memory, f"{mine.runs}{'' if mine.steady else ' *'}"])
    return rows
    # solve: end


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ("engine", "kernel")
) -> list[str]:
    r"""A table in Markdown that can be read as it stands, too.

        | prompt | engine | tokens/s |
        | -----: | ------ | -------: |
        |     16 | loop   |   20 ± 1 |

    A bar in a cell would end it: it becomes `\|`. Then every cell is as wide as the longest of its column, the heading among
    them, and at least 3; `-----:` stands for numbers, which go to the right.

    Args:
        rows: each with as many cells as the head.
        words: headings of the columns that go to the left.

    Returns:
        Its lines.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 25: escape, measure every column once, then pad")
    lines = [[text.replace("|", "\\|") for text in line] for line in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    left = [heading in words for heading in head]
    rule = ["-" * width if to_left else "-" * (width - 1) + ":" for width, to_left in zip(widths, left, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left, strict=True)]
        return f"| {' | '.join(padded)} |"

    return [line(lines[0]), line(rule), *map(line, lines[1:])]
    # solve: end


# ---- tables --------------------------------------------------------------------------------------------------------------

MARKS = (
    ("~", "~: the quartiles overlap, no difference is known."),
    ("*", "\\*: the median is not known to 1 %."),
)


def speed_table(entries: Sequence[Entry], baseline: str) -> str:
    """A table for each machine: time to first token, tokens a second, memory, everybody beside the baseline.

    Args:
        entries: in any order.
        baseline: the name of the one that the others are compared with.

    Raises:
        ValueError: see `engine.records.check_bench`, `by_machine` and `cell`.
    """
    for entry in entries:
        if entry.record is not None:
            check_bench(entry.name, entry.record)
    parts = []
    for machine, mine in by_machine(entries, baseline).items():
        notes = Notes()
        rows = speed_rows(mine, notes)
        used = "".join(text[-2:] for row in rows for text in row[2:])
        record = next(entry.record for entry in mine if entry.record is not None)
        parts += [
            f"**{machine}**: {record['model']}, {record['tokens']} tokens after each prompt.",
            "\n".join(aligned(SPEED_HEAD, rows)),
            *notes.lines(),
            *(words for mark, words in MARKS if f" {mark}" in used),
            "\n".join(f"- {e.name}: `{e.record['command']}`, {e.record['date']}" for e in mine if e.record is not None),
        ]
    return "\n\n".join(parts) + "\n"


# ---- for the grading -----------------------------------------------------------------------------------------------------

Numbers = Sequence[float]  # low, median, high
Listed = Sequence[tuple[str, Record | None, str]]  # the attributes of entries


def rates(times: Sequence[Numbers]) -> Any:
    """Tokens a second, [times, 3] float64."""
    return np.array([astuple(rate(Figure(*one))) for one in times], np.float64)


def ratios(of: Sequence[Numbers], to: Sequence[Numbers]) -> Any:
    """Each of one beside each of the other, [ratios, 3] float64."""
    return np.array([astuple(ratio(Figure(*a), Figure(*b))) for a, b in zip(of, to, strict=True)], np.float64)


def shown_all(figures: Sequence[Numbers]) -> list[str]:
    """Each for people."""
    return [shown(Figure(*one)) for one in figures]


def cells(entry: tuple[str, Record | None, str], prompts: Sequence[int]) -> list[dict[str, Any]]:
    """What an entry has of each of these lengths."""
    return [asdict(cell(Entry(*entry), prompt)) for prompt in prompts]


def machines(listed: Listed, baseline: str) -> dict[str, list[tuple[str, Any, str]]]:
    """For each machine name, date and command of who stands in its table; the date is None where there is no record."""
    found = by_machine([Entry(*one) for one in listed], baseline)
    return {
        f"{number}: {machine}": [(e.name, e.record and e.record["date"], e.command) for e in mine]
        for number, (machine, mine) in enumerate(found.items())
    }


def speed_ups(base: Sequence[Numbers], mine: Sequence[Numbers]) -> list[str]:
    """Each time beside the baseline's."""
    return [speed_up(Figure(*a), Figure(*b), Notes()) for a, b in zip(base, mine, strict=True)]


def speeds(listed: Listed, baseline: str) -> list[list[str]]:
    """Rows of all machines, one after the other, and what was not run."""
    notes = Notes()
    found = by_machine([Entry(*one) for one in listed], baseline)
    return [row for mine in found.values() for row in speed_rows(mine, notes)] + [notes.lines()]


def speed_page(listed: Listed, baseline: str) -> str:
    """The tables of all machines."""
    return speed_table([Entry(*one) for one in listed], baseline)
