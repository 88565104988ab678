"""The right answers about tables of records: decimal fractions as people round them, and lists put together cell by cell.

They share no code with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

Numbers = Sequence[float]
Record = Mapping[str, Any]
Listed = Sequence[tuple[str, Record | None, str]]
EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)
MEDIAN_TAKES = 6
KEYS = ("quartile1_s", "median_s", "quartile3_s")
HEAD = ("prompt", "engine", "first token, ms", "speed-up", "tokens/s", "speed-up", "peak, MiB", "runs")


def figure(spread: Mapping[str, float], _where: str) -> dict[str, float]:
    """The three numbers by their names here."""
    return dict(zip(("low", "median", "high"), (spread[key] for key in KEYS), strict=True))


def rates(times: Sequence[Numbers]) -> np.ndarray:
    """All three turned over, and put in order again."""
    return np.array([sorted(float(1 / Fraction(second)) for second in one) for one in times])


def _ratio(of: Numbers, to: Numbers) -> list[Fraction]:
    """The extremes over all pairs of ends, with the medians' quotient between them."""
    ends = [Fraction(a) / Fraction(b) for a in (of[0], of[2]) for b in (to[0], to[2])]
    return [min(ends), Fraction(of[1]) / Fraction(to[1]), max(ends)]


def ratios(of: Sequence[Numbers], to: Sequence[Numbers]) -> np.ndarray:
    """Each beside its other."""
    return np.array([[float(end) for end in _ratio(a, b)] for a, b in zip(of, to, strict=True)])


# ---- digits --------------------------------------------------------------------------------------------------------------


def _decimal(value: Fraction) -> Decimal:
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _text(figures: Sequence[Fraction]) -> str:
    """By the decimal expansion: `adjusted` is the place of the first digit."""
    median, spread = _decimal(figures[1]), _decimal((figures[2] - figures[0]) / 2)
    places = range(median.adjusted() - 3, median.adjusted() + 1)  # at most four digits, at least one
    if not spread or spread.adjusted() < places[0]:
        place = places[0]
    else:
        place = spread.adjusted() if spread.adjusted() in places else places[-1]
    unit = Decimal(1).scaleb(place)

    def steps(value: Decimal) -> Decimal:
        return EXACT.divide(value, unit).to_integral_value(ROUND_HALF_EVEN)

    def written(count: Decimal) -> str:
        return f"{EXACT.multiply(count, unit):,.{max(0, -place)}f}"

    return written(steps(median)) + (f" ± {written(steps(spread) or Decimal(1))}" if spread else "")


def shown_all(figures: Sequence[Numbers]) -> list[str]:
    """Each for people."""
    return [_text([Fraction(end) for end in one]) for one in figures]


# ---- cells ---------------------------------------------------------------------------------------------------------------


def _machine(record: Record) -> str:
    about = record["machine"]
    return str(about["gpu"]) if "gpu" in about else "{cpu}, {cores} cores".format(**about)


def _row(record: Record | None, prompt: int) -> Mapping[str, Any] | None:
    rows = {row["prompt_tokens"]: row for row in (record or {"rows": []})["rows"]}
    return rows.get(prompt)


def _runs(row: Mapping[str, Any]) -> int:
    return int(min(row[part]["repeats"] for part in ("first", "token")))


def _why_not(record: Record | None, command: str, row: Mapping[str, Any] | None) -> str:
    """Why there are no figures, or ""."""
    if record is None:
        return f"`{command}` makes its record" if command else "no record of this machine"
    if row is None:
        return "not in its record"
    if "not_run" in row:
        return str(row["not_run"])
    return "" if _runs(row) >= MEDIAN_TAKES else f"{_runs(row)} of the {MEDIAN_TAKES} runs that a median takes"


def cells(entry: tuple[str, Record | None, str], prompts: Sequence[int]) -> list[dict[str, Any]]:
    """Each length of prompt: figures, or why there are none."""
    _, record, command = entry
    out = []
    for prompt in prompts:
        row = _row(record, prompt)
        why = _why_not(record, command, row)
        found: dict[str, Any] = {
            "not_run": why,
            "first": None,
            "token": None,
            "peak_bytes": None,
            "runs": 0,
            "steady": False,
        }
        if row is not None and not why:
            found |= {part: figure(row[part], "") for part in ("first", "token")}
            found |= {"peak_bytes": row["peak_bytes"], "runs": _runs(row), "steady": row["steady"]}
        out.append(found)
    return out


# ---- who stands where ----------------------------------------------------------------------------------------------------


def machines(listed: Listed, baseline: str) -> dict[str, list[tuple[str, str | None, str]]]:
    """For each machine every name: with its record's date, else with the command that would make one."""
    there = {(_machine(record), name): record["date"] for name, record, _ in listed if record is not None}
    planned = {name: command for name, record, command in listed if record is None}
    everybody = sorted({name for name, *_ in listed}, key=lambda name: (name != baseline, name))
    out: dict[str, list[tuple[str, str | None, str]]] = {}
    for number, machine in enumerate(sorted({machine for machine, _ in there})):
        out[f"{number}: {machine}"] = [
            (name, there[machine, name], "") if (machine, name) in there else (name, None, planned.get(name, ""))
            for name in everybody
        ]
    return out


