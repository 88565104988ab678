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
    raise NotImplementedError("day 25: check three numbers, and their order")


def rate(token: Figure) -> Figure:
    """Tokens a second, from the seconds of a token."""
    raise NotImplementedError("day 25: the shortest time is the highest rate")


def ratio(of: Figure, to: Figure) -> Figure:
    """How many times as large one figure is as another.

    Its ends are the least and the most that it can be while each figure stays between its quartiles.
    """
    raise NotImplementedError("day 25: the quotient, and its two worst cases")


def shown(figure: Figure) -> str:
    """A figure for people: `1,230 ± 20`.

    The spread is half of the distance from `low` to `high`. Its first digit says to which place both are rounded, but the
    median keeps at least one digit and at most `DIGITS`. Where the spread rounds to nothing at that place, it is 1 there: a
    spread is never 0. Without any spread there is no ±, and the median has `DIGITS` digits.

    Thousands have commas. A digit before the point can be a rounded one: 1,234.5 with a spread of 21 is `1,230 ± 20`.
    """
    raise NotImplementedError("day 25: the spread decides how many digits there are")


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
    raise NotImplementedError("day 25: the row of that prompt, or why there is none")


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
    raise NotImplementedError("day 25: every name on every machine, in an order of its own")


# ---- rows ----------------------------------------------------------------------------------------------------------------


def speed_up(base: Figure | None, mine: Figure, notes: Notes) -> str:
    """How many times as fast; `base` and `mine` are times, `base` is None where the baseline was not run.

    `~` behind it says that it may be 1: no difference is known.
    """
    if base is None:
        return notes.not_run(NO_BASELINE)
    raise NotImplementedError("day 25: a ratio of times, and whether it can be 1")


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
    raise NotImplementedError("day 25: every prompt, every entry, nothing left blank")


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
    raise NotImplementedError("day 25: escape, measure every column once, then pad")


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