# ---- rows ----------------------------------------------------------------------------------------------------------------


def _speed_up(base: Numbers, mine: Numbers) -> str:
    text = _text(_ratio(base, mine))
    return f"{text} ~" if max(base[0], mine[0]) <= min(base[2], mine[2]) else text  # the two intervals overlap


def speed_ups(base: Sequence[Numbers], mine: Sequence[Numbers]) -> list[str]:
    """Each beside the baseline's."""
    return [_speed_up(a, b) for a, b in zip(base, mine, strict=True)]


class _Reasons(list[str]):
    def cite(self, reason: str) -> str:
        if reason not in self:
            self.append(reason)
        return f"NOT RUN ({self.index(reason) + 1})"

    def line(self) -> list[str]:
        said = "; ".join(f"({number}) {reason}" for number, reason in enumerate(self, 1))
        return [f"NOT RUN: {said}"] if self else []


def _measured(row: Mapping[str, Any], base: Mapping[str, Any] | None, reasons: _Reasons) -> list[str]:
    """The six cells of a row that was measured; the baseline's row is itself."""
    line = []
    for part in ("first", "token"):
        mine = [row[part][key] for key in KEYS]
        exact = [Fraction(second) for second in mine]
        line.append(_text([1000 * f for f in exact] if part == "first" else [1 / f for f in exact[::-1]]))
        if base is row:
            line.append("1")
        elif base is None:
            line.append(reasons.cite("the baseline was not run"))
        else:
            line.append(_speed_up([base[part][key] for key in KEYS], mine))
    peak = row["peak_bytes"]
    if peak is None:
        line.append(reasons.cite("this system does not say how much memory was taken"))
    else:
        line.append(_text([Fraction(peak, 1 << 20)] * 3))
    return [*line, f"{_runs(row)}" + ("" if row["steady"] else " *")]


def _rows_of(here: Mapping[str, Record], who: Sequence[tuple[str, Any, str]], reasons: _Reasons) -> list[list[str]]:
    """The rows of one machine, by its records."""
    out = []
    for prompt in sorted({row["prompt_tokens"] for record in here.values() for row in record["rows"]}):
        first = who[0][0]
        base = _row(here.get(first), prompt)
        base = None if _why_not(here.get(first), "", base) else base
        for name, _, command in who:
            row = _row(here.get(name), prompt)
            why = _why_not(here.get(name), command, row)
            figures = [reasons.cite(why)] * 6 if why or row is None else _measured(row, base, reasons)
            out.append([f"{prompt:,}", name, *figures])
    return out


def _here(listed: Listed, machine: str) -> dict[str, Record]:
    return {name: record for name, record, _ in listed if record is not None and _machine(record) == machine}


def speeds(listed: Listed, baseline: str) -> list[list[str]]:
    """All rows of all machines, and what was not run."""
    reasons = _Reasons()
    out = []
    for machine, who in machines(listed, baseline).items():
        out += _rows_of(_here(listed, machine.split(": ", 1)[1]), who, reasons)
    return [*out, reasons.line()]


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ("engine", "kernel")
) -> list[str]:
    """Column by column; the lines are what the columns have side by side."""
    columns = []
    for heading, *texts in zip(head, *rows, strict=True):
        escaped = ["\\|".join(text.split("|")) for text in (heading, *texts)]
        width = sorted([3, *(len(text) for text in escaped)])[-1]
        if heading in words:
            padded = [text + " " * (width - len(text)) for text in escaped]
            padded.insert(1, "-" * width)
        else:
            padded = [" " * (width - len(text)) + text for text in escaped]
            padded.insert(1, "-" * (width - 1) + ":")
        columns.append(padded)
    return ["| " + " | ".join(line) + " |" for line in zip(*columns, strict=True)]


def speed_page(listed: Listed, baseline: str) -> str:
    """The tables of all machines, each with reasons, marks and sources of its own."""
    pages = []
    for numbered, who in machines(listed, baseline).items():
        machine, reasons = numbered.split(": ", 1)[1], _Reasons()
        here = _here(listed, machine)
        rows = _rows_of(here, who, reasons)
        one = next(iter(here.values()))
        page = f"**{machine}**: {one['model']}, {one['tokens']} tokens after each prompt.\n\n"
        page += "".join(f"{line}\n" for line in aligned(HEAD, rows)) + "".join(f"\n{line}\n" for line in reasons.line())
        figures = [text for row in rows for text in row[2:]]
        if any(text.endswith("~") for text in figures):
            page += "\n~: the quartiles overlap, no difference is known.\n"
        if any(text.endswith("*") for text in figures):
            page += "\n\\*: the median is not known to 1 %.\n"
        page += "\n" + "".join(f"- {n}: `{here[n]['command']}`, {here[n]['date']}\n" for n, *_ in who if n in here)
        pages.append(page)
    return "\n".join(pages)
